"""Autosave and comments: what SkyPortal is asked and in which order, whatever is lost on the way."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from outbox_harness import GROUP, SAVE, Night, Receiver, follow_up_request, send

from kowalski.errors import SkyPortalError
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.delivery import Delivery


def kinds(receiver: Receiver, since: int = 0) -> list[str]:
    """What came, by the last part of its path, repetitions left out."""
    names = [path.rpartition("/")[2] for _, path in receiver.messages()[since:]]
    return [name for place, name in enumerate(names) if place == 0 or name != names[place - 1]]


def test_a_new_object_is_saved_after_its_thumbnails_and_then_followed_up(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    alert = night.longest[0]
    send(delivery, night, night.candidates(alert, [1], autosave=SAVE, auto_followup=follow_up_request(alert)))
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
        delivery,
        night,
        night.candidates(second, [11], group_id=2, autosave=ignoring, auto_followup=follow_up_request(second, 2)),
    )
    known = receiver.received(f"/{first.object_id}")
    assert known["groups"].keys() == {str(GROUP)}
    assert [one["text"] for one in known["comments"]] == [SAVE["comment"]]
    assert known["followup_requests"] == []
    (asked,) = night.database["outbox"].find({"kind": "followup"})
    assert (asked["state"], asked["outcome"]["did"]) == ("delivered", "ignored")


def test_groups_that_ignore_each_other_keep_what_a_lost_answer_saved(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same message again SkyPortal would say that it saved the object for neither."""
    alert = night.longest[0]
    entries = [
        *night.candidates(alert, [1], autosave={**SAVE, "ignore_group_ids": [2]}),
        *night.candidates(alert, [11], group_id=2, autosave={**SAVE, "ignore_group_ids": [GROUP]}),
    ]
    post = client.post_source

    def loses_the_answer(message: Any) -> None:
        post(message)
        raise SkyPortalError("timed out", None, retriable=True)

    with monkeypatch.context() as patch:
        patch.setattr(client, "post_source", loses_the_answer)
        with pytest.raises(SkyPortalError, match="timed out"):
            send(delivery, night, entries)
    send(delivery, night, entries)
    known = receiver.received(f"/{alert.object_id}")
    assert known["groups"].keys() == {str(GROUP), "2"}
    assert [one["group_ids"] for one in known["comments"]] == [[GROUP], [2]]


def test_an_object_that_its_group_saved_by_hand_meanwhile_is_not_commented_on(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver
) -> None:
    alert = night.longest[0]
    asked = count(1)
    entries = night.candidates(alert, [1], autosave=SAVE)
    send(delivery, night, entries, lambda: next(asked) <= 6)  # all but the source, its comment and follow-up
    client.post_source({"id": alert.object_id, "group_ids": [GROUP], "origin": "by hand"})
    send(delivery, night, entries)
    known = receiver.received(f"/{alert.object_id}")
    assert (known["groups"], known["comments"]) == ({str(GROUP): None}, [])
    assert set(night.states().values()) == {"delivered"}


@pytest.mark.parametrize("annotations", [None, {"refused": "too"}])
def test_a_source_that_is_refused_is_not_followed_up(
    delivery: Delivery, night: Night, receiver: Receiver, annotations: Any
) -> None:
    alert = night.longest[0]
    send(delivery, night, night.candidates(alert, [1], group_id=77, annotations=annotations, autosave=SAVE, auto_followup=follow_up_request(alert, 77)))  # fmt: skip
    (entry,) = night.database["outbox"].find()
    assert (entry["state"], entry["error"]["step"]) == ("failed", "annotation" if annotations else "source")
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
