"""The compose files as Compose reads them, and Compose itself where it is installed."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from kowalski.config import ROOT

BARE, FRITZ, TRAEFIK = (
    f"docker-compose{kind}.defaults.yaml" for kind in ("", ".fritz", ".traefik")
)  # fmt: skip
#: what `up` writes into .env
VARIABLES = {
    "COMPOSE_PROJECT_NAME": "kowalski",
    "KOWALSKI_VERSION": "4.0.0",
    "KOWALSKI_SETTINGS": "0123456789abcdef",
    "MONGO_OPTIONS": "",
    "MONGO_INITDB_ROOT_USERNAME": "somebody",
    "MONGO_INITDB_ROOT_PASSWORD": "something",
}
#: services that do their work and end
ONCE = {"settings", "prepare", "producer"}


def raw(name: str) -> dict[str, Any]:
    """A compose file with its variables as they stand there."""
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


def load(name: str, variables: Mapping[str, str] = VARIABLES) -> dict[str, Any]:
    """A compose file with its variables filled in; one that must be set and is not fails."""
    content: dict[str, Any] = _filled(raw(name), variables)
    return content


def services(name: str) -> dict[str, dict[str, Any]]:
    """The services of a compose file."""
    found: dict[str, dict[str, Any]] = load(name)["services"]
    return found


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return _filled_text(node, variables) if isinstance(node, str) else node


def _filled_text(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        if name is None:
            return "$"  # of $$
        if variables.get(name):
            return variables[name]
        assert operator != ":?", f"{name} {rest}"
        assert operator or name in variables, f"{name} has no default"
        return rest or ""

    return re.sub(r"\$\$|\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text)


def compose() -> list[str]:
    """The command that is Docker Compose here; the test is skipped where there is none."""
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if plugin.returncode == 0:
            return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("Docker Compose is not installed")
