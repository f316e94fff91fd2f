"""./kowalski.py backup and restore: what they say, what they refuse, and their exit status."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kowalski.database.client import connect
from kowalski.database.processes import Processes
from kowalski.errors import LocalError
from kowalski.local import backup, restore
from kowalski.settings import Database

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """A function that runs a command on a database, and gives its status and what it prints."""

    def run(module: ModuleType, settings: Database, *words: str) -> tuple[int, str]:
        @contextmanager
        def at_hand(alone: bool = False) -> Iterator[Any]:
            yield SimpleNamespace(database=settings, server=SimpleNamespace(version="4.0.0"))

        monkeypatch.setattr(module, "settings_with_mongodb", at_hand)
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        status = module.run(parser.parse_args([*words, "--local"]))
        return status, " ".join(capsys.readouterr().out.split())

    return run


def test_from_one_system_to_another(fresh_database: Callable[[], Database], say: Say, tmp_path: Path) -> None:
    first, second = fresh_database(), fresh_database()
    source, target = connect(first), connect(second)
    source["ZTF_alerts"].insert_many([{"_id": number, "candid": number} for number in range(36)])
    source["users"].insert_one({"_id": "vera", "password": "$2b$12$x"})
    folder = str(tmp_path / "monday")
    status, said = say(backup, first, folder)
    assert status == 0
    assert "2 collections, 37 documents" in said
    assert "as of 20" in said

    Processes(target).beat("poster")
    with pytest.raises(LocalError, match="poster:.* work on this database: stop them first"):
        say(restore, second, folder)
    Processes(target).leave("poster")
    status, said = say(restore, second, folder)
    assert status == 0
    assert "every collection with the same documents" in said
    assert list(target["ZTF_alerts"].find()) == list(source["ZTF_alerts"].find())

    assert say(backup, first, "--check", folder)[0] == 0
    next((tmp_path / "monday").rglob("*.zst")).write_bytes(b"")
    status, said = say(backup, first, "--check", folder)
    assert status == 1
    assert "is not as it was written" in said
    assert "1 files are broken" in said
    for database in (source, target):
        database.client.close()
