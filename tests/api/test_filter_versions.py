"""New versions of filters: what makes one, many at once, and how long a client waits."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from api_harness import Api, start_api
from bson import json_util
from filters_harness import MATCH, POST, Room, alerts, room, running

from kowalski.alerts.document import Alert

__all__ = ["alerts", "room", "running"]

#: one expression that keeps MongoDB busy for longer than any answer may take; it does not look at its clock meanwhile
ENDLESS = [
    {"$match": {"$expr": {"$gt": [{"$reduce": {
        "input": {"$range": [0, {"$add": [20_000, "$candidate.fid"]}]}, "initialValue": 0,
        "in": {"$add": ["$$value", {"$size": {"$filter": {"input": {"$range": [0, {"$add": [10_000, "$candidate.fid"]}]}, "as": "n", "cond": {"$gt": ["$$n", "$candidate.fid"]}}}}]},
    }}, 5]}}},
]  # fmt: skip


def at_once(room: Room, bodies: list[dict[str, Any]]) -> list[str]:
    """The versions that are named in the answers to POSTs that are sent together."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: str(room.good("POST", "/api/filters", body)["data"]["fid"]), bodies))


def versions(room: Room) -> list[str]:
    return [version["fid"] for version in room.good("GET", "/api/filters/1")["data"]["fv"]]


def test_the_same_version_posted_many_times_at_once_is_one(room: Room) -> None:
    first = set(at_once(room, [POST] * 20))
    assert list(first) == versions(room), "also where there was no filter yet"
    changed = POST | {"pipeline": [MATCH, {"$project": {"annotations": {"rb": "$candidate.rb"}}}]}
    second = set(at_once(room, [changed] * 20))
    assert len(second) == 1
    assert versions(room) == [*first, *second]


def test_the_text_of_a_version_does_not_matter(room: Room) -> None:
    """Older versions and other programs put other spaces into it, and write numbers in another way."""
    fid = room.good("POST", "/api/filters", POST | {"pipeline": [{"$match": {"candid": 5}}, {"$sort": {"a": 1, "b": 1}}]})["data"]["fid"]  # fmt: skip
    text = '[ {"$match":{"candid":{"$numberLong":"5"}}},\n{"$sort":{"a":1,"b":1}}]'
    room.database["filters"].update_one({}, {"$set": {"fv.0.pipeline": text}})
    same = room.good("POST", "/api/filters", POST | {"pipeline": [{"$match": {"candid": 5}}, {"$sort": {"a": 1, "b": 1}}]})  # fmt: skip
    assert (same["data"]["fid"], same["data"]["active_fid"]) == (fid, fid)
    assert same["message"].endswith(f"filter version {fid} is the same")
    room.good("POST", "/api/filters", POST | {"pipeline": [{"$match": {"candid": 5}}, {"$sort": {"b": 1, "a": 1}}]})
    assert len(versions(room)) == 2, "the order of keys does"


def test_the_same_pipeline_with_other_extras_changes_these(room: Room) -> None:
    fid = room.good("POST", "/api/filters", POST)["data"]["fid"]
    room.good("POST", "/api/filters", POST | {"update_annotations": True, "permissions": [1]})
    stored = room.good("GET", "/api/filters/1")["data"]
    assert (stored["update_annotations"], stored["permissions"], versions(room)) == (True, [1], [fid])


@pytest.mark.parametrize("as_text", [True, False])
def test_dates_and_ids_in_a_pipeline(room: Room, alerts: list[Alert], as_text: bool) -> None:
    """A list may hold extended JSON as the text of one may."""
    pipeline = [{"$match": {"$expr": {"$lt": [{"$toDate": "$_id"}, {"$date": "2100-01-01T00:00:00Z"}]}, "_id": {"$ne": {"$oid": "0" * 24}}}}]  # fmt: skip
    autosave = {"active": True, "pipeline": json.dumps(pipeline) if as_text else pipeline}
    room.good("POST", "/api/filters", POST | {"pipeline": json.dumps(pipeline) if as_text else pipeline, "autosave": autosave})  # fmt: skip
    stored = room.good("GET", "/api/filters/1")["data"]
    for text in (stored["fv"][0]["pipeline"], stored["autosave"]["pipeline"]):
        (stage,) = json_util.loads(text)
        assert isinstance(stage["$match"]["$expr"]["$lt"][1], datetime)
    told = room.good("POST", "/api/filters/1/replay", {"object_ids": [alerts[0].object_id]})["data"]
    assert told["passed"] == told["alerts"] > 0


def test_what_is_not_named_is_as_it_was(room: Room, alerts: list[Alert]) -> None:
    """Also for the trial, and for the question who may write for those who see more."""
    room.good("POST", "/api/filters", POST | {"permissions": [1, 2, 3]})
    bare = {key: value for key, value in POST.items() if key != "permissions"} | {"pipeline": [MATCH]}
    assert room.refused("POST", "/api/filters", bare, "member") == "permissions: you may not see ZTF programids 3"
    said = room.good("POST", "/api/filters", bare)["message"]
    assert said.startswith("pipeline test for filter id 1 successful"), "and not that there are no alerts for nobody"
    assert room.good("GET", "/api/filters/1")["data"]["permissions"] == [1, 2, 3]


def test_a_filter_that_sees_nothing_is_not_tried(room: Room, alerts: list[Alert]) -> None:
    said = room.good("POST", "/api/filters", POST | {"permissions": []})["message"]
    assert said.startswith("pipeline test for filter id 1: not run, no alerts")


def test_an_existing_filter_stays_with_its_group_and_survey(room: Room) -> None:
    room.good("POST", "/api/filters", POST)
    assert room.refused("POST", "/api/filters", POST | {"group_id": 2}) == "Filter id 1 is of group 1, not of 2"
    assert "catalog PGIR_x not in" in room.refused("POST", "/api/filters", POST | {"catalog": "PGIR_x"})
    assert len(versions(room)) == 1


def test_nothing_that_is_null_changes_anything(room: Room) -> None:
    room.good("POST", "/api/filters", POST | {"autosave": {"active": True, "comment": "c"}})
    before = room.good("GET", "/api/filters/1")["data"]
    nothing = dict.fromkeys(("active", "active_fid", "autosave", "auto_followup", "update_annotations"))
    after = room.good("PATCH", "/api/filters", {"filter_id": 1, **nothing})["data"]
    assert {**after, "last_modified": None} == {**before, "last_modified": None}


def test_a_client_does_not_wait_for_a_pipeline_without_end(room: Room, alerts: list[Alert]) -> None:
    began = time.monotonic()
    refusal = room.refused("POST", "/api/filters", POST | {"permissions": [1, 2, 3], "pipeline": ENDLESS})
    assert "exceeded time limit" in refusal
    assert time.monotonic() - began < 4, "the answer is due in 3 s"


def test_a_guard_that_refuses_has_no_time_either(
    room: Room, alerts: list[Alert], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It lets pass what it can't judge in time; here every alert takes a third of a second."""
    many = {"$set": {"n": {"$range": [0, {"$add": [2_000_000, "$candidate.fid"]}]}}}
    slow = [many, {"$unwind": "$n"}, {"$match": {"$expr": {"$eq": ["$n", 5]}}}]
    strict: Api = start_api(tmp_path_factory.mktemp("hurry"), room.settings, processes=1, filters={"activation_guard": "refuse"})  # fmt: skip
    try:
        strict.wait_ready()
        strict.token = strict.log_in().json()["token"]
        began = time.monotonic()
        Room(strict, room.database, room.settings).good("POST", "/api/filters", POST | {"pipeline": slow})
        assert time.monotonic() - began < 4, "the answer is due in 3 s"
    finally:
        strict.stop()
