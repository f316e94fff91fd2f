"""One database for many tests: making one with its users takes longer than most tests."""

from collections.abc import Callable

import pytest

from kowalski.database.client import connect
from kowalski.settings import Database


@pytest.fixture(scope="module")
def shared_settings(fresh_database: Callable[[], Database]) -> Database:
    """Settings of a database for the tests of one module."""
    return fresh_database()


@pytest.fixture
def mongo_settings(shared_settings: Database) -> Database:
    """Settings of a database that holds nothing yet; in place of one that nobody else ever had."""
    database = connect(shared_settings)
    for name in database.list_collection_names():
        database.drop_collection(name)
    database.client.close()
    return shared_settings
