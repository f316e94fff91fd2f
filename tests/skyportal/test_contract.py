"""The receiver refuses what SkyPortal refuses, answers as it does, and forgets nothing."""

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from receiver_calls import CANDIDATE, Call, calls, data

from kowalski.skyportal.receiver import Answer, ReceiverState

ISO = "%Y-%m-%dT%H:%M:%S"
ANNOTATION = {"obj_id": "ZTF1", "origin": "group:filter", "data": {"a": 1}, "group_ids": [1]}
POINTS: dict[str, Any] = {
    "obj_id": "ZTF1",
    "instrument_id": 1,
    "stream_ids": [1],
    "mjd": [60000.0, 60001.0],
    "flux": [100.0, None],
    "fluxerr": [10.0, 5.0],
    "zp": 23.9,
    "magsys": "ab",
    "filter": ["ztfg", "ztfr"],
    "ra": [10.0, None],
    "dec": [20.0, None],
    "origin": [None, None],
}


def image(side: int = 168, kind: str = "PNG") -> str:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


THUMBNAIL = {"obj_id": "ZTF1", "data": image(), "ttype": "new"}


@pytest.mark.parametrize("token", ["", "Bearer x", "Token x", "tokenx", "token "])
def test_who_does_not_say_token_is_not_let_in(call: Call, state: ReceiverState, token: str) -> None:
    answer = call("GET", "streams", token=token)
    assert answer.status == 401
    assert answer.envelope is not None
    assert set(answer.envelope) == {"status", "message", "data", "version"}
    assert len(state.violations) == 1


def test_one_token_may_be_the_only_one() -> None:
    call = calls(ReceiverState({}, token="right"))
    assert call("GET", "streams", token="token wrong").status == 401
    assert call("GET", "streams", token="token  right").status == 200


def test_unknown_paths_and_methods(call: Call) -> None:
    assert call("GET", "nonsense").status == 400
    assert call("PUT", "candidates", CANDIDATE).status == 405


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'"text"', b"{"])
@pytest.mark.parametrize("path", ["candidates", "thumbnail", "sources/ZTF1/annotations"])
def test_a_body_that_is_no_object_is_an_error_of_the_server(filled: Call, path: str, body: bytes) -> None:
    assert filled("POST", path, body).status == 500


@pytest.mark.parametrize("bad", [{"obj_id": ["ZTF1"]}, {"filter": [["ztfg"], "ztfr"]}])
def test_what_skyportal_trips_over_is_an_error_of_the_server_and_remembered(
    filled: Call, state: ReceiverState, bad: dict[str, Any]
) -> None:
    assert filled("PUT", "photometry", {**POINTS, **bad}).status == 500
    assert len(state.violations) == 1


def test_a_candidate_is_taken_once(call: Call, state: ReceiverState) -> None:
    assert call("HEAD", "candidates/ZTF1") == Answer(404, None)
    assert len(data(call("POST", "candidates", CANDIDATE))["ids"]) == 2
    assert call("HEAD", "candidates/ZTF1") == Answer(200, None)
    assert call("HEAD", "sources/ZTF1").status == 404
    assert call("POST", "candidates", CANDIDATE).status == 400
    assert call("POST", "candidates", {**CANDIDATE, "filter_ids": [2, 3]}).status == 400
    assert (len(state.conflicts), state.violations) == (2, [])
    alerts = data(call("GET", "candidates/ZTF1", includeAlerts="true"))["passing_alerts"]
    assert alerts[0] == {
        "filter_id": 1,
        "passing_alert_id": 2475433850015010009,
        "passed_at": "2024-01-02T03:04:05.678000",
    }
    assert len(alerts) == 2
    assert call("GET", "candidates/ZTF2").status == 400


def test_filters_that_are_unknown_are_ignored(call: Call) -> None:
    assert len(data(call("POST", "candidates", {**CANDIDATE, "filter_ids": [1, 99, 1]}))["ids"]) == 1
    assert call("POST", "candidates", {**CANDIDATE, "id": "ZTF2", "filter_ids": [99]}).status == 400
    assert call("HEAD", "candidates/ZTF2").status == 404


@pytest.mark.parametrize(
    "bad",
    [
        {"id": None},
        {"id": 5},
        {"ra": None},
        {"ra": "10"},
        {"ra": 400.0},
        {"dec": -95.0},
        {"dec": float("nan")},
        {"filter_ids": []},
        {"filter_ids": ["1"]},
        {"filter_ids": 1},
        {"passed_at": None},
        {"passed_at": "yesterday"},
        {"passing_alert_id": "text"},
        {"score": float("nan")},
        {"score": "high"},
        {"unknown": 1},
    ],
)
def test_candidates_that_are_refused(call: Call, state: ReceiverState, bad: dict[str, Any]) -> None:
    assert call("POST", "candidates", {**CANDIDATE, **bad}).status in (400, 500)
    assert len(state.violations) == 1
    assert state.marshal.objects == {}


def test_candidates_are_listed_by_page(call: Call) -> None:
    for number in range(5):
        call("POST", "candidates", {**CANDIDATE, "id": f"ZTF{number}"})
    window = {"startDate": "2024-01-02T00:00:00", "endDate": "2024-01-03", "numPerPage": "2"}
    pages = [data(call("GET", "candidates", **window, pageNumber=str(page))) for page in (1, 2, 3)]
    assert [len(page["candidates"]) for page in pages] == [2, 2, 1]
    assert pages[0]["totalMatches"] == 5
    assert call("GET", "candidates", **window, pageNumber="4").status == 400
    assert data(call("GET", "candidates", startDate="2025-01-01", endDate="2026-01-01"))["candidates"] == []


def test_sources_are_listed_by_the_time_they_were_saved(filled: Call) -> None:
    filled("POST", "candidates", {**CANDIDATE, "id": "ZTF2"})
    assert filled("POST", "sources", {"id": "ZTF1", "group_ids": [1]}).status == 200
    now = datetime.now(UTC)
    window = {"savedAfter": f"{now - timedelta(hours=1):{ISO}}", "savedBefore": f"{now + timedelta(hours=1):{ISO}}"}
    found = data(filled("GET", "sources", **window))
    assert ([one["id"] for one in found["sources"]], found["totalMatches"]) == (["ZTF1"], 1)
    assert filled("GET", "sources", **window, pageNumber="2").status == 400
    assert data(filled("GET", "sources", savedAfter="2020-01-01", savedBefore="2021-01-01"))["sources"] == []


def test_photometry_is_kept_once(filled: Call, state: ReceiverState) -> None:
    first = data(filled("PUT", "photometry", POINTS))["ids"]
    assert data(filled("PUT", "photometry", POINTS))["ids"] == first
    assert state.summary()["points"] == 2
    assert state.violations == []


def test_forced_photometry_is_overwritten(filled: Call, state: ReceiverState) -> None:
    flags = {"duplicate_ignore_flux": "true", "overwrite_flux": "true"}
    forced = {**POINTS, "origin": ["alert_fp", "alert_fp"]}
    filled("PUT", "photometry", forced, **flags)
    filled("PUT", "photometry", {**forced, "flux": [200.0, 300.0]}, **flags)
    described = state.marshal.describe("ZTF1")
    assert described is not None
    assert [row["flux"] for row in described["photometry"]] == [200.0, 300.0]
    assert filled("PUT", "photometry", {**forced, "mjd": [1.0, 1.0]}, **flags).status == 400


@pytest.mark.parametrize(
    "bad",
    [
        {"obj_id": "ZTF9"},
        {"instrument_id": 99},
        {"stream_ids": [99]},
        {"stream_ids": ["one"]},
        {"mjd": [60000.0]},
        {"mjd": [], "flux": [], "fluxerr": [], "filter": [], "ra": [], "dec": [], "origin": []},
        {"mjd": [60000.0, None]},
        {"fluxerr": [10.0, 0.0]},
        {"fluxerr": [10.0, None]},
        {"fluxerr": [10.0, -1.0]},
        {"fluxerr": [10.0, float("nan")]},
        {"flux": [float("inf"), 1.0]},
        {"zp": None},
        {"filter": ["ztfg", "1"]},
        {"filter": ["ztfg", "ps1::y"]},
        {"magsys": "AB"},
        {"origin": []},
        {"mag": [18.0, 18.0]},
        {"mjd": [60000.0, 60000.0], "flux": [None, None], "fluxerr": [5.0, 5.0]},
    ],
)
def test_photometry_that_is_refused_leaves_nothing(filled: Call, state: ReceiverState, bad: dict[str, Any]) -> None:
    assert filled("PUT", "photometry", {**POINTS, **bad}).status == 400
    assert state.summary()["points"] == 0
    assert len(state.violations) == 1


@pytest.mark.parametrize("name", ["mjd", "filter", "magsys", "zp", "fluxerr"])
def test_photometry_needs_its_columns(filled: Call, name: str) -> None:
    assert filled("PUT", "photometry", {key: value for key, value in POINTS.items() if key != name}).status == 400


def test_too_many_points(filled: Call) -> None:
    one_of_each = {name: POINTS[name][0] for name in ("flux", "fluxerr", "filter", "ra", "dec", "origin")}
    mjds = [float(mjd) for mjd in range(10_001)]
    assert filled("PUT", "photometry", {**POINTS, **one_of_each, "mjd": mjds}).status == 400
    assert filled("PUT", "photometry", {**POINTS, **one_of_each, "mjd": mjds[1:]}).status == 200


def test_thumbnails(filled: Call, state: ReceiverState) -> None:
    assert filled("POST", "thumbnail", THUMBNAIL).status == 200
    assert data(filled("GET", "candidates/ZTF1"))["thumbnails"] == [{"type": "new"}]
    for bad in (
        {"obj_id": "ZTF9"},
        {"ttype": "science"},
        {"data": "no base64!"},
        {"data": base64.b64encode(b"no image").decode()},
        {"data": image(kind="JPEG")},
        {"data": image(15)},
        {"data": image(501)},
        {"survey": "ZTF"},
        {"data": None},
    ):
        assert filled("POST", "thumbnail", {**THUMBNAIL, **bad}).status == 400, bad
    assert state.summary()["thumbnails"] == 1


def test_annotations(filled: Call, state: ReceiverState) -> None:
    path = "sources/ZTF1/annotations"
    number = data(filled("POST", path, ANNOTATION))["annotation_id"]
    assert filled("POST", path, {**ANNOTATION, "data": {}}).status == 400
    assert len(state.conflicts) == 1
    (stored,) = data(filled("GET", path))
    assert (stored["id"], stored["origin"], stored["data"]) == (number, "group:filter", {"a": 1})
    assert filled("PUT", f"{path}/{number}", {**ANNOTATION, "data": {"b": 2}, "author_id": 1}).status == 200
    assert data(filled("GET", path))[0]["data"] == {"b": 2}
    assert filled("PUT", f"{path}/999", ANNOTATION).status == 403
    assert data(filled("GET", "sources/ZTF9/annotations")) == []
    assert filled("POST", "sources/ZTF9/annotations", ANNOTATION).status == 404


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"origin": None}, 400),
        ({"origin": ":filter"}, 400),
        ({"data": None}, 400),
        ({"data": [1]}, 400),
        ({"data": {"a": [float("nan")]}}, 500),
        ({"group_ids": [99]}, 400),
        ({"unknown": 1}, 400),
    ],
)
def test_annotations_that_are_refused(filled: Call, bad: dict[str, Any], status: int) -> None:
    assert filled("POST", "sources/ZTF1/annotations", {**ANNOTATION, **bad}).status == status


def test_what_skyportal_is_made_of(call: Call) -> None:
    assert data(call("GET", "instrument", name="ZTF"))[0]["id"] == 1
    assert data(call("GET", "instrument", name="WNTR")) == []
    assert {one["name"] for one in data(call("GET", "streams"))} >= {"ZTF Public", "ZTF Public+Partnership"}
    group = data(call("GET", "groups/1", includeGroupUsers="False"))
    assert [one["id"] for one in group["filters"]] == [1, 2, 3]
    assert call("GET", "groups/9").status == 400


def test_nothing_is_forgotten_at_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "received.jsonl"
    before = ReceiverState({1: [1, 2]}, store=store)
    call = calls(before)
    call("POST", "candidates", CANDIDATE)
    call("POST", "sources/ZTF1/annotations", ANNOTATION)
    call("PUT", "photometry", POINTS)
    call("POST", "thumbnail", THUMBNAIL)
    call("POST", "thumbnail", {**THUMBNAIL, "ttype": "wrong"})
    call("POST", "candidates", CANDIDATE)
    with store.open("a") as torn:
        torn.write('{"method": "POST", "pa')
    after = ReceiverState({1: [1, 2]}, store=store)
    assert after.marshal.describe("ZTF1") == before.marshal.describe("ZTF1")
    assert after.messages == before.messages
    assert (after.violations, after.conflicts) == (before.violations, before.conflicts)
    assert calls(after)("POST", "candidates", CANDIDATE).status == 400
    assert len([json.loads(line) for line in store.read_text().splitlines()]) == 7
