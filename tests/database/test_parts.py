"""Objects whose history is too long for one document: nothing is lost or doubled, whoever is overtaken or dies on the way."""

import random
import threading
from typing import Any

import pytest
from bson.objectid import ObjectId
from histories import ZTF, expected, random_arrivals
from interrupted import interrupted

from kowalski.alerts import parts
from kowalski.alerts.lightcurve import Arrival, merged
from kowalski.database.client import MongoDatabase
from kowalski.database.objects import APART, Objects
from kowalski.errors import DatabaseError

OLDER = "ZTF_alerts_aux_older"
FIELDS = ZTF.history_fields


@pytest.fixture
def objects(mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """With limits so low that random histories have several parts."""
    for name, value in {"FIT": 3, "LIMIT": 1500, "ROOM": 800}.items():
        monkeypatch.setattr(parts, name, value)
    return Objects(mongo, ZTF)


def put(objects: Objects, name: str, arrivals: list[Arrival]) -> set[str]:
    """Merge packets into a stored object, as the worker does, once."""
    stored = objects.read_in_part([name])
    return objects.put({name: merged(stored.get(name, {}), arrivals, ZTF)}, stored)


def whole(objects: Objects, name: str) -> dict[str, Any]:
    """An object as its packets make it, however it is stored; points of one moment in the order of the merge."""
    found = merged(objects.read([name])[name], [], ZTF)
    assert {APART, "older"}.isdisjoint(found)
    return found


def counted(mongo: MongoDatabase) -> set[str]:
    return {part["_id"] for part in mongo[OLDER].find({"replaced_at": {"$exists": False}})}


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_packets_gives_the_same_object(objects: Objects, mongo: MongoDatabase, seed: int) -> None:
    chance, arrivals, several = random.Random(seed), random_arrivals(seed, packets=12), 0
    for attempt in range(3):
        name, rest = f"ZTF{attempt}", arrivals + chance.choices(arrivals, k=4)
        chance.shuffle(rest)
        while rest:
            assert put(objects, name, rest[:2]) == set()
            rest = rest[2:]
        assert whole(objects, name) == expected(arrivals)
        own = mongo["ZTF_alerts_aux"].find_one(name)
        assert own is not None
        several += len(own["older"]) > 1
        assert {part["_id"] for part in mongo[OLDER].find({"objectId": name, "replaced_at": None})} == set(own["older"])
    assert several


def test_each_document_is_short_and_its_own_has_the_newest(objects: Objects, mongo: MongoDatabase) -> None:
    put(objects, "a", random_arrivals(5, packets=12))
    (own,), older = list(mongo["ZTF_alerts_aux"].find()), list(mongo[OLDER].find())
    jds = {each["_id"]: [point["jd"] for field in FIELDS for point in each.get(field, ())] for each in (own, *older)}
    ordered = [jds[name] for name in (*own["older"], "a")]
    assert len(ordered) > 2
    assert all(max(before) <= min(after) for before, after in zip(ordered, ordered[1:], strict=False))


def test_a_repetition_writes_nothing(objects: Objects, mongo: MongoDatabase) -> None:
    arrivals = random_arrivals(3, packets=12)
    put(objects, "a", arrivals)
    before = [list(mongo[name].find()) for name in ("ZTF_alerts_aux", OLDER)]
    assert before[1]
    for again in (arrivals, arrivals[2:3]):
        assert put(objects, "a", again) == set()
    assert [list(mongo[name].find()) for name in ("ZTF_alerts_aux", OLDER)] == before


def test_workers_that_meet_at_an_object(objects: Objects, mongo: MongoDatabase) -> None:
    arrivals = random_arrivals(8, packets=30)
    overtaken = []

    def work(own: list[Arrival]) -> None:
        for arrival in own:
            while conflicts := put(objects, "a", [arrival]):
                overtaken.append(conflicts)

    threads = [threading.Thread(target=work, args=(arrivals[number::3],)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overtaken
    assert whole(objects, "a") == expected(arrivals)
    put(objects, "a", random_arrivals(9, packets=30))
    assert counted(mongo) == set(objects.read(["a"])["a"]["older"]), "what the overtaken have left goes"


@pytest.mark.parametrize("step", ["_add_parts", "create", "update", "_replace_parts"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_write_that_is_cut_off_loses_nothing(objects: Objects, mongo: MongoDatabase, step: str, after: bool) -> None:
    """Whichever step the writer died at; the packet comes again, and others after it."""
    arrivals = random_arrivals(4, packets=12)
    put(objects, "a", arrivals[:4])
    with interrupted(objects, step, after):
        put(objects, "a", arrivals[4:8])
    assert whole(objects, "a") in (expected(arrivals[:4]), expected(arrivals[:8]))
    put(objects, "a", arrivals[4:8])
    assert whole(objects, "a") == expected(arrivals[:8])
    put(objects, "a", arrivals[8:])
    assert whole(objects, "a") == expected(arrivals)
    assert counted(mongo) == set(objects.read(["a"])["a"]["older"])


def test_who_read_an_object_before_it_changed_still_finds_its_parts(objects: Objects, mongo: MongoDatabase) -> None:
    arrivals = random_arrivals(4, packets=12)
    put(objects, "a", arrivals[:6])
    before = set(objects.read(["a"])["a"]["older"])
    put(objects, "a", arrivals[6:])
    replaced = before - set(objects.read(["a"])["a"]["older"])
    assert replaced
    assert {part["_id"] for part in mongo[OLDER].find({"replaced_at": {"$type": "date"}})} == replaced
    assert mongo[OLDER].index_information()["replaced_at"]["expireAfterSeconds"] == 3600


def test_an_object_that_lacks_a_part_is_not_changed(objects: Objects, mongo: MongoDatabase) -> None:
    """Or what is lost now would be lost for good, the part being brought back or not."""
    arrivals = random_arrivals(4, packets=12)
    put(objects, "a", arrivals)
    own = mongo["ZTF_alerts_aux"].find_one("a")
    assert own is not None
    mongo[OLDER].delete_one({"_id": own["older"][0]})
    with pytest.raises(DatabaseError, match=f"lacks .*{own['older'][0]}.*backup"):
        put(objects, "a", random_arrivals(5))
    assert mongo["ZTF_alerts_aux"].find_one("a") == own
    assert objects.read(["a"])["a"]["fp_hists"], "what there is can be read"


def test_a_rematch_leaves_the_parts_alone(objects: Objects) -> None:
    put(objects, "a", random_arrivals(4, packets=12))
    before = objects.read(["a"])["a"]
    assert objects.update({"a": (before["version"], {"cross_matches": {"x": []}})}) == set()
    after = objects.read(["a"])["a"]
    assert after.pop("version") != before.pop("version")
    assert after == before | {"cross_matches": {"x": []}}
    assert isinstance(ObjectId(after["older"][0].partition(":")[2]), ObjectId)
