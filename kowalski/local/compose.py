"""Docker Compose, for folders that have a docker-compose.yaml: what its containers need on disk, and calls to it."""

import hashlib
import json
import os
import re
import secrets
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from kowalski.config import ROOT, in_container
from kowalski.errors import ConfigError, LocalError
from kowalski.settings import Config

FILE = ROOT / "docker-compose.yaml"
KEY_FILE = ROOT / "mongo_key.yaml"
VERSION_FILE = ROOT / "version.txt"

#: services of the images that are built here; in each, kowalski.py knows its own programs
BUILT = ("api", "ingester")
#: where their containers may write
STATE = "/kowalski/data/local"
#: s until all containers are healthy
PATIENCE = 300
GB = 1024**3

Progress = Callable[[str], None]


def is_meant(local: bool) -> bool:
    """Whether a command is about containers: there is a compose file, and nobody said --local or is in one of them."""
    return FILE.exists() and not local and not in_container()


def compose(*arguments: str) -> int:
    """Run ``docker compose`` on this folder's file; its exit status.

    Raises
    ------
    LocalError : there is no Docker Compose, or no engine answers it
    """
    return subprocess.call(command(*arguments), cwd=ROOT)


def command(*arguments: str) -> list[str]:
    """The command line of ``docker compose`` on this folder's file; raises as `compose`."""
    return [*_command(), "-f", str(FILE), "--project-directory", str(ROOT), *arguments]


def answer(*arguments: str) -> str:
    """What ``docker compose`` prints."""
    done = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"docker compose {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def said_in(service: str, *arguments: str) -> str:
    """What a command prints in a service's container, whatever its exit status."""
    call = command("exec", "-T", service, *arguments)
    done = subprocess.run(call, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


def inside(name: str, arguments: Sequence[str]) -> int:
    """Run a command of kowalski.py in the ingester, whose MongoDB and dask clusters nobody else reaches; its exit status.

    A folder or file after ``--from`` (a path, ``dir:PATH`` or ``tar:PATH``) is copied there for as long as it takes.
    """
    given = list(arguments)
    place = given.index("--from") + 1 if "--from" in given[:-1] else None
    kind, colon, path = given[place].rpartition(":") if place else ("", "", "")
    with copied(
        "ingester", [path] if path not in ("kafka", "quarantine", "archive") and os.path.exists(path) else []
    ) as paths:
        if place and paths:
            given[place] = f"{kind}{colon}{paths[0]}"
        terminal = [] if sys.stdout.isatty() and sys.stdin.isatty() else ["-T"]
        return compose("exec", *terminal, "ingester", "python", "kowalski.py", name, *given)


def bytes_of(name: str, arguments: Sequence[str], target: Path | None) -> int:
    """What a command of kowalski.py prints in the ingester goes into a new file of this machine, or where our own output goes; its exit status."""
    call = command("exec", "-T", "ingester", "python", "kowalski.py", name, *arguments)
    if target is None:
        return subprocess.call(call, cwd=ROOT)
    done = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode == 0:
        try:
            with target.open("xb") as file:
                file.write(done.stdout)
        except OSError as error:
            raise LocalError(f"{target}: {error.strerror}") from None
    return done.returncode


def with_folder(name: str, folder: Path, *options: str) -> int:
    """Run a command of kowalski.py on a folder of this machine, as `with_folders` does; its exit status."""
    return with_folders(name, {folder: "/backup"}, "/backup", *options)


def with_folders(name: str, folders: Mapping[Path, str], *arguments: str) -> int:
    """Run a command of kowalski.py in a container of its own, as this user, with folders of this machine; its exit status.

    What it needs beside itself is started with it, MongoDB foremost, so it does its work before `up`, too.
    """
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # else Docker makes it, and it is root's
    binds = [f"{folder.resolve()}:{place}" for folder, place in folders.items()]
    binds.append(f"{ROOT / 'config.yaml'}:/config.yaml:ro")
    mounts = [part for bind in binds for part in ("--volume", bind)]
    # -e, for Compose 1 knows no --env
    settings = ["--user", f"{os.getuid()}:{os.getgid()}", "-e", "KOWALSKI_CONFIG=/config.yaml"]
    terminal = [] if sys.stdout.isatty() and sys.stdin.isatty() else ["-T"]
    call = ["ingester", "python", "kowalski.py", name, *arguments]
    return compose("run", "--rm", *terminal, *settings, *mounts, *call)


@contextmanager
def copied(service: str, paths: Sequence[str]) -> Iterator[list[str]]:
    """Files or folders of this machine in a service's container, under the names given; gone at the end."""
    if not paths:
        yield []
        return
    container = _first_container(service)
    folder = f"{STATE}/from-host-{secrets.token_hex(4)}"
    kept = [f"{folder}/{number}" for number in range(len(paths))]
    try:
        for path, place in zip(paths, kept, strict=True):
            _send(container, path, place)
        yield [f"{place}/{os.path.basename(os.path.abspath(path))}" for path, place in zip(paths, kept, strict=True)]
    finally:
        # folders that may not be written to keep what is in them
        remove = f"chmod --recursive u+w {folder} && rm --recursive {folder}"
        subprocess.run(["docker", "exec", container, "sh", "-c", remove], check=False)


def _first_container(service: str) -> str:
    """The container of a service that ``exec`` takes too: the first of its replicas."""
    of_it = [each for each in containers() if each["service"] == service]
    if not of_it:
        raise LocalError(f"{service} has no container: ./kowalski.py up starts it")
    return str(min(of_it, key=lambda each: each["number"])["container"])


def _send(container: str, path: str, place: str) -> None:
    """A file or folder lies in a folder of a container, and belongs to the container's user."""
    parent, name = os.path.split(os.path.abspath(path))
    unpack = f"mkdir -p {place} && tar --extract --no-same-owner --file - --directory {place}"
    with subprocess.Popen(
        ["tar", "--create", "--dereference", "--file", "-", "--directory", parent, name], stdout=subprocess.PIPE
    ) as tar:
        subprocess.run(["docker", "exec", "-i", container, "sh", "-c", unpack], stdin=tar.stdout, check=True)


# What must be there before


def write_key_file() -> None:
    """``mongo_key.yaml``, by which the members of MongoDB's replica set know each other, exists and is its owner's alone."""
    if not KEY_FILE.exists():
        letters = string.ascii_letters + string.digits
        KEY_FILE.touch(mode=0o600)
        KEY_FILE.write_text("".join(secrets.choice(letters) for _ in range(64)))
    KEY_FILE.chmod(0o400)


def write_version(config: Config) -> str:
    """``version.txt`` says what the images are built from, e.g. ``v4.0.0+git20240101.1a2b3c4``."""
    commit = _git("log", "-1", "--format=%cd.%h", "--date=format:%Y%m%d") or f"{time.strftime('%Y%m%d')}.unknown"
    version = f"v{config.server.version}+git{commit}{'.dirty' if _git('status', '--porcelain') else ''}"
    VERSION_FILE.write_text(version + "\n")
    return version


def variables(config: Config) -> dict[str, str]:
    """What the compose files ask of ``.env`` beside the database's admin."""
    cache = cache_gb(config.database.max_wired_tiger_cache, psutil.virtual_memory().total)
    return {
        "COMPOSE_PROJECT_NAME": "kowalski",
        "KOWALSKI_VERSION": config.server.version,
        "KOWALSKI_SETTINGS": hashlib.sha256((ROOT / "config.yaml").read_bytes()).hexdigest()[:16],
        "MONGO_OPTIONS": f"--wiredTigerCacheSizeGB {cache:g}" if cache else "",
    }


def cache_gb(setting: int | float | str | None, memory: int) -> float | None:
    """GB of ``database.max_wired_tiger_cache``, given so or as a share of this machine's memory (bytes) such as ``40%``.

    Raises
    ------
    ConfigError : it is neither, or more than there is
    """
    if setting is None:
        return None
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", str(setting).replace(" ", ""))
    if matched is None:
        raise ConfigError(f"database.max_wired_tiger_cache is {setting!r}: a number of GB, or a share such as 40%")
    number = float(matched[1])
    cache = number / 100 * memory / GB if matched[2] else number
    if not 0.25 <= cache <= memory / GB:
        raise ConfigError(
            f"database.max_wired_tiger_cache is {setting}, {cache:.2f} GB: it must lie between 0.25 GB and this machine's {memory / GB:.1f} GB"
        )
    return round(cache, 2)


# What runs


def wait_until_ready(progress: Progress) -> None:
    """Every container is healthy, or has done its work and ended.

    Raises
    ------
    LocalError : one ended with an error or was not healthy in time, with the end of its log
    """
    began = time.monotonic()
    said: set[str] = set()
    while True:
        states = containers()
        waiting = [each for each in states if not each["ready"]]
        for each in states:
            if each["ready"] and each["service"] not in said:
                said.add(each["service"])
                progress(f"{each['service']}: {each['state']} after {time.monotonic() - began:.0f} s")
        if states and not waiting:
            return
        failed = [each for each in waiting if each["exit"]]
        if failed or time.monotonic() - began > PATIENCE:
            names = [each["service"] for each in failed or waiting]
            compose("logs", "--tail", "20", *names)
            what = "ended with an error" if failed else f"not ready after {PATIENCE} s"
            raise LocalError(f"{', '.join(names)}: {what}, see above")
        time.sleep(1)


def containers() -> list[dict[str, Any]]:
    """This folder's containers: service, number among its replicas, state in words, whether it is ready, exit status (None: runs)."""
    ids = answer("ps", "--all", "-q").split() if _knows_all() else answer("ps", "-q").split()
    if not ids:
        return []
    inspected = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True)
    return sorted((_state_of(each) for each in json.loads(inspected.stdout)), key=lambda each: str(each["service"]))


def _state_of(inspected: dict[str, Any]) -> dict[str, Any]:
    state = inspected["State"]
    ended = state["Status"] == "exited"
    words = str(state.get("Health", {}).get("Status") or state["Status"])
    done = ended and state["ExitCode"] == 0 and inspected["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    labels = inspected["Config"]["Labels"]
    return {
        "service": labels["com.docker.compose.service"],
        "number": int(labels["com.docker.compose.container-number"]),
        "container": inspected["Name"].removeprefix("/"),
        "state": "done" if done else words if not ended else f"exited with {state['ExitCode']}",
        "ready": done or (not ended and words in ("healthy", "running")),
        "exit": state["ExitCode"] if ended else None,
        "started": state["StartedAt"],
    }


def _knows_all() -> bool:
    """Whether ``ps`` leaves out what has ended unless told otherwise: the plugin does, docker-compose doesn't."""
    return _command() == ["docker", "compose"]


@cache
def _command() -> Sequence[str]:
    without = f"--local runs the same on this machine without it ({FILE.name} stands for containers)"
    if shutil.which("docker") is None:
        raise LocalError(f"docker is not installed; {without}")
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if engine.returncode:
        reason = (engine.stderr.strip().splitlines() or ["docker info fails"])[-1]
        raise LocalError(f"no Docker engine answers ({reason}); {without}")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise LocalError(f"docker has no compose plugin; {without}")


def _git(*arguments: str) -> str:
    with suppress(FileNotFoundError):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""
