"""Databases to make backups of and to restore into, and files small enough that a few documents fill many."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emptied import mongo_settings, shared_settings

from kowalski.backup import chunks
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

__all__ = ["mongo_settings", "shared_settings"]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FULL", 20_000)
    monkeypatch.setattr("kowalski.database.backup.UNLIMITED", 50)


@pytest.fixture(scope="module")
def second_settings(fresh_database: Callable[[], Database]) -> Database:
    """Settings of the database that backups are restored into."""
    return fresh_database()


@pytest.fixture
def second(second_settings: Database) -> Iterator[MongoDatabase]:
    """It, empty, as the admin sees it, who restores."""
    database = connect(second_settings, "admin")
    for name in database.list_collection_names(filter={"name": {"$not": {"$regex": "^system"}}}):
        database.drop_collection(name)
    yield database
    database.client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"
