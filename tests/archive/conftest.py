"""A database that workers have filled with alerts, and its tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tables_harness import Made, filled

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
