"""Every setting: its type, its default, and what it means, of config.defaults.yaml and the typed settings."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from kowalski.config import ROOT
from kowalski.documentation.tables import code, table
from kowalski.settings import Config

DEFAULTS = ROOT / "config.defaults.yaml"
#: what stands for the settings of one of many of a kind, of which the defaults show each
TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
#: characters of a default beyond which its beginning is shown
LONGEST = 60
#: settings that say nothing by themselves, and why
ELSEWHERE = {
    r".*password": "a password; null: the first `up` makes one, where it is Kowalski's own",
    r"dask_\w+(\..*)?": "as the same of `dask`, for the survey",
}


class Setting(NamedTuple):
    """One setting, or one section whose inside is free."""

    name: str
    type: str
    default: str
    meaning: str


def settings() -> list[Setting]:
    """All settings, in the order of config.defaults.yaml."""
    text = DEFAULTS.read_text()
    tree = yaml.compose(text)
    assert isinstance(tree, yaml.MappingNode)
    [(_, root)] = tree.value
    schema = Config.model_json_schema(by_alias=True)
    return list(_settings(root, (), "", _Schema(schema), text.splitlines()))


def _settings(
    node: yaml.MappingNode, path: tuple[str, ...], around: str, schema: "_Schema", lines: list[str]
) -> Iterator[Setting]:
    for key, value in node.value:
        if key.value == "<<":
            continue
        here = (*path, key.value)
        said = re.search(r"\s# (\S.*)$", lines[key.start_mark.line])
        meaning = said[1] if said else around
        if isinstance(value, yaml.MappingNode) and value.value and _opens(value, lines):
            yield from _settings(value, here, meaning, schema, lines)
            continue
        name = ".".join(here)
        if not said and (
            other := next((text for pattern, text in ELSEWHERE.items() if re.fullmatch(pattern, name)), "")
        ):
            meaning = meaning or other
        yield Setting(name, schema.type_of(here), _shown(value), meaning)


def _opens(node: yaml.MappingNode, lines: list[str]) -> bool:
    """Whether a section's settings stand on lines of their own."""
    return not node.flow_style


def _shown(node: yaml.Node) -> str:
    text = re.sub(r"\s*#[^\n]*", "", yaml.serialize(node, width=10_000)).strip().removesuffix("...").strip()
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


class _Schema:
    """The JSON schema of all settings."""

    def __init__(self, whole: dict[str, Any]):
        self.whole = whole

    def type_of(self, path: tuple[str, ...]) -> str:
        """The type of a setting in words; empty where it is anything."""
        each: dict[str, Any] | None = self.whole
        for key in path:
            each = self._inside(each, key) if each else None
        return self._words(each) if each else ""

    def _inside(self, schema: dict[str, Any], key: str) -> dict[str, Any] | None:
        schema = self._resolved(schema)
        properties = schema.get("properties", {})
        for name in (key, key.replace(".", "_").lower()):
            if name in properties:
                found: dict[str, Any] = properties[name]
                return found
        for option in schema.get("anyOf", ()):
            if found := self._inside(option, key) or {}:
                return found
        more = schema.get("additionalProperties")
        return more if isinstance(more, dict) else None

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("$ref", "").rpartition("/")[2]
        resolved: dict[str, Any] = self.whole["$defs"][name] if name else schema
        return resolved

    def _words(self, schema: dict[str, Any]) -> str:
        schema = self._resolved(schema)
        if options := schema.get("anyOf"):
            return " or ".join(dict.fromkeys(filter(None, (self._words(option) for option in options))))
        if values := schema.get("enum"):
            return ", ".join(map(str, values))
        if "const" in schema:
            return str(schema["const"])
        kind = schema.get("type", "")
        if kind == "array":
            items = self._words(schema["items"]) if "items" in schema else ""
            return f"list of {items}" if items else "list"
        if kind == "object":
            return "section" if "properties" in schema else "mapping"
        limits = [
            f"{sign} {schema[bound]}"
            for bound, sign in {
                "minimum": "≥",
                "exclusiveMinimum": ">",
                "maximum": "≤",
                "exclusiveMaximum": "<",
            }.items()
            if bound in schema
        ]
        return " ".join([TYPES.get(kind, kind), ", ".join(limits)]).strip()


def settings_reference() -> str:
    """A table for each section of the settings."""
    sections: dict[str, list[Setting]] = {}
    for each in settings():
        sections.setdefault(each.name.partition(".")[0], []).append(each)
    texts = []
    for section, inside in sections.items():
        rows = [(code(each.name), each.type, code(each.default.replace("`", "'")), each.meaning) for each in inside]
        texts.append(f"## `{section}`\n\n" + table(("setting", "type", "default", "meaning"), rows))
    return "\n".join(texts)
