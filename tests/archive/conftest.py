"""A database that workers have filled with alerts, and its tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emptied import shared_settings
from tables_harness import Made, filled

from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

__all__ = ["shared_settings"]


@pytest.fixture(scope="module")
def made(test_data: Path, shared_settings: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The real packets of all surveys and a simulated night, stored by workers as the chain does; the tests don't change them."""
    database: MongoDatabase = connect(shared_settings)
    yield filled(test_data, database, shared_settings, tmp_path_factory.mktemp("tables"))
    database.client.close()


@pytest.fixture
def fresh(made: Made, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A function that gives tables of that database in a folder of their own; arguments are settings of ``tables``."""
    yield lambda **settings: made.tables(tmp_path / "own", **settings)
    made.database["tabled"].delete_many({})
