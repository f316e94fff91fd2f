"""./kowalski.py logs: what the programs say."""

import argparse
import os
from pathlib import Path

from kowalski.errors import LocalError
from kowalski.local import compose
from kowalski.local.system import LocalSystem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("program", nargs="?", help="one program or container, as status names them (default: all)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=40, help="last lines to begin with (default 40)")
    parser.add_argument(
        "--local", action="store_true", help="of the processes here, even where there is a docker-compose.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    """Become ``tail`` on the logs, which knows how to follow files that are rotated; containers' logs Docker keeps."""
    if compose.is_meant(arguments.local):
        return _of_containers(arguments)
    logs = LocalSystem.running().supervisor.logs
    if logs is None:
        raise LocalError("in a container all that the programs say is the container's output: docker logs shows it")
    written = {log.stem: log for log in sorted(logs.glob("*.log"))}
    names = [arguments.program] if arguments.program else list(written)
    if not names:
        raise LocalError(f"no logs in {logs}: nothing has run yet (./kowalski.py up)")
    if names[0] not in written:
        raise LocalError(f"no log of {names[0]} in {logs}; there are: {', '.join(written) or 'none'}")
    _tail([written[name] for name in names], arguments.lines, arguments.follow)
    return 0


def _of_containers(arguments: argparse.Namespace) -> int:
    services = compose.answer("config", "--services").split()
    if arguments.program not in (None, *services):
        raise LocalError(f"there is no service {arguments.program}; there are: {', '.join(sorted(services))}")
    options = ["--tail", str(arguments.lines), *(["--follow"] if arguments.follow else [])]
    return compose.compose("logs", *options, *([arguments.program] if arguments.program else []))


def _tail(files: list[Path], lines: int, follow: bool) -> None:
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", *map(str, files)]
    os.execvp(command[0], command)
