"""./kowalski.py up: everything running as a service, ready when the command returns."""

import argparse
import sys
import time
from pathlib import Path

from kowalski.config import ROOT, build, settings_tree
from kowalski.errors import LocalError
from kowalski.local import compose
from kowalski.local.docs import ensure_built
from kowalski.local.secrets import refuse_published, write_env, write_missing
from kowalski.local.system import LocalSystem
from kowalski.settings import Config

CONFIG_FILE = ROOT / "config.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--local", action="store_true", help="as processes here, even where there is a docker-compose.yaml"
    )
    parser.add_argument("--build", action="store_true", help="build the images of docker-compose.yaml first")


def run(arguments: argparse.Namespace) -> int:
    """Start what does not run yet; 0 when all of it is ready."""
    if compose.is_meant(arguments.local):
        return _start_containers(arguments.build)
    if arguments.build:
        raise LocalError("--build is for containers: cp docker-compose.defaults.yaml docker-compose.yaml first")
    _write_secrets([ROOT / "config.local.yaml", CONFIG_FILE])
    return _start_here()


def write_what_containers_need() -> Config:
    """config.yaml, .env and mongo_key.yaml have all that the compose files ask for; the settings."""
    config = _write_secrets([CONFIG_FILE])
    refuse_published(config, reachable=True)
    write_env(ROOT / ".env", config, compose.variables(config))
    compose.write_key_file()
    return config


def build_images() -> int:
    """Images of this checkout, whose version stands in version.txt; docker compose's exit status."""
    if not compose.FILE.exists():
        raise LocalError(f"there is no {compose.FILE.name}: cp docker-compose.defaults.yaml {compose.FILE.name}")
    _say(f"building {compose.write_version(write_what_containers_need())}")
    return compose.compose("build")


def _write_secrets(files: list[Path]) -> Config:
    if made := write_missing(CONFIG_FILE, files):
        _say(f"made and wrote into config.yaml: {', '.join(made)}")
    config = build(settings_tree(files))
    write_env(ROOT / ".env", config)
    return config


def _start_containers(first_build: bool) -> int:
    began = time.monotonic()
    if first_build and (failed := build_images()):
        return failed
    config = write_what_containers_need()
    if failed := compose.compose("up", "-d", "--remove-orphans"):
        return failed
    compose.wait_until_ready(lambda line: _say(f"  {line}"))
    print(f"Kowalski is up in containers ({time.monotonic() - began:.0f} s), {_admin(config)}")
    return 0


def _start_here() -> int:
    began = time.monotonic()
    system = LocalSystem.live()
    system.start(progress=lambda line: _say(f"  {line}"))
    ensure_built()
    server = system.config.server
    print(
        f"Kowalski is up ({time.monotonic() - began:.1f} s): http://{server.host}:{server.port}, in a browser /lab, {_admin(system.config)}"
    )
    return 0


def _admin(config: Config) -> str:
    return f"user {config.server.admin_username}, password in config.yaml under kowalski.server.admin_password"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
