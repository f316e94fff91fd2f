"""./kowalski.py down: everything stopped, no process left, data kept unless somebody says otherwise twice."""

import argparse
import shutil
import sys
from pathlib import Path

from kowalski.errors import LocalError
from kowalski.local import compose
from kowalski.local.bars import working
from kowalski.local.system import LocalSystem

#: what `up` makes in its folder; nothing else there is ever removed
MADE = ("mongod", "kafka", "metrics", "programs", "run", "supervisord.conf", "supervisord.pid", "config.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--wipe", action="store_true", help="also delete the database and the message log; asks first")
    parser.add_argument("--yes", action="store_true", help="the answer to that question")
    parser.add_argument(
        "--local", action="store_true", help="the processes here, even where there is a docker-compose.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    """Stop all, then wipe if told to."""
    if compose.is_meant(arguments.local):
        if arguments.wipe:
            _confirm("the volumes of docker-compose.yaml", arguments.yes)
        return compose.compose("down", "--remove-orphans", *(["--volumes"] if arguments.wipe else []))
    system = LocalSystem.running()
    if arguments.wipe:
        _confirm(f"the database and the message log in {system.folder}", arguments.yes)
    running = bool(system.processes())
    with working("stopping: what is under way is finished"):
        system.stop()
    print("Kowalski is down" if running else "nothing was running")
    if arguments.wipe:
        with working(f"deleting what is in {system.folder}"):
            _wipe(system.folder)
        print(f"{system.folder} is wiped")
    return 0


def _confirm(what: str, yes: bool) -> None:
    """Return if somebody really wants it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise LocalError(f"down --wipe deletes {what}: it asks at a terminal, or takes --yes")
    if input(f"Delete {what}? Type yes: ").strip() != "yes":
        raise LocalError("nothing was deleted or stopped")


def _wipe(folder: Path) -> None:
    for name in MADE:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
