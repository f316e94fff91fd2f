"""A database that workers have filled with alerts, and its tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tables_harness import SIMULATED, Content, Made, content, filled

from kowalski.archive.tables.tables import Tables
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database


@pytest.fixture(scope="session")
def made(
    test_data: Path, fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    """The real packets of all surveys and a simulated night, stored by workers as the chain does; the tests don't change them."""
    settings = fresh_database()
    database: MongoDatabase = connect(settings)
    yield filled(test_data, database, settings, tmp_path_factory.mktemp("tables"))
    database.client.close()


@pytest.fixture
def fresh(made: Made, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A function that gives tables of that database in a folder of their own; arguments are settings of ``tables``."""
    yield lambda **settings: made.tables(tmp_path / "own", **settings)
    made.database["tabled"].delete_many({})


@pytest.fixture(scope="session")
def whole(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """All nights of all surveys, whole; the tests don't change them."""
    tables = made.tables(tmp_path_factory.mktemp("whole"))
    made.compact_all(tables)
    return tables


@pytest.fixture(scope="session")
def simulated(whole: Tables) -> Content:
    """The content of the simulated night."""
    return content(whole.store.root, SIMULATED)


@pytest.fixture
def without(made: Made) -> Iterator[Callable[..., None]]:
    """A function that takes documents out of collections (name, condition); they come back at the end."""
    taken: list[tuple[str, list[dict[str, Any]]]] = []

    def take(name: str, condition: dict[str, Any]) -> None:
        taken.append((name, list(made.database[name].find(condition))))
        made.database[name].delete_many(condition)

    yield take
    for name, documents in taken:
        for document in documents:
            made.database[name].replace_one({"_id": document["_id"]}, document, upsert=True)


@pytest.fixture
def put(made: Made) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """A function that puts a document into a collection; it is taken out at the end."""
    there: list[tuple[str, Any]] = []

    def insert(name: str, document: dict[str, Any]) -> None:
        made.database[name].insert_one(document)
        there.append((name, document["_id"]))

    yield insert
    for name, key in there:
        made.database[name].delete_one({"_id": key})
