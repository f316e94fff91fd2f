"""The embedded MongoDB: made ready once or many times, wherever its data go, and clear where it can't run."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo.errors import OperationFailure

from kowalski.config import build, isolated_tree
from kowalski.database import replica_set
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.replica_set import prepare
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.local.mongod import find_mongod, make_key_file, mongod_command, why_not
from kowalski.local.ports import free_ports
from kowalski.settings import Database


def settings(port: int, **changes: object) -> Database:
    passwords = {"admin_password": "a", "password": "w", "reader_password": "r"}
    return build(isolated_tree({"database": {"port": port, **passwords, **changes}})).database


class Start:
    """mongod on a test's folder, started and made ready, one at a time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, database: Database) -> None:
        command = mongod_command(self.folder / "mongod", database.port, "rs0", cache_gb=0.25)
        with (self.folder / "mongod.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log)
        prepare(database, timeout=30)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        if self.process:
            self.process.send_signal(number)
            self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts mongod on this test's folder."""
    start = Start(tmp_path)
    yield start
    start.stop(signal.SIGKILL)


def test_preparing_again_changes_nothing(start: Start) -> None:
    database = settings(*free_ports(1))
    start(database)
    connect(database).stars.insert_one({"_id": 1})
    prepare(database, timeout=10)
    assert connect(database, "reader").stars.count_documents({}) == 1


def test_roles_may_do_what_they_are_for(mongo: MongoDatabase, mongo_settings: Database) -> None:
    mongo.stars.insert_one({"_id": 1})
    reader = connect(mongo_settings, "reader")
    assert reader.stars.count_documents({}) == 1
    with pytest.raises(OperationFailure, match="not authorized"):
        reader.stars.insert_one({"_id": 2})
    with pytest.raises(OperationFailure, match="not authorized"):
        mongo.client["another"].stars.insert_one({"_id": 2})
    with pytest.raises(OperationFailure, match="requires authentication"):
        connect(mongo_settings.model_copy(update={"password": None})).stars.find_one()


def test_acknowledged_documents_survive_kill(start: Start) -> None:
    database = settings(*free_ports(1))
    start(database)
    stars = connect(database).stars
    for number in range(200):
        stars.insert_one({"_id": number})
    start.stop(signal.SIGKILL)
    began = time.monotonic()
    start(database)
    assert connect(database).stars.count_documents({}) == 200
    assert time.monotonic() - began < 20


def test_data_move_to_another_port_and_passwords_change(start: Start) -> None:
    first, second = free_ports(2)
    start(settings(first))
    connect(settings(first)).stars.insert_one({"_id": 1})
    start.stop()
    moved = settings(second, password="another")
    start(moved)
    assert connect(moved).stars.count_documents({}) == 1


def test_data_whose_admin_was_not_made_yet_move_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_fails(anyone: object, database: Database, deadline: float) -> None:
        replica_set._ensure_primary(anyone, database, deadline)  # type: ignore[arg-type]
        raise InterruptedError

    first, second = free_ports(2)
    with monkeypatch.context() as patch:
        patch.setattr(replica_set, "_start_new", power_fails)
        with pytest.raises(InterruptedError):
            start(settings(first))
    start.stop()
    moved = settings(second)
    start(moved)
    connect(moved).stars.insert_one({"_id": 1})


def test_other_admin_password_is_named(start: Start) -> None:
    database = settings(*free_ports(1))
    start(database)
    with pytest.raises(DatabaseError, match="refuses mongoadmin: its data were made with another"):
        prepare(database.model_copy(update={"admin_password": "wrong"}), timeout=10)


def test_silence_is_reported_in_time() -> None:
    with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        prepare(settings(*free_ports(1)), timeout=0.5)


def test_key_file_is_ours_alone_and_stays(tmp_path: Path) -> None:
    key = tmp_path / "key"
    make_key_file(key)
    text = key.read_text()
    assert key.stat().st_mode & 0o777 == 0o400
    assert text.replace("+", "a").replace("/", "a").rstrip("=").isalnum()
    make_key_file(key)
    assert key.read_text() == text


def test_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    command = mongod_command(tmp_path, 27099, "rs0", 0.25)
    assert command[command.index("--bind_ip") + 1] == "127.0.0.1"
    assert "--auth" in command
    assert "--nounixsocket" in command


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (
            "#!/bin/sh\necho 'mongod: error while loading shared libraries: libcurl.so.4: cannot open' >&2; exit 127",
            "libcurl4",
        ),
        (
            "#!/bin/sh\necho 'mongod: error while loading shared libraries: libcrypto.so.3: cannot open' >&2; exit 127",
            "libssl3",
        ),
        ("#!/bin/sh\nkill -4 $$", "AVX"),
        ("#!/bin/sh\necho 'db version v4.4.1'", "too old"),
        ("#!/bin/sh\necho trouble >&2; exit 3", "trouble"),
        ("#!/no/such/loader\n", "another platform"),
        ("\x7fELF for another machine", "another platform"),
    ],
)
def test_a_binary_that_does_not_run_here_says_why(tmp_path: Path, script: str, why: str) -> None:
    binary = tmp_path / "mongod"
    binary.write_text(script)
    binary.chmod(0o755)
    problem = why_not(binary)
    assert problem is not None
    assert why in problem
    assert "\n" not in problem
    assert "database.*" in problem


def test_the_one_here_runs() -> None:
    assert why_not(find_mongod()) is None


def test_no_message_is_compressed(mongodb: Database) -> None:
    """Not even where a client asks for it: in mongod's zlib was a hole (CVE-2025-14847)."""
    database = connect(mongodb)
    assert "compression" not in database.client.admin.command("hello", compression=["zlib", "zstd", "snappy"])
    database.client.close()
