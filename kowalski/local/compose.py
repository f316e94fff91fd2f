"""Docker Compose, for folders that have a docker-compose.yaml."""

import shutil
import subprocess

from kowalski.config import ROOT
from kowalski.errors import LocalError

FILE = ROOT / "docker-compose.yaml"


def is_meant(local: bool) -> bool:
    """Whether up and down are about containers: there is a compose file and nobody said --local."""
    return FILE.exists() and not local


def compose(*arguments: str) -> int:
    """Run ``docker compose`` on this folder's file; its exit status.

    Raises
    ------
    LocalError : there is no Docker Compose, or no engine answers it
    """
    return subprocess.call([*_command(), "-f", str(FILE), *arguments], cwd=ROOT)


def _command() -> list[str]:
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
