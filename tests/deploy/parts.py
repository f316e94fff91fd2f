"""Parts of a Kowalski started one by one, each as on a machine of its own, and ended with the test."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from kowalski.config import ROOT, build
from kowalski.settings import Config


class Parts:
    """Processes with the same settings; `end` leaves none of them, nor of their children.

    Parameters
    ----------
    tree : the settings that all of them have
    """

    def __init__(self, folder: Path, tree: dict[str, Any]):
        self.folder = folder
        self.config: Config = build(tree)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._file = folder / "config.yaml"
        self._file.write_text(yaml.safe_dump({"kowalski": tree}))

    def start(self, name: str, command: Sequence[str], within: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """A command runs under a name, its output in a file of that name; ``within``: what it is run by."""
        environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI_")}
        environment |= {"KOWALSKI_CONFIG": str(self._file), "PYTHONUNBUFFERED": "1"}
        with (self.folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [*within, *command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.processes[name] = process
        return process

    def python(self, name: str, module: str, *arguments: str, within: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """A module of Kowalski runs under a name."""
        return self.start(name, [sys.executable, "-m", module, *arguments], within)

    def wait(self, done: Callable[[], bool], what: str, patience: float = 60) -> None:
        """Return as soon as something is so; fail with the ends of the logs when it isn't in time."""
        deadline = time.monotonic() + patience
        while not done():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {patience:g} s\n{self.logs()}")
            time.sleep(0.1)

    def logs(self, lines: int = 12) -> str:
        """The end of each log."""
        ends = {path.stem: path.read_text(errors="replace").splitlines() for path in self.folder.glob("*.log")}
        return "\n".join(f"--- {name}\n" + "\n".join(said[-lines:]) for name, said in ends.items())

    def family(self, name: str) -> list[psutil.Process]:
        """A process and all its children that live."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.processes[name].pid)
            return [process, *process.children(recursive=True)]
        return []

    def end(self) -> None:
        """No process is left."""
        families = [process for name in self.processes for process in self.family(name)]
        for process in self.processes.values():
            process.terminate()
        _, stubborn = psutil.wait_procs(families, timeout=15)
        for each in stubborn:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(stubborn, timeout=10)
        for process in self.processes.values():
            process.wait(timeout=10)
