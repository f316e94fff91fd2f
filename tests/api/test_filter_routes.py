"""Filters over the API: versions, what goes with them, who may change them, and trials on real alerts."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_harness import ADMIN, PASSWORD
from bson import json_util
from filters_harness import MATCH, POST, Room, alerts, room, running
from penquins import Kowalski

from kowalski.alerts.document import Alert
from kowalski.alerts.survey import get_survey

ZTF = get_survey("ZTF")
__all__ = ["alerts", "room", "running"]


def test_versions(room: Room, alerts: list[Alert]) -> None:
    first = room.good("POST", "/api/filters", POST)
    assert (
        first["message"]
        == f"pipeline test for filter id 1 successful\nsaved new filter version: {first['data']['fid']}"
    )
    assert first["data"].keys() == {"fid", "pipeline", "created_at", "filter_id", "active_fid"}
    assert json_util.loads(first["data"]["pipeline"]) == POST["pipeline"]
    stored = room.good("GET", "/api/filters/1")
    assert stored["message"] == "Retrieved filter id 1"
    assert {"_id", "created_at", "last_modified"} <= stored["data"].keys()
    assert {key: stored["data"][key] for key in ("active", "autosave", "auto_followup", "update_annotations", "permissions")} == {
        "active": True, "autosave": False, "auto_followup": {}, "update_annotations": False, "permissions": [1, 2],
    }  # fmt: skip
    again = room.good("POST", "/api/filters", POST)
    assert again["data"]["fid"] == first["data"]["fid"], "the same pipeline makes no new version"
    second = room.good("POST", "/api/filters", POST | {"pipeline": json_util.dumps([MATCH])})["data"]
    document = room.good("GET", "/api/filters/1")["data"]
    assert [version["fid"] for version in document["fv"]] == [first["data"]["fid"], second["fid"]]
    assert document["active_fid"] == second["fid"] == second["active_fid"]
    back = room.good("PATCH", "/api/filters", {"filter_id": 1, "active_fid": first["data"]["fid"], "active": False})
    assert back["message"] == "Updated filter id 1"
    assert (back["data"]["active_fid"], back["data"]["active"]) == (first["data"]["fid"], False)
    assert back["data"]["last_modified"] > document["last_modified"]
    assert room.good("DELETE", "/api/filters/1")["message"] == "Removed filter id 1"
    assert room.refused("DELETE", "/api/filters/1") == "Filter id 1 not found"
    assert room.refused("GET", "/api/filters/1") == "Filter id 1 not found"


def test_as_penquins_does(room: Room, alerts: list[Alert]) -> None:
    client = Kowalski(username=ADMIN, password=PASSWORD, protocol="http", host="127.0.0.1", port=room.api.port)
    made = client.api("post", "api/filters", POST)
    assert made["status"] == "success"
    assert client.api("get", "api/filters/1")["data"]["active_fid"] == made["data"]["fid"]
    changed = client.api("patch", "api/filters", {"filter_id": 1, "active": False, "active_fid": made["data"]["fid"]})
    assert changed["data"]["active"] is False
    assert client.api("delete", "api/filters/1")["message"] == "Removed filter id 1"


def test_many_versions_at_once(room: Room) -> None:
    pipelines = [[{"$match": {"candidate.drb": {"$gt": number / 100}}}] for number in range(20)]
    with ThreadPoolExecutor(10) as pool:
        made = list(
            pool.map(
                lambda each: room.good("POST", "/api/filters", POST | {"pipeline": each})["data"]["fid"], pipelines
            )
        )
    document = room.good("GET", "/api/filters/1")["data"]
    assert {version["fid"] for version in document["fv"]} == set(made)
    assert len(made) == len(set(made)) == 20
    assert document["active_fid"] == document["fv"][-1]["fid"]
    assert room.database["filters"].count_documents({}) == 1


def test_the_same_version_many_times_at_once(room: Room) -> None:
    room.good("POST", "/api/filters", POST)
    body = POST | {"pipeline": [MATCH], "update_annotations": True}
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda _: room.good("POST", "/api/filters", body)["data"]["fid"], range(20)))
    document = room.good("GET", "/api/filters/1")["data"]
    assert [version["fid"] for version in document["fv"]][1:] == list(set(made)) == [document["active_fid"]]
    assert document["update_annotations"] is True


def test_without_alerts(room: Room) -> None:
    said = room.good("POST", "/api/filters", POST)["message"]
    assert said.startswith("pipeline test for filter id 1: not run, no alerts in ZTF_alerts")
    refusal = room.refused("PATCH", "/api/filters", {"filter_id": 1, "autosave": {"active": True, "pipeline": [MATCH]}})
    assert refusal.startswith("Cannot update filter id 1: autosave pipeline is invalid: no alerts")


AUTOSAVE = {"active": True, "comment": "c", "pipeline": [MATCH], "ignore_group_ids": [], "saver_id": 1}
FOLLOWUP = {"active": True, "pipeline": [MATCH], "allocation_id": 7, "priority_order": "asc", "payload": {"a.b": 1}}


def test_autosave_and_followup(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", POST | {"autosave": AUTOSAVE, "auto_followup": FOLLOWUP})
    stored = room.good("GET", "/api/filters/1")["data"]
    assert json_util.loads(stored["autosave"]["pipeline"]) == [MATCH]
    assert json_util.loads(stored["auto_followup"]["pipeline"]) == [MATCH]
    room.good("POST", "/api/filters", POST | {"pipeline": [MATCH]})
    assert room.good("GET", "/api/filters/1")["data"]["autosave"] == stored["autosave"], "what is not named stays"
    changed = room.good(
        "PATCH",
        "/api/filters",
        {"filter_id": 1, "autosave": None, "auto_followup": FOLLOWUP | {"priority_order": "desc"}},
    )
    assert changed["data"]["autosave"] == stored["autosave"]
    assert changed["data"]["auto_followup"]["priority_order"] == "desc"
    refusal = room.refused("POST", "/api/filters", POST | {"filter_id": 2, "autosave": True, "auto_followup": FOLLOWUP})
    assert refusal.startswith("Cannot add new filter with auto_followup: existing filters with the same allocation")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pipeline": []}, "pipeline must contain at least one stage"),
        ({"pipeline": [{"$lookup": {"from": "users", "as": "x"}}]}, "pipeline uses forbidden stages: $lookup"),
        ({"pipeline": [{"$facet": {"a": [{"$out": "x"}]}}]}, "pipeline uses forbidden stages: $out"),
        ({"pipeline": [{"$match": {"$where": "1"}}]}, "pipeline uses forbidden operators: $where"),
        ({"pipeline": [{"$project": {"x": {"$divide": [1, 0]}}}]}, "can't $divide by zero"),
        ({"pipeline": "nonsense"}, "pipeline is not valid extended JSON"),
        ({"catalog": "users"}, "catalog users not in ("),
        ({"filter_id": 0}, "filter_id"),
        ({"autosave": {"priority": 1}}, "Cannot test autosave pipeline: invalid keys"),
        ({"autosave": {"pipeline": [{"$merge": "x"}]}}, "Cannot test autosave pipeline: pipeline uses forbidden stages: $merge"),
        ({"autosave": True, "auto_followup": FOLLOWUP | {"priority": 1}}, "Cannot test auto_followup pipeline: invalid keys"),
        ({"autosave": True, "auto_followup": {"allocation_id": 1}}, "Cannot test auto_followup pipeline: no pipeline specified"),
        ({"autosave": True, "auto_followup": {"pipeline": [MATCH], "priority_order": "up"}}, "Invalid priority_order specified for auto_followup: up"),
        ({"auto_followup": FOLLOWUP}, "Cannot setup auto_followup without autosave enabled"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(room: Room, alerts: list[Alert], change: dict[str, Any], message: str) -> None:
    assert message in room.refused("POST", "/api/filters", POST | change)
    assert room.database["filters"].count_documents({}) == 0


def test_wrong_changes_are_named(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", POST)
    refused = {
        "Cannot update filter id 1: autosave contains invalid keys": {"autosave": {"x": 1}},
        "ValueError: Cannot set active_fid to abcdef: filter version fid not in filter.fv": {"active_fid": "abcdef"},
        "Cannot setup auto_followup without autosave enabled": {"auto_followup": FOLLOWUP},
    }
    for message, change in refused.items():
        assert room.refused("PATCH", "/api/filters", {"filter_id": 1, **change}) == message
    assert "group 1, not of 2" in room.refused("POST", "/api/filters", POST | {"group_id": 2})
    assert room.refused("PATCH", "/api/filters", {"filter_id": 9}) == "Filter id 9 not found"


def test_filters_belong_to_groups(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", POST, who="member")
    assert room.good("GET", "/api/filters/1", who="public")["data"]["filter_id"] == 1
    assert room.refused("GET", "/api/filters/1", who="other") == "Filter id 1 not found"
    assert room.refused("DELETE", "/api/filters/1", who="other") == "Filter id 1 not found"
    assert (
        room.refused("PATCH", "/api/filters", {"filter_id": 1, "active": False}, who="other") == "Filter id 1 not found"
    )
    assert "you are not in group 1" in room.refused("POST", "/api/filters", POST, who="other")
    beyond = room.refused("POST", "/api/filters", POST | {"permissions": [1, 2, 3]}, who="member")
    assert beyond == "permissions: you may not see ZTF programids 3"
    assert "programids 2" in room.refused("PATCH", "/api/filters", {"filter_id": 1, "active": False}, who="public")
    trial = {"object_ids": [alert.object_id for alert in alerts]}
    for who, programmes in (("member", {1, 2}), ("public", {1})):
        found = room.good("POST", "/api/filters/1/test", trial, who=who)["data"]
        visible = [a for a in alerts if a.candidate["programid"] in programmes and (a.candidate.get("drb") or 0) > 0.5]
        assert len(found) == len(visible)


def test_trials_show_what_was_known(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", POST | {"permissions": [1, 2, 3], "pipeline": [MATCH, {"$project": {"candid": 1, "annotations": {"points": {"$size": "$prv_candidates"}}, "later": {"$max": "$prv_candidates.jd"}}}]})  # fmt: skip
    passing = {a.candid: a for a in alerts if (a.candidate.get("drb") or 0) > 0.5}
    answer = room.good("POST", "/api/filters/1/test", {"object_ids": [a.object_id for a in alerts]})
    assert answer["message"] == "filter test successful"
    assert {row["candid"] for row in answer["data"]} == set(passing)
    assert all((row["later"] or 0) < passing[row["candid"]].jd for row in answer["data"])
    assert all("_candid" not in row for row in answer["data"])
    jds = sorted(alert.jd for alert in passing.values())
    within = room.good("POST", "/api/filters/1/test", {"start_date": jds[0], "end_date": jds[0] + 1})["data"]
    assert len(within) == sum(jds[0] <= jd <= jds[0] + 1 for jd in jds)
    room.good("POST", "/api/filters", POST | {"pipeline": [{"$group": {"_id": None, "n": {"$sum": 1}}}]})
    one_by_one = room.good("POST", "/api/filters/1/test", {"object_ids": [a.object_id for a in alerts[:3]]})["data"]
    assert {row["n"] for row in one_by_one} == {1}


def test_trials_show_whole_documents(room: Room, alerts: list[Alert]) -> None:
    """Though the pipeline looks at little of them, and the runner's own field at no stage."""
    passing = {a.candid: a for a in alerts if (a.candidate.get("drb") or 0) > 0.5}
    room.good("POST", "/api/filters", POST | {"permissions": [1, 2, 3], "pipeline": [MATCH]})
    for row in room.good("POST", "/api/filters/1/test", {"object_ids": [a.object_id for a in alerts]})["data"]:
        assert {"_id", "objectId", "candid", "candidate", "coordinates", "cross_matches", "prv_candidates", "fp_hists"} <= row.keys()  # fmt: skip
        assert row["candidate"] == passing[row["candid"]].candidate
        assert row.keys().isdisjoint({"kafka", "cutoutScience", "_candid"})
    unwound = [MATCH, {"$unwind": "$prv_candidates"}, {"$project": {"fields": {"$objectToArray": "$$ROOT"}}}]
    room.good("POST", "/api/filters", POST | {"permissions": [1, 2, 3], "pipeline": unwound})
    rows = room.good("POST", "/api/filters/1/test", {"object_ids": [a.object_id for a in alerts]})["data"]
    assert len(rows) > len(passing)
    assert all("_candid" not in {field["k"] for field in row["fields"]} for row in rows)


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        ({}, "At least one of object_ids, start_date, or end_date is required"),
        ({"object_ids": "ZTF"}, "object_ids must be a list if provided"),
        ({"object_ids": ["a"] * 1001}, "object_ids list must have 1000 or fewer elements"),
        ({"start_date": 1.0}, "start_date and end_date must both be provided if either is provided"),
        ({"start_date": 1.0, "end_date": 3.0}, "start_date and end_date must be within 1 day of each other if object_ids is not provided"),
        ({"start_date": "2024-01-01", "end_date": "2024-01-03"}, "start_date and end_date must be within 1 day of each other if object_ids is not provided"),
        ({"start_date": "soon", "end_date": "later"}, "'soon' is not a date"),
        ({"object_ids": ["a"], "max_time_ms": 300_001}, "max_time_ms must be less than 5 minutes (in ms: 300000)"),
        ({"object_ids": ["a"], "filter_version": "zzzzzz"}, "Filter version zzzzzz not found"),
    ],
)  # fmt: skip
def test_wrong_trials_are_named(room: Room, trial: dict[str, Any], message: str) -> None:
    room.good("POST", "/api/filters", POST)
    assert message in room.refused("POST", "/api/filters/1/test", trial)
    assert room.refused("POST", "/api/filters/2/test", {"object_ids": ["a"]}) == "Filter id 2 not found"


def test_a_pipeline_that_fails_on_an_old_alert(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", POST)
    bad = json_util.dumps(
        [{"$project": {"x": {"$divide": [1, {"$subtract": ["$candidate.magpsf", alerts[0].candidate["magpsf"]]}]}}}]
    )
    room.database["filters"].update_one({"filter_id": 1}, {"$set": {"fv.0.pipeline": bad}})
    said = room.refused("POST", "/api/filters/1/test", {"object_ids": [alerts[0].object_id]})
    assert said.startswith("failure: ")
    assert "divide by zero" in said


def test_what_a_filter_may_see_of_other_surveys_is_what_its_owner_may(room: Room, alerts: list[Alert]) -> None:
    """Rights are asked for when it is posted, and again of who has it explained."""
    body = POST | {"pipeline": [{"$match": {"surveys.PGIR": {"$exists": False}}}], "surveys": {"PGIR": True}}
    assert room.refused("POST", "/api/filters", body, "member") == "surveys: you may not see all of this of PGIR"
    assert "there is no survey HST" in room.refused("POST", "/api/filters", body | {"surveys": {"HST": True}})
    room.good("POST", "/api/filters", body)
    assert room.good("GET", "/api/filters/1")["data"]["surveys"] == {"PGIR": True}
    candid = next(each.candid for each in alerts if each.candidate["programid"] == 1)
    (told,) = room.good("POST", "/api/filters/1/explain", {"candid": candid}, "member")["data"]
    assert told["hidden"] == "the filter sees more of other surveys than you may see"
    (told,) = room.good("POST", "/api/filters/1/explain", {"candid": candid})["data"]
    assert (told["passed"], "hidden" in told) == (True, False)
    assert room.refused("PATCH", "/api/filters", {"filter_id": 1, "active": False}, "member").startswith("surveys: ")


def test_a_new_version_keeps_what_the_filter_may_see(room: Room, alerts: list[Alert]) -> None:
    """And so nobody writes one that sees more than he may himself, by leaving the permissions out."""
    room.good("POST", "/api/filters", POST | {"permissions": [1, 2, 3]})
    body = {name: value for name, value in POST.items() if name != "permissions"} | {"pipeline": [MATCH]}
    assert room.refused("POST", "/api/filters", body, "member") == "permissions: you may not see ZTF programids 3"
    room.good("POST", "/api/filters", body)
    assert room.good("GET", "/api/filters/1")["data"]["permissions"] == [1, 2, 3]
