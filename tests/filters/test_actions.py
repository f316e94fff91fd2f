"""Autosave and follow-up: what of the settings counts, and what they ask for."""

from typing import Any

import pytest

from kowalski.errors import FilterError
from kowalski.filters.actions import Autosave, FollowUp, read_autosave, read_follow_up

PIPELINE = [{"$match": {"candidate.drb": {"$gt": 0.5}}}]
WHOLE = {
    "active": True,
    "pipeline": PIPELINE,
    "allocation_id": 5,
    "payload": {"observation_type": "IFU", "priority": 2},
}


def follow_up(**changes: Any) -> FollowUp:
    found = read_follow_up(WHOLE | changes)
    assert found is not None
    return found


@pytest.mark.parametrize("stored", [None, False, {}, {"active": False, "comment": "x"}, {"comment": "x"}, 0, "yes", []])
def test_nothing_is_saved_unless_it_is_switched_on(stored: Any) -> None:
    assert read_autosave(stored) is None


def test_what_autosave_may_say() -> None:
    assert read_autosave(True) == Autosave()
    stored = {"active": True, "comment": "hi", "ignore_group_ids": [3, 4, 3], "saver_id": 7}
    assert read_autosave(stored) == Autosave("hi", (3, 4), 7)
    assert read_autosave(stored | {"saver_id": "7", "comment": 5}) == Autosave(None, (3, 4), None)
    with_pipeline = read_autosave({"active": True, "pipeline": '[{"$match": {"candidate.drb": {"$gt": 0.5}}}]'})
    assert with_pipeline is not None
    assert with_pipeline.pipeline is not None
    assert with_pipeline.pipeline.stages == PIPELINE


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ({"pipeline": "["}, "autosave: pipeline is not valid"),
        ({"pipeline": [{"$lookup": {}}]}, "forbidden stages"),
        ({"ignore_group_ids": "3"}, "ignore_group_ids must be a list"),
    ],
)
def test_autosave_that_is_of_no_use(stored: dict[str, Any], text: str) -> None:
    with pytest.raises(FilterError, match=text):
        read_autosave({"active": True, **stored})


@pytest.mark.parametrize("stored", [None, {}, {**WHOLE, "active": False}, {"pipeline": PIPELINE}])
def test_nothing_is_triggered_unless_it_is_switched_on(stored: Any) -> None:
    assert read_follow_up(stored) is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pipeline": []}, "pipeline is missing"),
        ({"allocation_id": None}, "allocation_id is missing"),
        ({"payload": {}}, "payload is missing"),
        ({"payload": {"priority": "high"}}, "priority must be a number"),
        ({"payload": {"priority": True}}, "priority must be a number"),
        ({"radius": "wide"}, "radius must be a number"),
        ({"validity_days": 0}, "validity_days must be positive"),
        ({"priority_order": "up"}, "neither asc nor desc"),
        ({"target_group_ids": [1.5]}, "target_group_ids must be a list"),
    ],
)
def test_a_follow_up_that_is_not_whole(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(FilterError, match=text):
        read_follow_up(WHOLE | changes)


def test_a_request_as_it_is_kept() -> None:
    asked = follow_up(comment="please", target_group_ids=[9, 4], not_if_tns_reported="72", ignore_allocation_ids=[8])
    assert asked.request("ZTF1", 4, Autosave(ignore_group_ids=(3,)), {}) == {
        "comment": "please (priority: 2)",
        "priority_alias": "priority",
        "priority_order": "asc",
        "implements_update": True,
        "validity_days": 7.0,
        "dated": True,
        "data": {
            "obj_id": "ZTF1",
            "allocation_id": 5,
            "target_group_ids": [4, 9],
            "ignore_allocation_ids": [8],
            "payload": {"observation_type": "IFU", "priority": 2.0},
            "source_group_ids": [4],
            "ignore_source_group_ids": [3],
            "not_if_classified": True,
            "not_if_spectra_exist": True,
            "not_if_tns_classified": True,
            "not_if_duplicates": True,
            "not_if_tns_reported": 72,
            "radius": 0.5,
        },
    }


@pytest.mark.parametrize(
    ("changes", "alias", "value"),
    [
        ({"payload": {"x": 1}}, "priority", 0.0),
        ({"payload": {"x": 1}, "priority_order": "desc"}, "priority", 5.0),
        ({"payload": {"priority": "4.5"}}, "priority", 4.5),
        ({"payload": {"urgency": 1, "priority": 4}}, "urgency", 1.0),
        ({"payload": {"Urgency": "2"}}, "Urgency", 2.0),
    ],
)
def test_where_the_priority_stands(changes: dict[str, Any], alias: str, value: float) -> None:
    request = follow_up(**changes).request("ZTF1", 4, Autosave(), {})
    assert (request["priority_alias"], request["data"]["payload"][alias]) == (alias, value)
    assert request["dated"] is (alias == "priority")
    assert request["comment"] is None


def test_the_pipeline_has_the_last_word() -> None:
    answer = {"comment": "brighter", "payload": {"priority": "5", "observation_type": "4-shot", "unknown": 1}}
    request = follow_up(comment="bright").request("ZTF1", 4, Autosave(), answer)
    assert request["comment"] == "brighter (priority: 5)"
    assert request["data"]["payload"] == {"observation_type": "4-shot", "priority": 5.0}
    with pytest.raises(FilterError, match="priority must be a number, not 'soon'"):
        follow_up().request("ZTF1", 4, Autosave(), {"payload": {"priority": "soon"}})
