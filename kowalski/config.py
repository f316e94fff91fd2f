"""Settings: typed, closed, and read in one place.

``config.defaults.yaml`` holds every setting with its default; ``config.local.yaml`` (local mode) and ``config.yaml`` are
merged over it, environment variables last. The types stand in `kowalski.settings`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kowalski.alerts.survey import known_surveys
from kowalski.errors import ConfigError
from kowalski.log import get_logger
from kowalski.section import SECRET
from kowalski.settings import Config

log = get_logger(__name__)

ROOT = Path(__file__).resolve().parent.parent

#: sections that `demo`, `test` and `benchmark` never take from config.yaml or the environment
LIVE_SECTIONS = (
    "database",
    "kafka",
    "skyportal",
    "tns",
    "ztf_ops",
    "performance_report",
    "gcn",
    "slack",
    "night",
    "archive",
    "tables",
    "metrics",
    "telemetry",
)

#: settings of older versions that do nothing any more, and what to use instead
RETIRED = {
    "server.SECRET_KEY": "server.JWT_SECRET_KEY signs tokens",
    "server.fernet_key": "nothing is encrypted with it",
    "kafka.zookeeper": "Kafka needs no ZooKeeper",
    "kafka.zookeeper.test": "Kafka needs no ZooKeeper",
    "kafka.scala_version": "local.kafka_version",
    "kafka.kafka_version": "local.kafka_version",
    "kafka.path": "Kafka is installed as a package (local.kafka_version)",
    "kafka.default.topic.config.auto.offset.reset": "kafka.auto.offset.reset",
    "database.collections": "collections have fixed names (<SURVEY>_alerts, <SURVEY>_alerts_aux, ...)",
    "database.indexes": "indexes stand in kowalski/database beside their collections",
    "database.filters": "what a filter sees is declared by the survey's module",
    "skyportal.username": "skyportal.token alone identifies Kowalski",
    "misc.query_expiration_interval": "queries are not kept",
    "misc.max_retries": "what can be retried is retried for as long as it takes",
    "misc.logging_level": "the environment variable KOWALSKI_LOG_LEVEL",
    "misc.openapi_validate": "requests are always validated",
}

#: values that a settings file may have, each alias counted as what it stands for
MAX_VALUES = 100_000
#: what PyYAML raises besides its own errors over a value that is marked, or looks, as something that it isn't
BAD_VALUES = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
#: parts of its messages that repeat the text
QUOTED = re.compile("'[^']*'|\"[^\"]*\"")


def in_container() -> bool:
    """Whether this process runs in one of the images."""
    return os.environ.get("USING_DOCKER", "").lower() in ("true", "t", "1")


def local_mode() -> bool:
    """Whether this folder runs its parts on this machine, as `./kowalski.py up` would decide."""
    return not in_container() and not (ROOT / "docker-compose.yaml").exists()


def default_files() -> list[Path]:
    """The files merged over the defaults: the one named by ``KOWALSKI_CONFIG``, else this folder's own."""
    if named := os.environ.get("KOWALSKI_CONFIG"):
        return [Path(named)]
    files = [ROOT / "config.local.yaml"] if local_mode() else []
    return [*files, ROOT / "config.yaml"]


@cache
def load_config() -> Config:
    """The settings of this process, read once.

    Raises
    ------
    ConfigError : an unknown key, a wrong type or a file that isn't YAML; the text names the key's path
    """
    return build(settings_tree(default_files()))


def build(tree: dict[str, Any]) -> Config:
    """The typed settings of a merged tree (without the top-level ``kowalski``)."""
    try:
        config = Config.from_tree(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item) for item in error.errors())) from None
    _require_surveys(config)
    return config


def _require_surveys(config: Config) -> None:
    """Raise `ConfigError` where a section has settings of a survey that there is not."""
    known = [survey.name for survey in known_surveys()]
    sections: dict[str, Mapping[str, Any]] = {
        "kafka": config.kafka.surveys,
        "kafka.topics": config.kafka.topics,
        "kafka.processes_per_topic": config.kafka.processes_per_topic,
        "database.xmatch": config.database.xmatch,
        "ml": config.ml.surveys,
        "schemas": config.schemas,
        "skyportal.bands": config.skyportal.bands,
        "server.public_data": config.server.public_data,
    }
    for section, names in sections.items():
        _require_among(section, names, known)
    lower = [name.lower() for name in known]
    _require_among("enabled", config.enabled, lower)
    _require_among("dask_<survey>", config.dask, lower)


def _require_among(section: str, names: Iterable[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{section}: there is no survey {name}; there are: {', '.join(known)}")


def settings_tree(files: list[Path], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Defaults, files and environment merged into one tree; later ones win, mappings merge, all else replaces."""
    tree: dict[str, Any] = merge({}, _defaults(ROOT / "config.defaults.yaml"))
    for path in files:
        if path.exists():
            merge(tree, _without_retired(read_settings(path), path.name))
        elif os.environ.get("KOWALSKI_CONFIG") == str(path):
            raise ConfigError(f"KOWALSKI_CONFIG names {path}, which does not exist")
    override(tree, os.environ if environment is None else environment)
    return tree


@cache
def _defaults(path: Path) -> dict[str, Any]:
    return read_settings(path)


def isolated_tree(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a system of its own (demo, test, benchmark): `LIVE_SECTIONS` are the defaults', not the user's."""
    own = settings_tree([ROOT / "config.local.yaml", ROOT / "config.yaml"])
    pristine = settings_tree([ROOT / "config.local.yaml"], environment={})
    own.update({section: pristine[section] for section in LIVE_SECTIONS})
    return merge(own, changes or {})


def read_settings(path: Path) -> dict[str, Any]:
    """What stands under ``kowalski:`` in a settings file."""
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8: byte {error.start} can't be read") from None
    content = _read_yaml(text, path.name) or {}
    settings = (content.get("kowalski") or {}) if isinstance(content, dict) else content
    if not isinstance(settings, dict) or set(content) - {"kowalski"}:
        raise ConfigError(f"{path.name}: all settings stand under one top-level key, kowalski")
    if odd := [key for key in settings if not isinstance(key, str)]:
        raise ConfigError(f"{path.name}: {odd[0]!r} is not a setting; valid names: {', '.join(Config.names_at(()))}")
    return settings


def problem_of(error: Exception) -> str:
    """What is wrong with YAML, and where; nothing of it is quoted, as it may be a secret."""
    mark = getattr(error, "problem_mark", None)
    said = QUOTED.sub("...", getattr(error, "problem", None) or getattr(error, "context", None) or "")
    if not said:
        return "it has characters that can't be printed"
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}" if mark else said


def _read_yaml(text: str, source: str) -> Any:
    """What a text stands for."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {problem_of(error)}") from None
    except BAD_VALUES as error:
        problem = (
            "it is nested too deep" if isinstance(error, RecursionError) else "a date, number or !!type that is none"
        )
        raise ConfigError(f"{source} is not valid YAML: {problem}; put text in quotes") from None
    _require_bounded(content, source)
    return content


def _require_bounded(content: Any, source: str) -> None:
    """Raise `ConfigError` where aliases (``*name``) make more of a text than anybody would write, or hold themselves."""
    todo, values = [content], 0
    while todo:
        node = todo.pop()
        values += 1
        if values > MAX_VALUES:
            raise ConfigError(f"{source}: more than {MAX_VALUES} values; does an alias (*name) hold itself?")
        if isinstance(node, dict | list):
            todo += node.values() if isinstance(node, dict) else node


def merge(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``tree`` with ``changes`` merged into it, mappings key by key; an empty section says nothing."""
    for key, value in changes.items():
        if isinstance(tree.get(key), dict) and (value is None or isinstance(value, dict)):
            merge(tree[key], value or {})
        else:
            tree[key] = _copy(value)
    return tree


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def override(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Apply the ``KOWALSKI__SECTION__KEY`` variables of an environment to a tree."""
    for variable, text in environment.items():
        parts = re.split("__", variable)
        if len(parts) < 2 or parts[0].upper() != "KOWALSKI":
            continue
        node = tree
        path: tuple[str, ...] = ()
        for depth, part in enumerate(parts[1:], 1):
            key = _find_key(node, part)
            if key is None:
                if node:
                    raise ConfigError(
                        f"{variable}: {part} is not a setting here; valid names: {', '.join(sorted(map(str, node)))}"
                    )
                key = part
            path = (*path, key)
            if depth == len(parts) - 1:
                node[key] = _value(variable, text, path)
            else:
                node[key] = node.get(key) if isinstance(node.get(key), dict) else {}
                node = node[key]


def _value(variable: str, text: str, path: tuple[str, ...]) -> Any:
    """What a variable's text stands for: itself where the setting is text (a password may look like YAML), else YAML."""
    if text not in ("null", "~", "") and Config.takes_text(path):
        return text
    return _read_yaml(text, f"{variable}: its text")


def _find_key(node: dict[str, Any], name: str) -> str | None:
    wanted = name.lower().replace(".", "_")
    return next((key for key in node if str(key).lower().replace(".", "_") == wanted), None)


def _without_retired(tree: dict[str, Any], source: str) -> dict[str, Any]:
    if isinstance(tree.get("ml_models"), dict):
        tree["ml"] = {survey: section if not isinstance(section, dict) or "models" in section else {"models": section}
                      for survey, section in tree.pop("ml_models").items()}  # fmt: skip
    for path, successor in RETIRED.items():
        section, key = path.split(".", 1)
        if isinstance(tree.get(section), dict) and key in tree[section]:
            del tree[section][key]
            log.warning("%s: %s is no longer used: %s", source, path, successor)
    return tree


def _explain(item: Any) -> str:
    path = _path_in_file(item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path} is not a setting; valid names there: {', '.join(Config.names_at(item['loc'][:-1]))}"
    found = f"found {_shown(item['input'])}"
    return f"{path}: {item['msg']} ({'what stands there is not shown' if SECRET.search(path + found) else found})"


def _shown(value: Any) -> str:
    """A value for a message; a section is not shown, as there may be secrets in it."""
    if isinstance(value, dict | list):
        return f"a {'section' if isinstance(value, dict) else 'list'}, which is not shown"
    return f"{value!r:.200}"


def _path_in_file(place: tuple[Any, ...]) -> str:
    """A setting's path as files have it, of its place in the gathered settings; without pydantic's names of alternatives."""
    parts = [str(part) for part in place if "[" not in str(part) and part not in ("int", "float", "str")]
    match parts:
        case ["dask", survey, *rest]:
            parts = ["dask" if survey == "ztf" else f"dask_{survey}", *rest]
        case ["ml" | "kafka" as section, "surveys", *rest]:
            parts = [section, *rest]
    return ".".join(parts)
