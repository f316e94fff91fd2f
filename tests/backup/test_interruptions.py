"""Killed at any moment, the same command goes on where it was: what was done is not done again, and the end is the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from harness_of_backups import hashes, listed
from pymongo import IndexModel

from kowalski.backup.journal import Journal
from kowalski.backup.manifest import Manifest
from kowalski.config import ROOT
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.restore import MARK, Target
from kowalski.settings import Database

#: makes or restores a backup and kills itself at the first call of progress that says what it is told, after some of them
CODE = """
import os, sys
sys.path.insert(0, "tests/backup")
from pathlib import Path
from kowalski.backup import chunks
from kowalski.database import backup
chunks.FULL, backup.UNLIMITED = 20_000, 50
import harness_of_backups
from kowalski.database.client import connect
from kowalski.settings import Database
what, folder, settings, word, calls = sys.argv[1:]
seen = 0
def progress(doing, done):
    global seen
    seen += word in doing and (done > 0 or " " in word)
    if seen > int(calls):
        os.kill(os.getpid(), 9)
settings = Database.model_validate_json(settings)
if what == "backup":
    harness_of_backups.backup(settings, Path(folder), progress)
else:
    harness_of_backups.restore(connect(settings, "admin"), Path(folder), progress=progress)
"""


def run(what: str, folder: Path, settings: Database, word: str, calls: int) -> bool:
    """Whether it came to its end; otherwise it was killed."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, what, str(folder), settings.model_dump_json(), word, str(calls)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


def files_of(folder: Path) -> dict[str, int]:
    """The files of documents, and which these are, should another have taken the name."""
    return {path.name: path.stat().st_ino for path in sorted(folder.glob("0*/0*.zst"))}


def test_kills(mongo_settings: Database, second_settings: Database, second: MongoDatabase, folder: Path) -> None:
    first = connect(mongo_settings)
    first["alerts"].insert_many([{"_id": number, "x": bytes(900)} for number in range(600)])
    first["alerts"].create_indexes([IndexModel([("x", 1), ("_id", -1)], name="x")])

    assert not run("backup", folder, mongo_settings, "alerts", 4)
    with Journal(folder) as journal:
        noted = {Path(piece.chunk.file).name for piece in journal.collections["alerts"].pieces}
    assert len(noted) >= 5
    begun = {name: number for name, number in files_of(folder).items() if name in noted}
    first["alerts"].delete_one({"_id": 10})
    first["alerts"].update_one({"_id": 11}, {"$set": {"x": "new"}})
    first["alerts"].insert_one({"_id": -1})
    assert not run("backup", folder, mongo_settings, "putting changed", 0)
    first["alerts"].update_one({"_id": 11}, {"$set": {"x": "newer"}})
    assert not (folder / "manifest.json").exists()
    read = files_of(folder)
    assert begun.items() <= read.items()
    assert run("backup", folder, mongo_settings, "never", 0)
    made = Manifest.load(folder)
    assert made.count == 600
    kept = files_of(folder)
    assert len(kept.items() & begun.items()) == len(begun) - 1, "one of them held what has changed since"
    assert sorted(path.name for path in folder.iterdir()) == ["0001", "manifest.json"]

    assert not run("restore", folder, second_settings, "alerts", 4)
    assert Target(second).backup() == made.id
    there = Target(second).files()
    assert 4 <= len(there) < len(made.collections[0].chunks)
    second[MARK].delete_one(
        {"_id": min(there)}
    )  # as if killed after the documents were written, and before that was noted
    assert not run("restore", folder, second_settings, "verifying alerts", 0)
    assert not run("restore", folder, second_settings, "indexes of alerts", 0)
    assert run("restore", folder, second_settings, "never", 0)
    assert hashes(second) == hashes(connect(mongo_settings, "admin"))
    assert listed(second) == listed(first)
    first.client.close()
