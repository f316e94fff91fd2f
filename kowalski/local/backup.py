"""./kowalski.py backup: the whole database in a folder, as of one point in time, made beside a running Kowalski; or a look at one."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from kowalski.backup.checking import problems_of
from kowalski.backup.making import make_backup
from kowalski.backup.manifest import Manifest
from kowalski.database.backup import Source
from kowalski.database.client import connect
from kowalski.local import compose
from kowalski.local.at_hand import settings_with_mongodb
from kowalski.local.bars import bytes_bar
from kowalski.local.up import write_what_containers_need
from kowalski.log import setup_logging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("folder", help="where the backup is, or goes; the same again goes on with an interrupted one")
    parser.add_argument("--check", action="store_true", help="look whether a finished one is whole; exit status 1 if not")  # fmt: skip
    parser.add_argument("--local", action="store_true", help="of this machine's MongoDB, even where there is a docker-compose.yaml")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Make a backup, or check one; the exit status."""
    setup_logging("backup", "WARNING")
    folder = Path(arguments.folder)
    if arguments.check:
        return _check(folder)
    if compose.is_meant(arguments.local):
        write_what_containers_need()
        return compose.with_folder("backup", folder)
    with settings_with_mongodb() as config:
        database = connect(config.database, "reader")
        try:
            source = Source(database)
            if not source.follows:
                print("this MongoDB is no replica set: the backup is right only if nobody writes meanwhile", flush=True)
            with bytes_bar(source.bytes, "documents read") as progress:
                made = make_backup(source, folder, config.server.version, progress)
        finally:
            database.client.close()
    print(f"{folder}: {told(made)}")
    return 0


def told(made: Manifest) -> str:
    """A backup in one line."""
    seconds = f"as of {datetime.fromtimestamp(made.as_of[0], UTC):%Y-%m-%d %H:%M:%S} UTC" if made.as_of else (
        f"of {made.begun} to {made.finished}, consistent if nobody wrote then"
    )  # fmt: skip
    return (
        f"database {made.database}, {len(made.collections)} collections, {made.count} documents, "
        f"{made.bytes / 1e6:.1f} MB in {made.size / 1e6:.1f} MB of files, {seconds}"
    )


def _check(folder: Path) -> int:
    made, broken = Manifest.load(folder), 0
    with bytes_bar(made.bytes, "documents checked") as progress:
        for problem in problems_of(folder, made, progress):
            print(problem, flush=True)
            broken += 1
    print(f"{folder}: {told(made)}: {f'{broken} files are broken' if broken else 'whole'}")
    return 1 if broken else 0
