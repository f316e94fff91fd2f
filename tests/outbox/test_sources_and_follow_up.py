"""Autosave, comments and follow-up: what SkyPortal is asked, in which order, and that no telescope is asked twice."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from outbox_harness import GROUP, Night, Receiver, until

from kowalski.alerts.document import Alert
from kowalski.database.client import MongoDatabase
from kowalski.database.outbox import FOLLOW_UP, Entry, Outbox, Target
from kowalski.errors import SkyPortalError
from kowalski.filters.actions import Autosave, read_follow_up
from kowalski.outbox.poster import Poster, by_alert
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.delivery import Delivery
from kowalski.skyportal.followups import is_equivalent

SAVE = {"comment": "Saved by a filter", "ignore_group_ids": [], "saver_id": 42}


@pytest.fixture
def client(receiver: Receiver) -> SkyPortal:
    receiver.start("--group", "2:11-19")
    return SkyPortal(receiver.settings(), "0")


@pytest.fixture
def delivery(mongo: MongoDatabase, client: SkyPortal) -> Delivery:
    return Delivery(client, mongo)


def request(alert: Alert, group: int = GROUP, answer: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A follow-up request as a filter's pass carries it."""
    stored = {
        "active": True, "pipeline": [{"$match": {}}], "allocation_id": 5, "comment": "triggered",
        "payload": {"observation_type": "IFU", "priority": 2}, **changes,
    }  # fmt: skip
    read = read_follow_up(stored)
    assert read is not None
    return read.request(alert.object_id, group, Autosave(), answer or {})


def send(delivery: Delivery, night: Night, entries: list[Entry]) -> None:
    """Put entries into the outbox and send what is pending of their object, follow-up included."""
    night.outbox.add(entries)
    for lane in ("skyportal", FOLLOW_UP):
        for alert in by_alert(night.outbox.pending_of(Target("ZTF", entries[0]["objectId"], lane))):
            delivery.send(alert, lambda: True)


def kinds(receiver: Receiver, since: int = 0) -> list[str]:
    """What came, by the last part of its path, repetitions left out."""
    names = [path.rpartition("/")[2] for _, path in receiver.messages()[since:]]
    return [name for place, name in enumerate(names) if place == 0 or name != names[place - 1]]


def follow_up_of(receiver: Receiver, alert: Alert) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = receiver.received(f"/{alert.object_id}")["followup_requests"]
    return found


# sources and comments ------------------------------------------------------------------------------------------------


def test_a_new_object_is_saved_after_its_thumbnails_and_then_followed_up(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    alert = night.longest[0]
    send(delivery, night, night.candidates(alert, [1], autosave=SAVE, auto_followup=request(alert)))
    assert kinds(receiver) == ["candidates", "annotations", "photometry", "thumbnail", "sources", "comments", "followup_request", "comments"]  # fmt: skip
    known = receiver.received(f"/{alert.object_id}")
    assert known["groups"] == {str(GROUP): 42}
    assert known["comments"] == [
        {"text": "Saved by a filter", "group_ids": [GROUP]},
        {"text": "triggered (priority: 2)", "group_ids": [GROUP]},
    ]
    (sent,) = known["followup_requests"]
    assert (sent["allocation_id"], sent["target_groups"]) == (5, [{"id": GROUP}])
    payload = sent["payload"]
    assert (payload["observation_type"], payload["priority"]) == ("IFU", 2.0)
    start, end = (datetime.fromisoformat(payload[name]) for name in ("start_date", "end_date"))
    assert end - start == timedelta(days=7)
    assert abs(datetime.now(UTC) - start.replace(tzinfo=UTC)) < timedelta(minutes=1)
    assert set(night.states().values()) == {"delivered"}
    assert receiver.received()["violations"] == []


def test_a_known_object_is_saved_before_its_photometry(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first, [1]))
    before = len(receiver.messages())
    send(delivery, night, night.candidates(second, [1], autosave=SAVE))
    assert kinds(receiver, before) == ["candidates", "sources", "photometry", "comments"]


def test_a_group_that_has_the_object_saves_nothing(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first, [1], autosave=SAVE))
    before = len(receiver.messages())
    again = night.candidates(second, [1], autosave={**SAVE, "comment": "another"})
    send(delivery, night, again + night.candidates(second, [11], autosave=SAVE, group_id=2))
    assert [one for one in receiver.messages()[before:] if one[1] == "sources"] == [("POST", "sources")]
    known = receiver.received(f"/{first.object_id}")
    assert known["groups"].keys() == {str(GROUP), "2"}
    assert [(one["text"], one["group_ids"]) for one in known["comments"]] == [(SAVE["comment"], [1]), (SAVE["comment"], [2])]  # fmt: skip


def test_a_group_that_ignores_what_others_saved(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    """Also where all save in one message; then nobody comments for it, and no telescope is triggered."""
    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first, [1], autosave=SAVE))
    ignoring = {**SAVE, "ignore_group_ids": [GROUP], "comment": "mine"}
    send(
        delivery, night, night.candidates(second, [11], group_id=2, autosave=ignoring, auto_followup=request(second, 2))
    )
    known = receiver.received(f"/{first.object_id}")
    assert known["groups"].keys() == {str(GROUP)}
    assert [one["text"] for one in known["comments"]] == [SAVE["comment"]]
    assert known["followup_requests"] == []
    (asked,) = night.database["outbox"].find({"kind": "followup"})
    assert (asked["state"], asked["outcome"]["did"]) == ("delivered", "ignored")


def test_a_source_that_is_refused_is_not_followed_up(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    send(delivery, night, night.candidates(alert, [1], group_id=77, annotations=None, autosave=SAVE, auto_followup=request(alert, 77)))  # fmt: skip
    (entry,) = night.database["outbox"].find()
    assert (entry["state"], entry["error"]["step"]) == ("failed", "source")
    assert "77" in entry["error"]["message"]


@pytest.mark.parametrize("lost", ["POST /api/sources", "comments"])
def test_an_answer_that_was_lost_changes_nothing(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    alert = night.longest[0]
    ask = client._ask

    def once(method: str, path: str, *arguments: Any, **more: Any) -> Any:
        answer = ask(method, path, *arguments, **more)
        if f"{method} {path}".endswith(lost):
            monkeypatch.setattr(client, "_ask", ask)
            raise SkyPortalError("timed out", None, retriable=True)
        return answer

    monkeypatch.setattr(client, "_ask", once)
    entries = night.candidates(alert, [1], autosave=SAVE)
    with pytest.raises(SkyPortalError, match="timed out"):
        send(delivery, night, entries)
    send(delivery, night, entries)
    known = receiver.received(f"/{alert.object_id}")
    assert known["groups"] == {str(GROUP): 42}
    assert [one["text"] for one in known["comments"]] == [SAVE["comment"]]
    assert set(night.states().values()) == {"delivered"}


# follow-up -----------------------------------------------------------------------------------------------------------


def asked(
    delivery: Delivery, night: Night, alert: Alert, number: int = 1, answer: Any = None, **changes: Any
) -> dict[str, Any]:
    """Send a candidate with follow-up; the entry of the latter."""
    entries = night.candidates(alert, [number], autosave=SAVE, auto_followup=request(alert, answer=answer, **changes))
    send(delivery, night, entries)
    found = night.database["outbox"].find_one({"_id": f"ZTF:{alert.candid}:{number}:followup"})
    assert found is not None
    return dict(found)


def priorities(receiver: Receiver, alert: Alert) -> list[float]:
    return [one["payload"]["priority"] for one in follow_up_of(receiver, alert)]


def test_of_two_filters_the_more_urgent_request_is_sent(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    entries = [
        *night.candidates(alert, [1], autosave=SAVE, auto_followup=request(alert)),
        *night.candidates(alert, [2], autosave=SAVE, auto_followup=request(alert, answer={"payload": {"priority": 3}})),
    ]
    send(delivery, night, entries)
    assert priorities(receiver, alert) == [3.0]


@pytest.mark.parametrize(
    ("order", "first", "then", "updates", "left"),
    [
        ("asc", 2, 4, True, 4),
        ("asc", 2, 4, False, 2),
        ("asc", 3, 1, True, 3),
        ("asc", 3, 3, True, 3),
        ("desc", 3, 1, True, 1),
        ("desc", 1, 3, True, 1),
    ],
)
def test_a_request_gets_more_urgent_but_never_less(
    delivery: Delivery, night: Night, receiver: Receiver, order: str, first: float, then: float, updates: bool, left: float
) -> None:  # fmt: skip
    early, late = night.longest[:2]
    how = {"priority_order": order, "implements_update": updates}
    assert (
        asked(delivery, night, early, answer={"payload": {"priority": first}}, **how)["outcome"]["did"] == "requested"
    )
    did = asked(delivery, night, late, answer={"payload": {"priority": then}}, **how)["outcome"]["did"]
    assert did == ("updated" if left != first else "nothing")
    assert priorities(receiver, early) == [left]
    (kept,) = follow_up_of(receiver, early)
    assert kept["payload"]["observation_type"] == "IFU"
    assert "start_date" in kept["payload"]


def test_another_allocation_or_observation_is_another_request(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    early, late = night.longest[:2]
    asked(delivery, night, early)
    asked(delivery, night, late, 1, allocation_id=6)
    asked(delivery, night, late, 2, payload={"observation_type": "3-shot", "priority": 1})
    assert [(one["allocation_id"], one["payload"]["observation_type"]) for one in follow_up_of(receiver, early)] == [
        (5, "IFU"),
        (6, "IFU"),
        (5, "3-shot"),
    ]


def there(**changes: Any) -> dict[str, Any]:
    payload = {"observation_type": "IFU", "exposure": 5, "priority": 1, "start_date": "x", **changes.pop("payload", {})}
    return {"allocation_id": 5, "payload": payload, "target_groups": [{"id": 1}, {"id": 9}], "status": "submitted", **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "groups", "other", "same"),
    [
        ({"observation_type": "IFU", "priority": 5}, [1], {}, True),
        ({"observation_type": "IFU", "urgency": 5, "advanced": 1}, [9, 4], {}, True),
        ({"exposure": 5}, [1], {}, True),
        ({"exposure": 6}, [1], {}, False),
        ({"exposure": 5, "more": 1}, [1], {}, False),
        ({"exposure": 5}, [4], {}, False),
        ({"exposure": 5}, [], {}, False),
        ({"exposure": 5}, [], {"target_groups": []}, True),
        ({"exposure": 5}, [1], {"allocation_id": 6}, False),
        ({"observation_type": "3-shot"}, [1], {}, False),
        ({"observation_type": "3-shot"}, [1], {"payload": {"observation_type": "4-shot"}}, True),
        ({"observation_type": "4-shot"}, [1], {"payload": {"observation_type": "3-shot"}}, False),
        ({"observation_type": "Mix 'n Match", "observation_choices": ["u", "r"]}, [1], {"payload": {"observation_type": "4-shot"}}, True),
        ({"observation_type": "Mix 'n Match", "observation_choices": ["u", "IFU"]}, [1], {"payload": {"observation_type": "4-shot"}}, False),
        ({"observation_type": "IFU"}, [1], {"payload": {"observation_type": "Mix 'n Match", "observation_choices": ["IFU", "r"]}}, True),
    ],
)  # fmt: skip
def test_what_makes_requests_equal(
    payload: dict[str, Any], groups: list[int], other: dict[str, Any], same: bool
) -> None:
    ours = {"data": {"allocation_id": 5, "payload": payload, "target_group_ids": groups}}
    assert is_equivalent(ours, there(**other)) is same


def existing(client: SkyPortal, monkeypatch: pytest.MonkeyPatch, *requests: dict[str, Any]) -> None:
    """SkyPortal lists these."""
    monkeypatch.setattr(client, "follow_up_requests", lambda object_id: list(requests))


@pytest.mark.parametrize(
    ("status", "hours_ago", "triggers"),
    [
        ("complete", 1, False),
        ("submitted: yes", 900, False),
        ("deleted", 900, False),
        ("failed to submit", 1, False),
        ("failed to submit", 13, True),
        ("rejected", 1, True),
    ],
)
def test_which_requests_stand_in_the_way(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
    status: str, hours_ago: int, triggers: bool,
) -> None:  # fmt: skip
    alert = night.longest[0]
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    existing(client, monkeypatch, {"id": 1, **there(status=status, modified=at.replace(tzinfo=None).isoformat())})
    asked(delivery, night, alert)
    assert len(follow_up_of(receiver, alert)) == triggers


def test_without_the_list_nothing_is_triggered_and_other_messages_go_on(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = night.longest[0]

    def away(object_id: str) -> None:
        raise SkyPortalError("500", 500, retriable=True)

    with monkeypatch.context() as patch:
        patch.setattr(client, "follow_up_requests", away)
        with pytest.raises(SkyPortalError):
            asked(delivery, night, alert)
    assert follow_up_of(receiver, alert) == []
    assert night.states() == {f"ZTF:{alert.candid}:1": "delivered", f"ZTF:{alert.candid}:1:followup": "pending"}


@pytest.mark.parametrize("status", [None, 500, 504])
def test_a_lost_answer_never_triggers_twice(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:  # fmt: skip
    """Whatever status SkyPortal gave to the request that came through."""
    alert = night.longest[0]
    post = client.post_follow_up

    def comes_through(message: Any) -> None:
        post(message)
        raise SkyPortalError("no answer", status, retriable=True)

    with monkeypatch.context() as patch:
        patch.setattr(client, "post_follow_up", comes_through)
        with pytest.raises(SkyPortalError):
            asked(delivery, night, alert)
    asked_for = client.follow_up_requests
    existing(client, monkeypatch, *({**one, "status": "pending submission"} for one in asked_for(alert.object_id)))
    send_pending(delivery, night, alert)
    assert len(follow_up_of(receiver, alert)) == 1
    assert set(night.states().values()) == {"delivered"}


def send_pending(delivery: Delivery, night: Night, alert: Alert) -> None:
    for entries in by_alert(night.outbox.pending_of(Target("ZTF", alert.object_id, FOLLOW_UP))):
        delivery.send(entries, lambda: True)


def test_what_got_no_answer_is_not_sent_again_while_it_may_come_through(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = night.longest[0]

    def hangs(message: Any) -> None:
        raise SkyPortalError("timed out", None, retriable=True)

    with monkeypatch.context() as patch:
        patch.setattr(client, "post_follow_up", hangs)
        with pytest.raises(SkyPortalError, match="timed out"):
            asked(delivery, night, alert)
    with pytest.raises(SkyPortalError, match="may still come through"):
        send_pending(delivery, night, alert)
    night.database["outbox"].update_one(
        {"kind": "followup"}, {"$set": {"sending_at": datetime.now(UTC) - timedelta(minutes=5)}}
    )
    send_pending(delivery, night, alert)
    assert len(follow_up_of(receiver, alert)) == 1


def test_what_never_left_is_sent_as_soon_as_it_can_be(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that found nobody is not one that may come through; one of another group is not taken for ours."""
    alert = night.longest[0]

    def finds_nobody(message: Any) -> None:
        raise SkyPortalError("connection refused", None, retriable=True, sent=False)

    with monkeypatch.context() as patch:
        patch.setattr(client, "post_follow_up", finds_nobody)
        with pytest.raises(SkyPortalError, match="refused"):
            asked(delivery, night, alert)
    assert night.database["outbox"].find_one({"kind": "followup"})["sending_at"] is None
    send_pending(delivery, night, alert)
    assert len(follow_up_of(receiver, alert)) == 1


def test_what_is_too_late_expires_and_is_shown(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    entries = night.candidates(alert, [1], autosave=SAVE, auto_followup=request(alert, validity_days=2))
    for entry in entries:
        entry["passed_at"] -= timedelta(days=2, minutes=1)
    send(delivery, night, entries)
    assert follow_up_of(receiver, alert) == []
    (entry,) = night.database["outbox"].find({"kind": "followup"})
    assert entry["state"] == "expired"
    assert entry["error"]["message"].startswith("not sent by ")


def test_a_refused_request_is_kept_with_its_answer(
    delivery: Delivery, client: SkyPortal, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(message: Any) -> None:
        raise SkyPortalError("400 payload: 'IFU' is not one of", 400, retriable=False)

    monkeypatch.setattr(client, "post_follow_up", refuse)
    found = asked(delivery, night, night.longest[0])
    assert (found["state"], found["error"]["status"]) == ("failed", 400)


def test_urgent_requests_have_no_dates(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    asked(delivery, night, alert, payload={"urgency": 1, "observation_type": "IFU"})
    assert follow_up_of(receiver, alert)[0]["payload"] == {"urgency": 1.0, "observation_type": "IFU"}


def test_a_night_against_a_skyportal_that_fails_asks_each_telescope_once(
    night: Night, receiver: Receiver, make_poster: Callable[..., Poster]
) -> None:
    for alert in night.firsts:
        night.outbox.add(night.candidates(alert, [1, 2], autosave=SAVE, auto_followup=request(alert)))
    receiver.start("--fail-one-in", "5")
    make_poster(timeout=60.0)
    until(lambda: set(Outbox(night.database).counts().items()) >= {("pending", 0), ("failed", 0)}, 120)
    for alert in night.firsts:
        known = receiver.received(f"/{alert.object_id}")
        assert len(known["followup_requests"]) == 1
        assert known["groups"] == {str(GROUP): 42}
        assert len(known["comments"]) == 2
    assert receiver.received()["violations"] == []
