"""One alert's dialogue with SkyPortal: its order, what it says, how it resumes, and what it does with refusals."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from outbox_harness import FILTERS, GROUP, Night, Receiver, send

from kowalski.alert_broker_ztf import SURVEY
from kowalski.database.outbox import Outbox
from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.errors import SkyPortalError
from kowalski.skyportal import messages
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.delivery import Delivery


class Killed(BaseException):
    """The process died here."""


def test_a_new_object_is_told_in_order(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    send(delivery, night, night.candidates(alert))
    kinds = [path.rpartition("/")[2] for _, path in receiver.messages()]
    assert kinds[:3] == ["candidates", "annotations", "annotations"]
    assert kinds[-3:] == ["thumbnail"] * 3
    assert kinds[3:-3]
    assert set(kinds[3:-3]) == {"photometry"}
    known = receiver.received(f"/{alert.object_id}")
    assert {one["filter_id"]: one["candid"] for one in known["candidates"]} == dict.fromkeys(FILTERS, alert.candid)
    assert [one["origin"] for one in known["annotations"]] == [f"group {GROUP}:filter {number}" for number in FILTERS]
    assert known["annotations"][0]["data"]["rate"] is None
    assert known["thumbnails"] == ["new", "ref", "sub"]
    assert receiver.received()["violations"] == []
    assert set(night.states().values()) == {"delivered"}
    assert SkyPortalObjects(night.database).known([alert.object_id])


def test_a_new_object_brings_all_its_stored_alerts(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    first, *others = night.longest
    assert others
    send(delivery, night, night.candidates(first))
    sent = {round(one["mjd"] + 2400000.5, 6) for one in receiver.received(f"/{first.object_id}")["photometry"]}
    assert {round(alert.jd, 6) for alert in night.longest} <= sent


def test_a_known_object_gets_candidate_annotation_and_its_packets_points(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first))
    before = len(receiver.messages())
    send(delivery, night, night.candidates(second) + night.photometry(second))
    messages = receiver.messages()[before:]
    methods = [(method, path.split("/")[0]) for method, path in messages]
    assert methods[:2] == [("POST", "candidates"), ("PUT", "sources")]  # only the filter that updates its annotation
    assert set(methods[2:]) == {("PUT", "photometry")}
    annotations = {one["origin"]: one["data"]["jd"] for one in receiver.received(f"/{first.object_id}")["annotations"]}
    assert annotations == {"group 1:filter 1": first.jd, "group 1:filter 2": second.jd}
    assert set(night.states().values()) == {"delivered"}


def test_an_object_known_from_elsewhere_is_found(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    elsewhere = {"id": alert.object_id, "ra": alert.ra, "dec": alert.dec, "filter_ids": [9]}
    passed = {"passed_at": "2020-01-01T00:00:00", "passing_alert_id": 1}
    SkyPortal(receiver.settings(), "0").post_candidate({**elsewhere, **passed})
    send(delivery, night, night.candidates(alert))
    assert receiver.received()["thumbnails"] == 0
    assert night.database["skyportal_objects"].find_one({"_id": alert.object_id})["how"] == "found"  # type: ignore[index]


def test_photometry_alone_asks_skyportal_nothing_else(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first))
    before = len(receiver.messages())
    send(delivery, night, night.photometry(second))
    assert {path for _, path in receiver.messages()[before:]} == {"photometry"}


def test_it_resumes_where_it_was_stopped(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    for steps, alert in enumerate(night.firsts[:10]):
        asked = count(1)
        send(delivery, night, night.candidates(alert), lambda limit=steps, asked=asked: next(asked) <= limit)  # type: ignore[misc]
        assert night.states_of(alert) == {"pending" if steps < 9 else "delivered"}
        send(delivery, night, night.candidates(alert))
        assert night.states_of(alert) == {"delivered"}
        known = receiver.received(f"/{alert.object_id}")
        assert [len(known[name]) for name in ("candidates", "annotations", "thumbnails")] == [2, 2, 3]
    messages = [
        str((one["path"], one["query"], one["body"])) for one in receiver.received("?messages=true")["messages"]
    ]
    assert len(messages) == len(set(messages))
    summary = receiver.received()
    assert (summary["violations"], summary["conflicts"]) == ([], [])


def test_a_message_whose_mark_was_lost_is_not_doubled(
    delivery: Delivery, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_done = Outbox.step_done
    for deadly, alert in enumerate(night.firsts[:8]):
        marks = count()

        def dies(*arguments: Any, marks: Iterator[int] = marks, deadly: int = deadly) -> None:
            if next(marks) == deadly:
                raise Killed
            step_done(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Outbox, "step_done", dies)
            with pytest.raises(Killed):
                send(delivery, night, night.candidates(alert))
        send(delivery, night, night.candidates(alert))
        assert night.states_of(alert) == {"delivered"}
        known = receiver.received(f"/{alert.object_id}")
        assert [len(known[name]) for name in ("candidates", "annotations", "thumbnails")] == [2, 2, 3]
    assert receiver.received()["violations"] == []


def test_a_filter_that_skyportal_does_not_have_fails_alone(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first, (1, 99)) + night.candidates(second, (99,)))
    failed = {one["_id"]: one["error"] for one in night.database["outbox"].find({"state": "failed"})}
    assert set(failed) == {f"ZTF:{first.candid}:99", f"ZTF:{second.candid}:99"}
    assert {error["step"] for error in failed.values()} == {"candidate"}
    assert "exist" in failed[f"ZTF:{first.candid}:99"]["message"]
    assert failed[f"ZTF:{second.candid}:99"]["status"] == 400
    assert receiver.received()["thumbnails"] == 3


def test_a_refused_annotation_stops_neither_photometry_nor_pictures(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    alert = night.longest[0]
    send(delivery, night, night.candidates(alert, (1,)) + night.candidates(alert, (2,), group_id=77))
    states = night.states()
    assert states == {f"ZTF:{alert.candid}:1": "delivered", f"ZTF:{alert.candid}:2": "failed"}
    (failed,) = night.database["outbox"].find({"state": "failed"})
    assert (failed["error"]["step"], failed["error"]["status"]) == ("annotation", 400)
    summary = receiver.received()
    assert (summary["candidates"], summary["thumbnails"]) == (2, 3)
    assert summary["points"] > 0


def test_photometry_that_was_refused_is_sent_when_it_is_tried_again(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise SkyPortalError("400 Instrument ZTF has no filter ztfg", 400, retriable=False)

    first, second = night.longest[:2]
    send(delivery, night, night.candidates(first, (1,)))
    with monkeypatch.context() as patch:
        patch.setattr(client, "put_photometry", refuse)
        send(delivery, night, night.photometry(second))
    (failed,) = night.database["outbox"].find({"state": "failed"})
    assert (failed["kind"], failed["error"]["step"]) == ("photometry", "photometry")
    before = len(receiver.messages())
    assert night.outbox.retry() == 1
    send(delivery, night, night.photometry(second))
    assert {path for _, path in receiver.messages()[before:]} == {"photometry"}
    assert set(night.states().values()) == {"delivered"}


def test_a_filter_that_its_group_got_a_moment_ago_signs_its_annotations(
    delivery: Delivery, client: SkyPortal, night: Night, receiver: Receiver
) -> None:
    alert = night.longest[0]
    client.group(GROUP, 1)["filters"][:] = [{"id": 1, "name": "filter 1"}]  # as it was when it was remembered
    send(delivery, night, night.candidates(alert))
    known = receiver.received(f"/{alert.object_id}")
    assert [one["origin"] for one in known["annotations"]] == [f"group {GROUP}:filter {number}" for number in FILTERS]
    assert set(night.states().values()) == {"delivered"}


@pytest.mark.parametrize("alike", [False, True])
def test_alerts_of_an_object_may_pass_in_the_same_moment(
    delivery: Delivery, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, alike: bool
) -> None:
    """Also where their candids end alike."""
    if alike:
        monkeypatch.setattr(messages, "moment", lambda one, later=0: one["passed_at"] + timedelta(microseconds=later))
    first, second = night.longest[:2]
    entries = night.candidates(first)
    send(delivery, night, entries + night.candidates(second, passed_at=entries[0]["passed_at"]))
    summary = receiver.received()
    assert (summary["candidates"], bool(summary["conflicts"])) == (4, alike)
    assert set(night.states().values()) == {"delivered"}


def test_a_cutout_that_cannot_be_read_costs_only_its_picture(
    delivery: Delivery, night: Night, receiver: Receiver
) -> None:
    alert = night.longest[0]
    night.database["ZTF_alerts"].update_one({"candid": alert.candid}, {"$set": {"cutoutTemplate.stampData": b"no"}})
    send(delivery, night, night.candidates(alert, (1,)))
    assert receiver.received(f"/{alert.object_id}")["thumbnails"] == ["new", "sub"]
    (failed,) = night.database["outbox"].find()
    assert failed["state"] == "failed"
    assert failed["error"]["step"] == "thumbnail:ref"


def test_a_position_off_the_sky_never_leaves_the_house(delivery: Delivery, night: Night, receiver: Receiver) -> None:
    alert = night.longest[0]
    night.database["ZTF_alerts"].update_one({"candid": alert.candid}, {"$set": {"candidate.dec": -95.0}})
    send(delivery, night, night.candidates(alert))
    assert receiver.messages() == []
    assert set(night.states().values()) == {"failed"}


def test_an_alert_that_is_gone_is_said_to_be(delivery: Delivery, night: Night) -> None:
    alert = night.longest[0]
    night.database["ZTF_alerts"].delete_many({})
    send(delivery, night, night.candidates(alert))
    assert set(night.states().values()) == {"failed"}


def test_a_cutout_that_a_survey_may_lack_is_no_thumbnail(
    delivery: Delivery, night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = replace(SURVEY, cutouts_may_lack=True)
    monkeypatch.setattr("kowalski.skyportal.delivery.get_survey", lambda name: lacking)
    alert = night.longest[0]
    night.database["ZTF_alerts"].update_one({"candid": alert.candid}, {"$set": {"cutoutTemplate": None}})
    send(delivery, night, night.candidates(alert, [1]))
    assert receiver.received(f"/{alert.object_id}")["thumbnails"] == ["new", "sub"]
    assert night.states_of(alert) == {"delivered"}
