"""The containers of one Compose project of a test's own, from start to the proof that nothing of them is left."""

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml
from containers import docker, until

from kowalski.config import ROOT, build, settings_tree
from kowalski.local.secrets import write_env, write_missing


class Project:
    """A folder with a compose file and the files that it mounts, and the containers that Compose makes of it.

    Parameters
    ----------
    folder : empty; the compose file's relative paths are meant from here
    compose : the command that is Docker Compose here
    content : the compose file
    settings : what differs from the defaults
    variables : what differs from what `up` writes into .env
    """

    def __init__(
        self, folder: Path, compose: list[str], content: dict[str, Any], settings: dict[str, Any], **variables: str
    ):
        self.folder, self.name = folder, f"kowalski_test_{os.getpid()}_{secrets.token_hex(2)}"
        self.command = [*compose, "--project-directory", str(folder), "-f", str(folder / "docker-compose.yaml")]
        (folder / "docker-compose.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        config_file = folder / "config.yaml"
        config_file.write_text(yaml.safe_dump({"kowalski": settings}))
        write_missing(config_file, [config_file])
        self.config = build(settings_tree([config_file], {}))
        own = {"COMPOSE_PROJECT_NAME": self.name, "MONGO_OPTIONS": "--wiredTigerCacheSizeGB 0.25"}
        write_env(folder / ".env", self.config, own | variables)
        (folder / "mongo_key.yaml").write_text(secrets.token_hex(32))

    def compose(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command of Compose prints; it has to succeed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("COMPOSE_", "KOWALSKI"))}
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.folder, env=environment, input=stdin, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self, service: str | None = None, everything: bool = True) -> list[dict[str, Any]]:
        """What the engine knows of the containers, of one service or of all."""
        label = f"label=com.docker.compose.project={self.name}"
        ids = docker("ps", "--quiet", *(["--all"] if everything else []), "--filter", label).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return [each for each in found if service in (None, each["Config"]["Labels"]["com.docker.compose.service"])]

    def wait_healthy(self, service: str, number: int, timeout: float = 240) -> None:
        """Return when so many containers of a service are healthy."""

        def says() -> bool:
            states = [each["State"] for each in self.containers(service)]
            return sum(state.get("Health", {}).get("Status") == "healthy" for state in states) == number

        try:
            until(says, f"{number} healthy {service}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail', '30')}") from None

    def take_down(self) -> None:
        """Nothing is left: no container, network or volume, those without a name included."""
        mounts = [mount for each in self.containers() for mount in each["Mounts"]]
        volumes = {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")
        label = f"label=com.docker.compose.project={self.name}"
        assert self.containers() == []
        assert docker("network", "ls", "--quiet", "--filter", label) == ""
        assert docker("volume", "ls", "--quiet", "--filter", label) == ""
        assert volumes & set(docker("volume", "ls", "--quiet").split()) == set()


def image(name: str, dockerfile: Path, context: Path = ROOT, anew: bool = False) -> None:
    """There is an image of this name; it is built where it is missing."""
    known = subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0
    if anew or not known:
        docker("build", "--quiet", "--tag", name, "--file", str(dockerfile), str(context))
