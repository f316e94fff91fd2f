"""Whether two schemas say the same of the same bytes: names, types and their order; not explanations, defaults and namespaces."""

from typing import Any

from kowalski.alerts.decode import MOMENTS


def same_form(first: Any, second: Any) -> bool:
    """Whether records read with one parsed schema are what they are with the other."""
    return _form(first, {}) == _form(second, {})


def _form(kind: Any, named: dict[str, int]) -> Any:
    """A schema's form; a type that was defined before is the number of its definition."""
    if isinstance(kind, list):
        return ["union", *(_form(branch, named) for branch in kind)]
    if isinstance(kind, str):
        return named.get(kind, kind)
    if "name" in kind:
        named[kind["name"]] = len(named)
    match kind["type"]:
        case "record" | "error":
            return ["record", *([field["name"], _form(field["type"], named)] for field in kind["fields"])]
        case "array":
            return ["array", _form(kind["items"], named)]
        case "map":
            return ["map", _form(kind["values"], named)]
        case "enum":
            return ["enum", *kind["symbols"]]
        case "fixed":
            return ["fixed", kind["size"]]
        case simple:
            moment = kind.get("logicalType")
            return [simple, moment] if moment in MOMENTS else _form(simple, named)
