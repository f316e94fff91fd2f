"""The receiver refuses what SkyPortal refuses of sources, comments and follow-up requests."""

from typing import Any

import pytest
from receiver_calls import Call, data

from kowalski.skyportal.receiver import ReceiverState

SOURCE = {"id": "ZTF1", "group_ids": [1, 2], "origin": "Kowalski"}
COMMENT = {"text": "bright", "group_ids": [1]}
PAYLOAD = {"priority": 2, "observation_type": "IFU", "start_date": "2024-01-02T03:04:05.000006"}
REQUEST = {
    "obj_id": "ZTF1",
    "allocation_id": 5,
    "payload": PAYLOAD,
    "target_group_ids": [1],
    "source_group_ids": [1],
    "not_if_duplicates": True,
    "not_if_tns_reported": 24,
    "radius": 0.5,
}


@pytest.fixture
def saved(filled: Call) -> Call:
    """A receiver that has the object as a source of one group."""
    assert filled("POST", "sources", {**SOURCE, "group_ids": [1]}).status == 200
    return filled


def test_an_object_is_saved_again_without_harm(filled: Call, state: ReceiverState) -> None:
    assert filled("HEAD", "sources/ZTF1").status == 404
    for _ in range(2):
        found = data(filled("POST", "sources", {**SOURCE, "saver_per_group_id": {"2": 42}}))
        assert found == {"id": "ZTF1", "saved_to_groups": [1, 2]}
    assert state.marshal.objects["ZTF1"].groups == {1: None, 2: 42}
    assert filled("HEAD", "sources/ZTF1").status == 200
    assert [one["id"] for one in data(filled("GET", "sources/ZTF1/groups"))] == [1, 2]
    assert filled("GET", "sources/ZTF9/groups").status == 404


def test_a_group_whose_ignored_group_has_the_object_is_left_out(saved: Call) -> None:
    ignoring = {**SOURCE, "ignore_if_in_group_ids": {"2": [1]}}
    assert data(saved("POST", "sources", ignoring))["saved_to_groups"] == [1]
    assert [one["id"] for one in data(saved("GET", "sources/ZTF1/groups"))] == [1]


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "ZTF9"},
        {"id": "ZTF 1"},
        {"id": None},
        {"group_ids": []},
        {"group_ids": [99]},
        {"group_ids": ["1"]},
        {"ignore_if_in_group_ids": {"3": [1]}},
        {"ignore_if_in_group_ids": {"1": 2}},
        {"ignore_if_in_group_ids": [1]},
        {"saver_per_group_id": {"3": 42}},
        {"saver_per_group_id": {"1": "me"}},
        {"origin": 5},
        {"unknown": 1},
    ],
)
def test_sources_that_are_refused(filled: Call, state: ReceiverState, bad: dict[str, Any]) -> None:
    assert filled("POST", "sources", {**SOURCE, **bad}).status == 400
    assert len(state.violations) == 1
    assert state.marshal.objects["ZTF1"].groups == {}


def test_the_same_comment_is_one(saved: Call, state: ReceiverState) -> None:
    numbers = [data(saved("POST", "sources/ZTF1/comments", COMMENT))["comment_id"] for _ in range(2)]
    assert numbers[0] == numbers[1]
    assert data(saved("POST", "sources/ZTF1/comments", {**COMMENT, "group_ids": [2]}))["comment_id"] != numbers[0]
    for bad in ({"text": ""}, {"text": None}, {"group_ids": [99]}, {"unknown": 1}):
        assert saved("POST", "sources/ZTF1/comments", {**COMMENT, **bad}).status == 400, bad
    assert saved("POST", "sources/ZTF9/comments", COMMENT).status == 400
    assert state.summary()["comments"] == 2


def test_a_request_is_listed_and_changed(saved: Call) -> None:
    answer = data(saved("POST", "followup_request", REQUEST))
    assert answer["request_status"] == "submitted"
    found = data(saved("GET", "followup_request", sourceID="TF1"))  # parts of names count
    assert found["totalMatches"] == 1
    (listed,) = found["followup_requests"]
    assert (listed["id"], listed["obj_id"], listed["allocation_id"]) == (answer["id"], "ZTF1", 5)
    assert (listed["payload"], listed["target_groups"]) == (PAYLOAD, [{"id": 1}])
    change = {"obj_id": "ZTF1", "allocation_id": 5, "payload": {**PAYLOAD, "priority": 4}}
    assert data(saved("PUT", f"followup_request/{answer['id']}", change)) == {}
    assert data(saved("GET", "followup_request", sourceID="ZTF1"))["followup_requests"][0]["payload"]["priority"] == 4
    assert saved("PUT", "followup_request/999", change).status == 400
    assert data(saved("GET", "followup_request", sourceID="ZTF9"))["followup_requests"] == []


@pytest.mark.parametrize("condition", [{"source_group_ids": [1, 2]}, {"ignore_source_group_ids": [1]}])
def test_a_condition_that_fails_is_a_success_that_triggers_nothing(saved: Call, condition: dict[str, Any]) -> None:
    answer = data(saved("POST", "followup_request", {**REQUEST, **condition}))
    assert (answer["id"], answer["ignored"]) == (None, True)
    assert data(saved("GET", "followup_request", sourceID="ZTF1"))["totalMatches"] == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"obj_id": "ZTF9"},
        {"obj_id": None},
        {"allocation_id": "5"},
        {"allocation_id": None},
        {"payload": {}},
        {"payload": None},
        {"payload": {**PAYLOAD, "priority": "high"}},
        {"payload": {**PAYLOAD, "start_date": "soon"}},
        {"payload": {"x": float("nan")}},
        {"target_group_ids": ["1"]},
        {"source_group_ids": 1},
        {"not_if_duplicates": 1},
        {"not_if_tns_reported": True},
        {"not_if_tns_reported": 1.5},
        {"radius": None},
        {"validity_days": 7},
    ],
)
def test_requests_that_are_refused(saved: Call, state: ReceiverState, bad: dict[str, Any]) -> None:
    assert saved("POST", "followup_request", {**REQUEST, **bad}).status == 400
    assert len(state.violations) == 1
    assert state.summary()["followup_requests"] == 0
