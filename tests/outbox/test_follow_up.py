"""Follow-up requests: the conditions under which a telescope is asked, and that it is never asked twice."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from outbox_harness import GROUP, SAVE, Night, Receiver, follow_up_request, send, until

from kowalski.alerts.document import Alert
from kowalski.database.outbox import FOLLOW_UP, Outbox, Target
from kowalski.errors import SkyPortalError
from kowalski.outbox.poster import Poster, by_alert
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.delivery import Delivery
from kowalski.skyportal.followups import is_equivalent


def follow_up_of(receiver: Receiver, alert: Alert) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = receiver.received(f"/{alert.object_id}")["followup_requests"]
    return found


def asked(
    delivery: Delivery, night: Night, alert: Alert, number: int = 1, answer: Any = None, **changes: Any
) -> dict[str, Any]:
    """Send a candidate with follow-up; the entry of the latter."""
    entries = night.candidates(
        alert, [number], autosave=SAVE, auto_followup=follow_up_request(alert, answer=answer, **changes)
    )
    send(delivery, night, entries)
    found = night.database["outbox"].find_one({"_id": f"ZTF:{alert.candid}:{number}:followup"})
    assert found is not None
    return dict(found)


def priorities(receiver: Receiver, alert: Alert) -> list[float]:
    return [one["payload"]["priority"] for one in follow_up_of(receiver, alert)]


def test_of_two_filters_the_more_urgent_request_is_sent(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    entries = [
        *night.candidates(alert, [1], autosave=SAVE, auto_followup=follow_up_request(alert)),
        *night.candidates(
            alert, [2], autosave=SAVE, auto_followup=follow_up_request(alert, answer={"payload": {"priority": 3}})
        ),
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


@pytest.mark.parametrize("status", [400, 500])
def test_without_the_list_nothing_is_triggered_and_other_messages_go_on(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:  # fmt: skip
    """Until it is too late."""
    alert = night.longest[0]

    def away(object_id: str) -> None:
        raise SkyPortalError("no list", status, retriable=status == 500)

    monkeypatch.setattr(client, "follow_up_requests", away)
    with pytest.raises(SkyPortalError) as caught:
        asked(delivery, night, alert)
    assert caught.value.retriable
    assert night.states() == {f"ZTF:{alert.candid}:1": "delivered", f"ZTF:{alert.candid}:1:followup": "pending"}
    long_ago = datetime.now(UTC) - timedelta(days=8)
    night.database["outbox"].update_one({"kind": "followup"}, {"$set": {"passed_at": long_ago}})
    send_pending(delivery, night, alert)
    assert night.states()[f"ZTF:{alert.candid}:1:followup"] == "expired"
    assert follow_up_of(receiver, alert) == []


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


@pytest.mark.parametrize("came_through", [False, True])
def test_what_was_there_before_is_not_taken_for_the_answer_that_was_lost(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, came_through: bool
) -> None:  # fmt: skip
    """A request that was rejected long ago does not stand in the way, neither of the first attempt nor of the next."""
    alert = night.longest[0]
    old = {"id": 10**6, **there(status="rejected", modified="2020-01-01T00:00:00")}
    listed, post = client.follow_up_requests, client.post_follow_up

    def loses_the_answer(message: Any) -> None:
        if came_through:
            post(message)
        raise SkyPortalError("timed out", None, retriable=True)

    monkeypatch.setattr(client, "follow_up_requests", lambda object_id: [old, *listed(object_id)])
    with monkeypatch.context() as patch:
        patch.setattr(client, "post_follow_up", loses_the_answer)
        with pytest.raises(SkyPortalError, match="timed out"):
            asked(delivery, night, alert)
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    night.database["outbox"].update_one({"kind": "followup"}, {"$set": {"sending_at": long_ago}})
    send_pending(delivery, night, alert)
    (sent,) = follow_up_of(receiver, alert)
    (entry,) = night.database["outbox"].find({"kind": "followup"})
    assert (entry["state"], entry["outcome"]["id"]) == ("delivered", sent["id"])


def test_a_poster_that_was_stopped_for_long_does_not_ask_once_more(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the list and asking, another took over and asked."""
    alert = night.longest[0]
    other = Delivery(SkyPortal(receiver.settings(), "0"), night.database)
    listed = client.follow_up_requests

    def falls_asleep(object_id: str) -> Any:
        found = listed(object_id)
        send_pending(other, night, alert)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(client, "follow_up_requests", falls_asleep)
        with pytest.raises(SkyPortalError, match="another poster"):
            asked(delivery, night, alert)
    assert len(follow_up_of(receiver, alert)) == 1
    assert set(night.states().values()) == {"delivered"}


def test_what_never_left_is_sent_as_soon_as_it_can_be(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that found nobody is not one that may come through."""
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
    entries = night.candidates(alert, [1], autosave=SAVE, auto_followup=follow_up_request(alert, validity_days=2))
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
        night.outbox.add(night.candidates(alert, [1, 2], autosave=SAVE, auto_followup=follow_up_request(alert)))
    receiver.start("--fail-one-in", "5")
    make_poster(timeout=60.0)
    until(lambda: set(Outbox(night.database).counts().items()) >= {("pending", 0), ("failed", 0)}, 120)
    for alert in night.firsts:
        known = receiver.received(f"/{alert.object_id}")
        assert len(known["followup_requests"]) == 1
        assert known["groups"] == {str(GROUP): 42}
        assert len(known["comments"]) == 2
    assert receiver.received()["violations"] == []
