"""A copy of the project whose containers a test starts, and takes down without a leftover."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from penquins import Kowalski

from kowalski.config import ROOT
from kowalski.local.ports import free_ports

#: of the containers, volumes and networks that tests make
PROJECT = "kowalskitest"
#: s that something may take which has to happen in the end
PATIENCE = 240.0


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """What a condition gives as soon as it is true."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.5)
    return value


def docker(*arguments: str) -> str:
    """What ``docker`` prints; it must work."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def engine_answers() -> bool:
    """Whether there is a Docker engine with Compose."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return False
    return _has_plugin() or shutil.which("docker-compose") is not None


@dataclass
class Clone:
    """The project's files in a folder of their own, with its containers on free ports."""

    folder: Path
    api_port: int
    dashboard_port: int

    @classmethod
    def make(cls, folder: Path, compose_file: str) -> "Clone":
        """What git knows of the project, with the settings and the compose file as docs/containers.md has it."""
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, files.decode().split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        shutil.copy(folder / "config.defaults.yaml", folder / "config.yaml")
        clone = cls(folder, *free_ports(2))
        text = (folder / compose_file).read_text()
        text = text.replace("127.0.0.1:4000:", f"127.0.0.1:{clone.api_port}:")
        text = text.replace("127.0.0.1:8787:", f"127.0.0.1:{clone.dashboard_port}:")
        (folder / "docker-compose.yaml").write_text(text)
        return clone

    def run(self, *arguments: str, status: int | None = 0, **environment: str) -> str:
        """What ``./kowalski.py`` prints; it must end with this status (None: any)."""
        done = subprocess.run(
            ["./kowalski.py", *arguments],
            cwd=self.folder,
            env=_plain_environment() | {"COMPOSE_PROJECT_NAME": PROJECT} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert status in (None, done.returncode), f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def change_settings(self, **sections: dict[str, Any]) -> None:
        """config.yaml has these values, the others stay."""
        path = self.folder / "config.yaml"
        content = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            content["kowalski"][section] |= values
        path.write_text(yaml.safe_dump(content))

    def container(self, service: str) -> str:
        """The name of a service's container."""
        labels = [f"label=com.docker.compose.project={PROJECT}", f"label=com.docker.compose.service={service}"]
        (name,) = docker("ps", "--all", "--format={{.Names}}", *(f"--filter={label}" for label in labels)).split()
        return name

    def penquins(self) -> Kowalski:
        """The client that astronomers use, logged in as the admin."""
        server = yaml.safe_load((self.folder / "config.yaml").read_text())["kowalski"]["server"]
        return Kowalski(
            username="admin", password=server["admin_password"], protocol="http", host="127.0.0.1", port=self.api_port
        )

    def publish(self, packets: Path) -> None:
        """The producer has published a folder of packets to tonight's topic."""
        tool = ["docker", "compose"] if _has_plugin() else ["docker-compose"]
        done = subprocess.run(
            [*tool, "-p", PROJECT, "--profile", "producer", "run", "--rm", "-T", "producer"],
            cwd=self.folder,
            env=_plain_environment() | {"PRODUCER_ALERTS": str(packets)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def leftovers() -> dict[str, list[str]]:
    """What Docker still has of the tests' project."""
    of_ours = f"--filter=label=com.docker.compose.project={PROJECT}"
    return {
        "containers": docker("ps", "--all", "-q", of_ours).split(),
        "volumes": docker("volume", "ls", "-q", of_ours).split(),
        "networks": docker("network", "ls", "-q", of_ours).split(),
    }


def nameless_volumes() -> set[str]:
    """Volumes that belong to no container any more and have no name but a number: what an image's VOLUME leaves behind."""
    return {name for name in docker("volume", "ls", "-q", "--filter=dangling=true").split() if len(name) == 64}


def inspect(name: str) -> dict[str, Any]:
    """What Docker knows of a container or an image."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return found[0]


def _plain_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("KOWALSKI", "COMPOSE", "MONGO"))}


def _has_plugin() -> bool:
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
