"""Secrets: made at the first start, kept in config.yaml and .env, and never those that everybody knows."""

import io
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from kowalski.config import problem_of, settings_tree
from kowalski.errors import ConfigError
from kowalski.log import get_logger
from kowalski.settings import Config

log = get_logger(__name__)

#: settings that are made when they are null
SECRETS = (
    ("server", "admin_password"),
    ("server", "JWT_SECRET_KEY"),
    ("database", "admin_password"),
    ("database", "password"),
    ("database", "reader_password"),
)
#: values that were published with older versions: whoever finds the port knows them
PUBLISHED = ("admin", "abc0123", "mongoadminsecret", "ztf")

HEADER = """\
# What differs from config.defaults.yaml, in the same shape. Read by you alone: it holds secrets.
kowalski: {}
"""


def make_missing(tree: dict[str, Any], known: Mapping[str, Any] | None = None) -> list[str]:
    """Every secret of a settings tree is set: to what it was, else to what ``known`` has, else to a new one.

    Returns
    -------
    paths of those that were null, e.g. ``server.admin_password``
    """
    missing = []
    for section, key in SECRETS:
        if tree[section].get(key) is None:
            tree[section][key] = ((known or {}).get(section) or {}).get(key) or secrets.token_urlsafe(24)
            missing.append(f"{section}.{key}")
    return missing


def write_missing(config_file: Path, settings_files: list[Path]) -> list[str]:
    """Every secret is set afterwards; those that were null stand in ``config_file``, whose comments and values stay.

    The file is made where there is none, and readable by its owner alone.

    Returns
    -------
    paths of the secrets that were made
    """
    tree = settings_tree(settings_files)
    made = make_missing(tree)
    if made:
        content = _with_values(config_file, {path: tree[path.split(".")[0]][path.split(".")[1]] for path in made})
        write_private(config_file, content)
    keep_private(config_file)  # what somebody made may be open to others, and have a token of SkyPortal's
    return made


def write_env(env_file: Path, config: Config, more: Mapping[str, str] | None = None) -> None:
    """``.env`` tells docker compose the database's admin, and ``more``; other lines of it stay."""
    ours = {
        "MONGO_INITDB_ROOT_USERNAME": config.database.admin_username,
        "MONGO_INITDB_ROOT_PASSWORD": config.database.admin_password,
        **(more or {}),
    }
    old = env_file.read_text().splitlines() if env_file.exists() else []
    others = [line for line in old if line.partition("=")[0].strip() not in ours]
    new = [*others, *(f"{name}={value}" for name, value in ours.items())]
    if new != old:
        write_private(env_file, "\n".join(new) + "\n")
    keep_private(env_file)


def refuse_published(config: Config, reachable: bool = False) -> None:
    """No secret has a value that everybody knows, unless this system can be reached from this machine only.

    Parameters
    ----------
    reachable : it can, whatever the settings say

    Raises
    ------
    ConfigError : one has
    """
    if config.loopback_only and not reachable:
        return
    values = {
        "server.admin_password": config.server.admin_password,
        "server.JWT_SECRET_KEY": config.server.jwt_secret_key,
        "database.admin_password": config.database.admin_password,
        "database.password": config.database.password,
        "database.reader_password": config.database.reader_password,
    }
    where = f"server.host {config.server.host}" if not config.loopback_only else "containers"
    for path, value in values.items():
        if value in PUBLISHED:
            raise ConfigError(
                f"{path} is {value!r}, which everybody knows: with {where} set another one "
                "(null, and ./kowalski.py up makes one)"
            )


def write_private(path: Path, text: str) -> None:
    """A file has this text, at once or not at all, and only its owner may read it."""
    path = path.resolve()  # the file that a link points to is replaced, not the link
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def keep_private(path: Path) -> None:
    """Only its owner may read a file, if there is one; where it is another's, a warning says that it is open."""
    if not path.exists() or not (mode := path.stat().st_mode & 0o777) & 0o077:
        return
    try:
        path.chmod(mode & 0o700)
    except PermissionError:
        log.warning("%s has secrets, and others than its owner can read it: chmod 600 it", path)


def _with_values(path: Path, values: Mapping[str, str]) -> str:
    """The text of a settings file with some values set, everything else as it was."""
    text = path.read_text() if path.exists() and path.read_text().strip() else HEADER
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    try:
        _, indent, offset = load_yaml_guess_indent(text)
        content = yaml.load(text)
    except YAMLError as error:
        raise ConfigError(f"{path.name} is not valid YAML: {problem_of(error)}") from None
    if indent:
        yaml.indent(mapping=indent, sequence=indent, offset=offset or 0)
    if content is None:  # nothing but comments
        content = yaml.load(text + HEADER)
    for dotted, value in values.items():
        node = content
        for part in ("kowalski", *dotted.split(".")[:-1]):
            if node.get(part) is None:
                node[part] = yaml.map()
            node = node[part]
        node[dotted.split(".")[-1]] = value
    content["kowalski"].fa.set_block_style()
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()
