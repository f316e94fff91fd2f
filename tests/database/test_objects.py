"""The objects' documents: changed by who read them last, and the same after any order of packets."""

import random
from typing import Any

import pytest
from bson.objectid import ObjectId
from histories import ZTF, expected, random_arrivals

from kowalski.alerts.lightcurve import Arrival, changes, merged
from kowalski.database.client import MongoDatabase
from kowalski.database.objects import Objects


@pytest.fixture
def objects(mongo: MongoDatabase) -> Objects:
    room = Objects(mongo, ZTF)
    room.ensure_indexes()
    return room


def version(objects: Objects, name: str) -> ObjectId:
    found: ObjectId = objects.read([name])[name]["version"]
    return found


def test_what_is_created_is_read(objects: Objects) -> None:
    assert objects.create([{"_id": "a", "x": 1}, {"_id": "b", "x": 2}]) == set()
    read = objects.read(["a", "b", "c"])
    assert {name: document["x"] for name, document in read.items()} == {"a": 1, "b": 2}
    assert objects.read([]) == {}
    assert objects.create([]) == set()


def test_who_comes_second_is_told_and_changes_nothing(objects: Objects) -> None:
    objects.create([{"_id": "a", "x": 1}])
    assert objects.create([{"_id": "a", "x": 2}, {"_id": "b", "x": 2}]) == {"a"}
    assert {name: document["x"] for name, document in objects.read(["a", "b"]).items()} == {"a": 1, "b": 2}


def test_an_update_needs_the_latest_version(objects: Objects) -> None:
    objects.create([{"_id": "a", "x": 1}, {"_id": "b", "x": 1}])
    read = version(objects, "a")
    assert objects.update({"a": (read, {"x": 2})}) == set()
    assert objects.update({"a": (read, {"x": 3}), "b": (version(objects, "b"), {"x": 3})}) == {"a"}
    assert {name: document["x"] for name, document in objects.read(["a", "b"]).items()} == {"a": 2, "b": 3}
    assert objects.update({}) == set()


def test_an_update_of_what_is_not_there_is_refused(objects: Objects) -> None:
    assert objects.update({"a": (ObjectId(), {"x": 2})}) == {"a"}
    assert objects.read(["a"]) == {}


def test_documents_of_the_original_have_no_version(objects: Objects, mongo: MongoDatabase) -> None:
    mongo["ZTF_alerts_aux"].insert_one({"_id": "old", "prv_candidates": []})
    assert objects.update({"old": (None, {"x": 1})}) == set()
    assert objects.update({"old": (None, {"x": 2})}) == {"old"}
    assert objects.read(["old"])["old"]["x"] == 1


def test_single_points_are_changed_and_appended(objects: Objects) -> None:
    points = [{"n": n} for n in range(9)]
    objects.create([{"_id": "a", "f": points}])
    new = [{"n": n} for n in (0, 1, 99, *range(3, 13))]
    update = changes({"f": points}, {"f": new})
    assert set(update) == {"f.2", "f.9", "f.10", "f.11", "f.12"}
    objects.update({"a": (version(objects, "a"), update)})
    assert objects.read(["a"])["a"]["f"] == new


def test_objects_whose_match_failed(objects: Objects, mongo: MongoDatabase) -> None:
    objects.create(
        [{"_id": str(n), "first_alert": {"ra": 1.0}, "matched": {"failed": ["cat"] if n % 2 else []}} for n in range(6)]
    )
    failed = objects.with_failed_matches(10)
    assert [document["_id"] for document in failed] == ["1", "3", "5"]
    assert set(failed[0]) == {"_id", "first_alert", "matched", "version"}
    assert len(objects.with_failed_matches(2)) == 2


def store(objects: Objects, name: str, arrivals: list[Arrival]) -> None:
    """Merge packets into a stored document, as the worker does."""
    stored = objects.read_in_part([name])
    document = merged(stored.get(name, {}), arrivals, ZTF)
    if name not in stored:
        assert objects.create([{"_id": name, **document}]) == set()
    elif update := changes(stored[name], document):
        assert objects.update({name: (stored[name]["version"], update)}) == set()


def stored_part(objects: Objects, name: str) -> dict[str, Any]:
    document = objects.read([name])[name]
    return {key: value for key, value in document.items() if key not in ("_id", "version")}


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_packets_gives_the_same_document(objects: Objects, seed: int) -> None:
    chance = random.Random(seed)
    arrivals = random_arrivals(seed)
    for attempt in range(3):
        name, rest = f"ZTF{attempt}", arrivals + chance.choices(arrivals, k=2)
        chance.shuffle(rest)
        while rest:
            size = chance.randrange(1, 4)
            store(objects, name, rest[:size])
            rest = rest[size:]
        assert stored_part(objects, name) == expected(arrivals)


def test_a_repetition_writes_nothing(objects: Objects) -> None:
    arrivals = random_arrivals(3)
    store(objects, "ZTF", arrivals)
    before = version(objects, "ZTF")
    for again in (arrivals, arrivals[2:3]):
        store(objects, "ZTF", again)
    assert version(objects, "ZTF") == before
