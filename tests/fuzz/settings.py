"""Settings files and variables: typed settings, or `ConfigError` that names what is wrong and tells no secret."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from kowalski.config import build, settings_tree
from kowalski.errors import ConfigError

from . import structure

#: between a file's text and the variables, one a line
VARIABLES = b"\n%%\n"
SECRET = "open-sesame"  # nothing that a mutation would make by chance
ALIASED = """
kowalski:
  dask: &dask {host: 127.0.0.1, n_workers: 2}
  dask_ztf: {<<: *dask, scheduler_port: 9000}
  database: &again {host: [a, b], password: open-sesame}
"""
SEEDS = {
    "empty": b"",
    "typical": b"kowalski:\n  server: {port: 4001, admin_password: open-sesame}\n  misc: {broker: true}\n  kafka: {ZTF: {bootstrap.servers: 'a:9092'}, topics: {ZTF: 'x'}}\n  ml: {ZTF: {models: {braai: {version: d6}}}}\n",
    "aliases": ALIASED.encode(),
    "variables": b"kowalski: {}" + VARIABLES + b"KOWALSKI__KAFKA__BOOTSTRAP_SERVERS=a:1\nKOWALSKI__DASK__TLS__CA={a: 1}\nKOWALSKI__SERVER__PORT=4002\nkowalski__skyportal__token=open-sesame",
    "retired": b"kowalski: {server: {SECRET_KEY: open-sesame, fernet_key: x}, ml_models: {ZTF: {braai: {version: x}}}, kafka: {zookeeper: y}}",
    "wrong": b"kowalski: {server: {port: x}, enabled: {ztf: 5}, database: {password: [open-sesame]}, dask_xyz: {}, trusted_proxies: [a]}",
    "latin": b"kowalski: {server: {name: caf\xe9}}\0",
    "date": b"kowalski: {server: {name: 2001-13-45}}",
    "loop": b"kowalski: &a {server: *a}",
    "laughs": b"kowalski: {a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], b: &b [*a, *a, *a, *a, *a, *a, *a, *a], c: &c [*b, *b, *b, *b, *b, *b, *b, *b], d: &d [*c, *c, *c, *c, *c, *c, *c, *c], e: [*d, *d, *d, *d, *d, *d, *d, *d]}",
    "unclosed": b'kowalski: {server: {admin_password: "open-sesame}}',
    "models": b"kowalski: {ml_models: {ZTF: null}, 5: 6, ml: {surveys: [1]}}",
    "odd": b"kowalski: {? [a, b] : c, 5: d, 2001-13-45: e, !!binary x: y, &a a: *a}",
}  # fmt: skip


@cache
def _words() -> tuple[Any, ...]:
    defaults = settings_tree([], environment={})
    found: list[Any] = [
        *defaults.values(),
        "kowalski",
        "ml_models",
        "models",
        "surveys",
        "dask_xyz",
        "ZTF",
        SECRET,
        {"ZTF": None},
    ]
    todo: list[Any] = [defaults]
    while todo:
        for key, value in todo.pop().items():
            found.append(key)
            if isinstance(value, dict):
                todo.append(value)
    return tuple(found)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Files and variables of each kind."""
    yield from SEEDS.items()


def mutated(data: bytes, chance: Random) -> bytes | None:
    """The settings' tree, or the variables, changed."""
    text, _, variables = data.partition(VARIABLES)
    if chance.random() < 0.2:
        name = "__".join(str(chance.choice(_words())) for _ in range(chance.randrange(1, 4)))
        value = chance.choice(("5", "null", "{a: 1}", "[", "x", SECRET, "&a [*a]", "2001-13-45"))
        return text + VARIABLES + variables + f"\nKOWALSKI__{name:.200}={value}".encode()
    with suppress(yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        tree = structure.mutated(yaml.safe_load(text), chance, _words())
        changed: bytes = yaml.safe_dump(tree, encoding="utf-8", default_flow_style=True)
        return changed + VARIABLES + variables
    return None


def run(data: bytes) -> None:
    """Read a file and variables as each program does at its start."""
    text, _, variables = data.partition(VARIABLES)
    lines = (line.partition("=") for line in variables.decode(errors="replace").splitlines())
    environment = {name: value for name, _, value in lines if name and "\0" not in name + value}
    with tempfile.NamedTemporaryFile(dir=_folder(), suffix=".yaml") as file:
        file.write(text)
        file.flush()
        try:
            config = build(settings_tree([Path(file.name)], environment))
        except ConfigError as refused:
            if _tells(str(refused)):
                raise AssertionError(f"a secret is told: {refused}") from None
            return
    assert config.dask_for("ZTF").address


def _tells(message: str) -> bool:
    """Whether a message repeats what it must not: a value that may be a secret, or a text that can't be read."""
    parts = [line.partition(": ") for line in message.splitlines() if "is not a setting" not in line]  # that is a name
    return any(
        SECRET in said and (re.search("YAML|password|token|SECRET", path) or "found {" in said or "found [" in said)
        for path, _, said in parts
    )


@cache
def _folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # half a millisecond less
