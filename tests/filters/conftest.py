"""The tests of a module share a database, emptied before each."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import json_util
from emptied import mongo_settings, shared_settings

from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters
from kowalski.settings import Database

from .harness import ALL, Put

__all__ = ["mongo_settings", "shared_settings"]


@pytest.fixture
def filters(mongo_settings: Database, mongo: MongoDatabase) -> Iterator[Filters]:
    """The collection of filters, and their runs as who may only read."""
    reader = connect(mongo_settings, "reader")
    yield Filters(mongo, reader)
    reader.client.close()


@pytest.fixture
def put(filters: Filters) -> Put:
    """Store a filter under a number, active, with all permissions."""

    def store(filter_id: int, pipeline: Any, fid: str = "abc123", **fields: Any) -> None:
        text = pipeline if isinstance(pipeline, str) else json_util.dumps(pipeline)
        document = {
            "filter_id": filter_id, "group_id": 1, "catalog": "ZTF_alerts", "permissions": ALL, "active": True,
            "active_fid": fid, "fv": [{"fid": fid, "pipeline": text}], "last_modified": datetime.now(UTC),
        }  # fmt: skip
        filters.put(document | fields)

    return store
