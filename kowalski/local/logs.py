"""./kowalski.py logs: what the programs say."""

import argparse
import os
from pathlib import Path

from kowalski.errors import LocalError
from kowalski.local.system import LocalSystem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("program", nargs="?", help="one program, as status names them (default: all)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=40, help="last lines to begin with (default 40)")


def run(arguments: argparse.Namespace) -> int:
    """Become ``tail`` on the logs, which knows how to follow files that are rotated."""
    supervisor = LocalSystem.running().supervisor
    written = {log.stem: log for log in sorted(supervisor.logs.glob("*.log"))}
    names = [arguments.program] if arguments.program else list(written)
    if not names:
        raise LocalError(f"no logs in {supervisor.logs}: nothing has run yet (./kowalski.py up)")
    if names[0] not in written:
        raise LocalError(f"no log of {names[0]} in {supervisor.logs}; there are: {', '.join(written) or 'none'}")
    _tail([written[name] for name in names], arguments.lines, arguments.follow)
    return 0


def _tail(files: list[Path], lines: int, follow: bool) -> None:
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", *map(str, files)]
    os.execvp(command[0], command)
