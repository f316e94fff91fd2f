"""./kowalski.py restore: a backup put into an empty database, and the proof that it is the same there."""

import argparse
from pathlib import Path

from kowalski.backup.manifest import Manifest
from kowalski.backup.restoring import restore_backup
from kowalski.database.client import connect
from kowalski.database.processes import Processes
from kowalski.database.restore import Target
from kowalski.errors import LocalError
from kowalski.local import compose
from kowalski.local.at_hand import settings_with_mongodb
from kowalski.local.backup import told
from kowalski.local.bars import bytes_bar
from kowalski.local.up import write_what_containers_need
from kowalski.log import setup_logging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("folder", help="a backup; the same again goes on with an interrupted restore")
    parser.add_argument("--drop", action="store_true", help="first drop all that the database has, instead of refusing one that is not empty")  # fmt: skip
    parser.add_argument("--local", action="store_true", help="into this machine's MongoDB, even where there is a docker-compose.yaml")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Restore a backup, with nothing else at work on the database; 0 when all of it is there and the same."""
    setup_logging("restore", "WARNING")
    folder = Path(arguments.folder)
    made = Manifest.load(folder)
    if compose.is_meant(arguments.local):
        write_what_containers_need()
        return compose.with_folder("restore", folder, *(["--drop"] if arguments.drop else []))
    with settings_with_mongodb(alone=True) as config:
        database = connect(config.database, "admin")
        try:
            if busy := Processes(database).alive():
                names = ", ".join(str(each["_id"]) for each in busy)
                raise LocalError(
                    f"{names} work on this database: stop them first (what has just ended counts for 10 s)"
                )
            with bytes_bar(made.bytes, "documents restored") as progress:
                restore_backup(Target(database), folder, arguments.drop, progress)
        finally:
            database.client.close()
    print(f"restored, every collection with the same documents: {told(made)}")
    return 0
