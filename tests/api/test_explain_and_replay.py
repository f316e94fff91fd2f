"""Filters explained, replayed and watched, on real alerts."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from api_harness import Api, start_api
from filters_harness import MATCH, POST, ZTF, Room, alerts, room, running

from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.times import jd_of
from kowalski.api.services.replays import night_of
from kowalski.database.client import connect
from kowalski.database.filter_runs import FilterRuns
from kowalski.database.filters import Filters
from kowalski.filters.figures import FilterFigures
from kowalski.filters.results import Figures
from kowalski.filters.run import FilterRunner

__all__ = ["alerts", "room", "running"]

ALL = POST | {"permissions": [1, 2, 3]}


def explained(room: Room, pipeline: list[Any], alert: Alert, who: str = "admin", **fields: Any) -> dict[str, Any]:
    room.good("POST", "/api/filters", ALL | {"pipeline": pipeline} | fields)
    (told,) = room.good("POST", "/api/filters/1/explain", {"candid": alert.candid}, who)["data"]
    assert (told["candid"], told["objectId"]) == (alert.candid, alert.object_id)
    return dict(told)


def longest(alerts: list[Alert]) -> Alert:
    return max(alerts, key=lambda alert: len(alert.histories["prv_candidates"]))


def test_an_alert_that_passes(room: Room, alerts: list[Alert]) -> None:
    alert = longest(alerts)
    told = explained(room, [{"$match": {"candid": alert.candid}}, {"$project": {"annotations": {"mag": "$candidate.magpsf"}}}], alert)  # fmt: skip
    assert (told["passed"], told["reason"]) == (True, "it passes")
    assert [(step["operator"], step["in"], step["out"]) for step in told["stages"]] == [("$match", 1, 1), ("$project", 1, 1)]  # fmt: skip
    assert told["stages"][1]["added"] == ["annotations"]
    assert "candidate" in told["stages"][1]["removed"]
    assert told["documents"][0]["annotations"] == {"mag": pytest.approx(alert.candidate["magpsf"])}


def test_the_condition_that_rejected_and_the_value_it_met(room: Room, alerts: list[Alert]) -> None:
    alert = longest(alerts)
    candidate = alert.candidate
    condition = {
        "candidate.drb": {"$gte": 0.0},
        "candidate.magpsf": {"$lt": 10.0},
        "$and": [{"candidate.fid": candidate["fid"]}, {"candidate.rb": {"$gt": 2}}],
        "$expr": {"$and": [{"$gt": ["$candidate.jd", 0]}, {"$lt": [{"$size": "$prv_candidates"}, "$candidate.fid"]}]},
        "$or": [{"candidate.nid": -1}, {"objectId": "x", "candidate.fid": candidate["fid"]}],
    }
    told = explained(room, [{"$match": {}}, {"$match": condition}, {"$project": {"candid": 1}}], alert)
    assert not told["passed"]
    assert len(told["stages"]) == 2, "what comes after was never reached"
    first, second, third, fourth = told["stages"][1]["rejected_by"]
    assert first == {"clause": {"candidate.magpsf": {"$lt": 10.0}}, "met_by": 0, "found": [candidate["magpsf"]]}
    assert second == {"clause": {"candidate.rb": {"$gt": 2}}, "met_by": 0, "found": [candidate["rb"]]}
    assert third["clause"] == {"$expr": {"$lt": [{"$size": "$prv_candidates"}, "$candidate.fid"]}}
    ((size, fid),) = third["found"]
    assert fid == candidate["fid"] <= size <= len(alert.histories["prv_candidates"])
    assert [(part["clause"], part["met_by"]) for part in fourth["parts"]] == [
        ({"candidate.nid": -1}, 0),
        ({"objectId": "x"}, 0),
        ({"candidate.fid": candidate["fid"]}, 1),
    ]
    assert fourth["parts"][1]["found"] == [alert.object_id]
    assert told["reason"].startswith(f"stage 2 ($match): candidate.magpsf is {candidate['magpsf']!r}, not {{'$lt': 10.0}}; 3 more")  # fmt: skip


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ([{"$unwind": "$prv_candidates"}], "documents come out; an alert passes where there is exactly one"),
        ([{"$unwind": "$nothing"}], "stage 1 ($unwind) lets nothing through"),
        ([{"$unwind": "$prv_candidates"}, {"$match": {"prv_candidates.jd": {"$lt": 0}}}], "stage 2 ($match): prv_candidates.jd is "),
        ([{"$group": {"_id": None, "n": {"$sum": 1}}}, {"$match": {"n": 2}}], "stage 2 ($match): n is 1, not 2"),
        ([{"$match": {"nothing": {"$exists": True}}}], "stage 1 ($match): nothing is missing, not {'$exists': True}"),
    ],
)  # fmt: skip
def test_other_reasons(room: Room, alerts: list[Alert], pipeline: list[Any], reason: str) -> None:
    assert reason in explained(room, pipeline, longest(alerts))["reason"]


def test_a_stage_that_fails(room: Room, alerts: list[Alert]) -> None:
    alert = longest(alerts)
    newest = alerts[-1]
    divides = {"$set": {"x": {"$divide": [1, {"$cond": [{"$eq": ["$candid", newest.candid]}, 1, 0]}]}}}
    room.good("POST", "/api/filters", ALL | {"pipeline": [MATCH]})
    room.database["filters"].update_one({}, {"$set": {"fv.0.pipeline": f"[{{}}, {divides}]".replace("'", '"').replace("{}, ", "", 1)}})  # fmt: skip
    (told,) = room.good("POST", "/api/filters/1/explain", {"candid": alert.candid})["data"]
    assert not told["passed"]
    assert "stage 1 ($set) fails" in told["reason"]
    assert "zero" in told["stages"][0]["error"]


def test_all_alerts_of_an_object_and_another_version(room: Room, alerts: list[Alert]) -> None:
    object_id = Counter(alert.object_id for alert in alerts).most_common(1)[0][0]
    own = sorted((alert.candid for alert in alerts if alert.object_id == object_id), key=lambda candid: -candid)
    old = room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"candid": own[0]}}]})["data"]["fid"]
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"candid": 0}}]})
    told = room.good("POST", "/api/filters/1/explain", {"objectId": object_id, "fid": old})["data"]
    assert sorted((each["candid"] for each in told), reverse=True) == own
    assert [each["passed"] for each in told if each["candid"] == own[0]] == [True]
    assert sum(each["passed"] for each in told) == 1
    assert not any(
        each["passed"] for each in room.good("POST", "/api/filters/1/explain", {"objectId": object_id})["data"]
    )


def test_the_further_pipelines_are_explained_too(room: Room, alerts: list[Alert]) -> None:
    alert = longest(alerts)
    autosave = {"active": True, "pipeline": [{"$match": {"candidate.fid": -1}}]}
    told = explained(room, [{"$match": {}}], alert, autosave=autosave)
    assert told["passed"]
    assert not told["autosave"]["passed"]
    assert told["autosave"]["reason"] == f"stage 1 ($match): candidate.fid is {alert.candidate['fid']}, not -1"


def test_who_is_told_what(room: Room, alerts: list[Alert]) -> None:
    alert = longest(alerts)
    room.database["ZTF_alerts"].update_one({"candid": alert.candid}, {"$set": {"candidate.programid": 2}})
    room.database["ZTF_alerts_aux"].update_one({"_id": alert.object_id}, {"$set": {"prv_candidates.$[].programid": 3}})
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"prv_candidates": {"$size": 1000}}}]})
    asked = {"candid": alert.candid}

    def told(who: str) -> dict[str, Any]:
        return dict(room.good("POST", "/api/filters/1/explain", asked, who)["data"][0])

    assert told("admin")["stages"][0]["rejected_by"][0]["found"] != [[]]
    assert told("member")["stages"][0]["rejected_by"][0]["found"] == [[]]
    assert "programids [3]" in told("member")["hidden"]
    assert "hidden" not in told("admin")
    refusal = f"there is no alert {alert.candid} in ZTF_alerts that you may see"
    assert room.refused("POST", "/api/filters/1/explain", asked, "public") == refusal
    assert room.refused("POST", "/api/filters/1/explain", asked, "other") == "Filter id 1 not found"
    room.good("POST", "/api/filters", ALL | {"permissions": [1], "pipeline": [{"$match": {"candid": 1}}]})
    assert told("admin")["reason"] == "the filter's permissions [1] leave out programid 2"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "either candid or objectId is required"),
        ({"candid": 1, "objectId": "x"}, "either candid or objectId is required"),
        ({"candid": 1, "fid": "xxxxxx"}, "Filter version xxxxxx not found"),
        ({"candid": 1}, "there is no alert 1 in ZTF_alerts that you may see"),
    ],
)
def test_questions_that_make_no_sense(room: Room, body: dict[str, Any], text: str) -> None:
    room.good("POST", "/api/filters", ALL)
    assert room.refused("POST", "/api/filters/1/explain", body) == text


# replay --------------------------------------------------------------------------------------------------------------


def plainly(alerts: list[Alert], room: Room, pipeline: list[Any]) -> set[int]:
    """The alerts that pass, each run by the chain's own runner in the state that its packets had left until then."""
    room.database["filters"].delete_many({})
    fid = room.good("POST", "/api/filters", ALL | {"pipeline": pipeline})["data"]["fid"]
    assert fid
    passed: set[int] = set()
    reader = connect(room.settings, "reader")
    runner = FilterRunner(Filters(room.database, reader), ZTF, 10_000)
    for alert in alerts:
        until = [each for each in alerts if each.object_id == alert.object_id and (each.jd, each.candid) <= (alert.jd, alert.candid)]  # fmt: skip
        known = merged({}, [arrival(each, ZTF) for each in until], ZTF) | {"cross_matches": {}}
        passed |= {each.candid for each in runner.run([alert.document], {alert.object_id: known}).passes}
    reader.client.close()
    return passed


MANY = [{"$match": {"$expr": {"$gt": [{"$size": "$prv_candidates"}, 5]}}}]
FEW = [{"$match": {"prv_candidates.10": {"$exists": True}, "candidate.fid": 1}}, {"$sort": {"candid": 1}}]


def test_a_replay_is_what_the_nights_gave(room: Room, alerts: list[Alert]) -> None:
    expected = {name: plainly(alerts, room, pipeline) for name, pipeline in {"many": MANY, "few": FEW}.items()}
    assert expected["many"] - expected["few"]
    assert expected["few"]
    room.database["filters"].delete_many({})
    many = room.good("POST", "/api/filters", ALL | {"pipeline": MANY})["data"]["fid"]
    few = room.good("POST", "/api/filters", ALL | {"pipeline": FEW})["data"]["fid"]
    span = {"start": min(alert.jd for alert in alerts), "end": max(alert.jd for alert in alerts)}
    told = room.good("POST", "/api/filters/1/replay", {**span, "fid": many, "against": few})["data"]
    assert {each["candid"] for each in told["candidates"]} == expected["many"]
    assert (told["fid"], told["alerts"], told["passed"], told["failed"]) == (
        many,
        len(alerts),
        len(expected["many"]),
        0,
    )
    assert told["pass_rate"] == len(expected["many"]) / len(alerts)
    assert told["complete"] is True
    nights = Counter(night_of(alert.jd) for alert in alerts)
    assert {each["night"]: each["alerts"] for each in told["nights"]} == nights
    assert sum(each["passed"] for each in told["nights"]) == told["passed"]
    assert [each["operator"] for each in told["stages"]] == ["$match"]
    assert told["stages"][0]["ms_per_1000_alerts"] >= 0
    other = told["against"]
    assert (other["fid"], other["passed"]) == (few, len(expected["few"]))
    assert {each["candid"] for each in other["gained"]["candidates"]} == expected["many"] - expected["few"]
    assert {each["candid"] for each in other["lost"]["candidates"]} == expected["few"] - expected["many"]
    assert other["both"] == len(expected["many"] & expected["few"])
    active = room.good("POST", "/api/filters/1/replay", span)["data"]
    assert (active["fid"], active["passed"], len(active["stages"])) == (few, len(expected["few"]), 2)


def test_a_replay_of_objects_within_rights(room: Room, alerts: list[Alert]) -> None:
    alert = longest(alerts)
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})
    asked = {"object_ids": [alert.object_id]}
    own = [each for each in alerts if each.object_id == alert.object_id]
    assert room.good("POST", "/api/filters/1/replay", asked)["data"]["passed"] == len(own)
    room.database["ZTF_alerts"].update_many({}, {"$set": {"candidate.programid": 3}})
    assert room.good("POST", "/api/filters/1/replay", asked, "member")["data"]["alerts"] == 0
    assert room.refused("POST", "/api/filters/1/replay", asked, "other") == "Filter id 1 not found"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "start and end, or object_ids, are required"),
        ({"start": 1.0}, "start and end must both be given if either is"),
        ({"start": 2.0, "end": 1.0}, "start must not be after end"),
        ({"start": "once", "end": 1.0}, "'once' is not a date"),
        ({"start": 1.0, "end": 2.0, "against": "xxxxxx"}, "Filter version xxxxxx not found"),
    ],
)
def test_replays_that_make_no_sense(room: Room, body: dict[str, Any], text: str) -> None:
    room.good("POST", "/api/filters", ALL)
    assert text in room.refused("POST", "/api/filters/1/replay", body)


def test_alerts_that_fail_are_counted(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})
    divides = '[{"$set": {"x": {"$divide": [1, {"$cond": [{"$eq": ["$candidate.fid", 1]}, 0, 1]}]}}}]'
    room.database["filters"].update_one({}, {"$set": {"fv.0.pipeline": divides}})
    span = {"start": min(alert.jd for alert in alerts), "end": max(alert.jd for alert in alerts)}
    told = room.good("POST", "/api/filters/1/replay", span)["data"]
    failing = sum(alert.candidate["fid"] == 1 for alert in alerts)
    assert (told["failed"], told["passed"]) == (failing, len(alerts) - failing)
    assert "zero" in next(iter(told["errors"]))


def test_a_replay_ends_in_time_and_says_so(room: Room, alerts: list[Alert]) -> None:
    """A second for all, a quarter for each: what was judged counts, and nothing is called a failure for it."""
    many = {"$set": {"n": {"$range": [0, {"$add": [1_500_000, "$candidate.fid"]}]}}}
    slow = [many, {"$unwind": "$n"}, {"$match": {"$expr": {"$eq": ["$n", 5]}}}, {"$skip": 1}]
    room.good("POST", "/api/filters", ALL | {"pipeline": slow})
    span = {"start": min(alert.jd for alert in alerts), "end": max(alert.jd for alert in alerts), "max_time_ms": 1000}
    began = time.monotonic()
    told = room.good("POST", "/api/filters/1/replay", span)["data"]
    assert time.monotonic() - began < 5
    assert told["complete"] is False
    assert told["alerts"] < len(alerts)
    assert told["failed"] == 0


def test_a_replay_says_what_it_may_not_show(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})
    asked = {"object_ids": [longest(alerts).object_id]}
    assert room.good("POST", "/api/filters/1/replay", asked, "member")["data"]["hidden"] == "the filter sees programids [3], which you may not see"  # fmt: skip
    assert "hidden" not in room.good("POST", "/api/filters/1/replay", asked)["data"]


# status and guard ----------------------------------------------------------------------------------------------------


def test_the_status_of_a_filter(room: Room, alerts: list[Alert]) -> None:
    fid = room.good("POST", "/api/filters", ALL)["data"]["fid"]
    assert room.good("GET", "/api/filters/1/status")["data"]["nights"] == []
    for worker in ("one", "two.local"):
        figures = FilterFigures(FilterRuns(room.database), "ZTF", worker)
        for ms in (10.0, 12.0, 900.0):
            figures.note(Figures(1, fid, alerts=100, passed=3, failed=1, ms=ms, error="divided by zero"))
        figures.flush()
    told = room.good("GET", "/api/filters/1/status", who="member")["data"]
    (night,) = told["nights"]
    assert (night["night"], night["fid"]) == (f"{datetime.now(UTC):%Y-%m-%d}", fid)
    assert (night["runs"], night["alerts"], night["passed"], night["failed"], night["skipped"]) == (6, 600, 18, 6, 0)
    assert 10 < night["ms"]["p50"] < 15
    assert 900 <= night["ms"]["p99"] < 1100
    assert night["error"]["reason"] == "divided by zero"
    assert told["breaker"] == {"open": False, "until": None, "reason": None}
    assert abs((datetime.now(UTC) - told["last_run"].replace(tzinfo=UTC)).total_seconds()) < 60
    figures.note(Figures(1, fid, alerts=100, failed=100, ms=1200.0, error="took longer than 1000 ms", open_for=60))
    figures.note(Figures(1, fid, alerts=50, skipped=50, error="left alone"))
    figures.flush()
    told = room.good("GET", "/api/filters/1/status")["data"]
    assert (told["breaker"]["open"], told["nights"][0]["skipped"]) == (True, 50)
    assert room.refused("GET", "/api/filters/1/status", who="other") == "Filter id 1 not found"


def test_what_is_wrong_with_a_filter_stands_in_its_status(room: Room) -> None:
    room.good("POST", "/api/filters", ALL)
    room.database["filters"].update_one({}, {"$set": {"autosave": True, "auto_followup": {"active": True}}})
    assert room.good("GET", "/api/filters/1/status")["data"]["problems"] == ["auto_followup: pipeline is missing"]
    room.database["filters"].update_one({}, {"$set": {"active_fid": "gone00"}})
    assert room.good("GET", "/api/filters/1/status")["data"]["problems"] == [
        "filter 1: version gone00 is not among its versions"
    ]


def eventually(room: Room, number: int = 1) -> list[dict[str, Any]]:
    """What the guard has seen, once it has looked so often."""
    end = time.monotonic() + 60
    while len(found := room.good("GET", "/api/filters/1/status")["data"]["activations"]) < number:
        assert time.monotonic() < end
        time.sleep(0.05)
    return list(found)


def test_a_version_of_which_too_much_passes_is_named(room: Room, alerts: list[Alert]) -> None:
    everything = room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})["data"]["fid"]
    (seen,) = eventually(room)
    night = max(night_of(alert.jd) for alert in alerts)
    number = sum(night_of(alert.jd) == night for alert in alerts)
    assert (seen["fid"], seen["night"], seen["alerts"], seen["passed"], seen["share"]) == (everything, night, number, number, 1.0)  # fmt: skip
    assert seen["warning"] == f"{number} of {number} alerts of {night} pass: 100.0%, more than 5.0%"
    nothing = room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"candid": 0}}]})["data"]["fid"]
    latest, _ = eventually(room, 2)
    assert (latest["fid"], latest["passed"], latest["warning"]) == (nothing, 0, None)


def test_the_last_night_that_is_over(room: Room, alerts: list[Alert]) -> None:
    """A night at Palomar lies within one UTC day, and is over hours before that is; one that goes on does not count yet."""
    now = jd_of(datetime.now(UTC))
    candids = [alert.candid for alert in alerts]
    over, going_on = now - 0.2, now - 0.01

    def put(jd: float, some: list[int]) -> None:
        room.database["ZTF_alerts"].update_many({"candid": {"$in": some}}, {"$set": {"candidate.jd": jd}})

    put(over - 1, candids[4:])
    put(over, candids[:4])
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})
    (seen,) = eventually(room)
    assert (seen["night"], seen["alerts"]) == (night_of(over), 4)
    put(going_on, candids[:4])
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"candid": {"$gt": 0}}}]})
    latest, _ = eventually(room, 2)
    assert (latest["night"], latest["alerts"]) == (night_of(over - 1), len(candids) - 4)


def test_what_is_switched_on_again_is_looked_at_again(room: Room, alerts: list[Alert]) -> None:
    room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})
    (first,) = eventually(room)
    room.good("PATCH", "/api/filters", {"filter_id": 1, "active": False})
    room.good("PATCH", "/api/filters", {"filter_id": 1, "active": True})
    end = time.monotonic() + 60
    while (latest := eventually(room)[0])["at"] == first["at"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert latest["warning"] == first["warning"]


def test_a_guard_that_refuses(room: Room, alerts: list[Alert], tmp_path_factory: pytest.TempPathFactory) -> None:
    quiet = room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"candid": 0}}]})["data"]["fid"]
    loud = room.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {}}]})["data"]["fid"]
    room.good("PATCH", "/api/filters", {"filter_id": 1, "active_fid": quiet})
    strict: Api = start_api(
        tmp_path_factory.mktemp("strict"), room.settings, processes=1, filters={"activation_guard": "refuse"}
    )
    try:
        strict.wait_ready()
        strict.token = strict.log_in().json()["token"]
        guarded = Room(strict, room.database, room.settings)
        everything = ALL | {"pipeline": [{"$match": {"candid": {"$gt": 0}}}]}
        for method, body in (("POST", everything), ("PATCH", {"filter_id": 1, "active_fid": loud})):
            assert "pass: 100.0%, more than 5.0% (filters.activation_guard)" in guarded.refused(
                method, "/api/filters", body
            )
        assert guarded.good("GET", "/api/filters/1")["data"]["active_fid"] == quiet
        assert len(guarded.good("GET", "/api/filters/1")["data"]["fv"]) == 2
        guarded.good("POST", "/api/filters", ALL | {"pipeline": [{"$match": {"candid": 0}}]})
    finally:
        strict.stop()
