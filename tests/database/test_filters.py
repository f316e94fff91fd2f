"""Filters as stored, and pipelines over documents that are not (tests/filters has what becomes of them)."""

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters, FilterTimeout
from kowalski.errors import DatabaseError
from kowalski.settings import Database


@pytest.fixture
def filters(mongo_settings: Database, mongo: MongoDatabase) -> Iterator[Filters]:
    reader = connect(mongo_settings, "reader")
    yield Filters(mongo, reader)
    reader.client.close()


def raw(*documents: dict[str, Any]) -> list[RawBSONDocument]:
    return [RawBSONDocument(bson.encode(document)) for document in documents]


def test_a_filter_is_stored_once(filters: Filters, mongo: MongoDatabase) -> None:
    for fid in ("a", "b"):
        filters.put({"filter_id": 1, "catalog": "ZTF_alerts", "active": True, "active_fid": fid})
    assert [document["active_fid"] for document in mongo["filters"].find()] == ["b"]


def test_active_filters_of_a_catalogue_by_what_tells_their_states_apart(filters: Filters) -> None:
    common = {
        "catalog": "ZTF_alerts",
        "active": True,
        "active_fid": "a",
        "fv": [{"fid": "a", "pipeline": "long"}],
        "permissions": [1],
        "update_annotations": True,
    }
    for filter_id in (3, 1, 2):
        filters.put(common | {"filter_id": filter_id, "last_modified": 5})
    filters.put(common | {"filter_id": 4, "active": False})
    filters.put(common | {"filter_id": 5, "catalog": "PGIR_alerts"})
    active = filters.active("ZTF_alerts")
    assert [document["filter_id"] for document in filters.read([each["_id"] for each in active])] == [3, 1, 2]
    assert [each["filter_id"] for each in active] == [1, 2, 3]
    assert len({each["version"] for each in active}) == 1
    assert all("fv" not in each for each in active), "it may be long"
    filters.put(common | {"filter_id": 2, "last_modified": 5, "fv": [{"fid": "a", "pipeline": "other"}]})
    assert [len({one["version"], two["version"]}) for one, two in zip(active, filters.active("ZTF_alerts"), strict=True)] == [1, 2, 1]  # fmt: skip
    assert filters.read([]) == []


def test_a_pipeline_runs_on_documents_sent_along(filters: Filters, mongo: MongoDatabase) -> None:
    documents = raw({"_id": 1, "n": 2**60, "name": "$n"}, {"_id": 2, "n": 5})
    found = filters.run([{"$match": {"n": {"$gt": 5}}}], documents, 1000)
    assert found == [{"_id": 1, "n": 2**60, "name": "$n"}], "texts that begin with $ are no field paths"
    assert filters.run([{"$match": {}}], [], 1000) == []
    assert "filters" not in mongo.list_collection_names()


def test_a_pipeline_that_takes_too_long(filters: Filters) -> None:
    slow = [{"$set": {"r": {"$range": [0, {"$add": [1_000_000, "$n"]}]}}}, {"$unwind": "$r"}, {"$match": {"r": -1}}]
    with pytest.raises(FilterTimeout, match="longer than 5 ms") as caught:
        filters.run(slow, raw(*({"n": n} for n in range(10))), 5)
    assert not caught.value.retriable


@pytest.mark.parametrize(
    "stage",
    [{"$bogus": 1}, {"$set": {"x": {"$divide": ["$n", 0]}}}, {"$match": {"n": 2**70}}, {"$out": "c"}, {"$merge": "c"}],
)
def test_a_pipeline_that_fails(filters: Filters, mongo: MongoDatabase, stage: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="run a filter") as caught:
        filters.run([stage], raw({"n": 1}), 1000)
    assert not caught.value.retriable
    assert mongo.list_collection_names() == []


def test_documents_that_are_too_large_to_send(filters: Filters) -> None:
    with pytest.raises(DatabaseError) as caught:
        filters.run([{"$match": {}}], raw({"n": "x" * 17_000_000}), 1000)
    assert not caught.value.retriable


def test_indexes(filters: Filters, mongo: MongoDatabase) -> None:
    filters.ensure_indexes()
    assert "catalog_active" in mongo["filters"].index_information()
