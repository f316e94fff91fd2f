"""The poster: all of a night arrives once and in order, whatever SkyPortal does meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from outbox_harness import GROUP, Night, Receiver, until

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.document import Alert
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.objects import Objects
from kowalski.database.outbox import Entry, Outbox
from kowalski.database.processes import Processes
from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.errors import SkyPortalError
from kowalski.outbox.poster import PROGRAM, Poster, delay_s
from kowalski.skyportal import messages
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.photometry import FORCED_ORIGIN, photometry_requests

MakePoster = Callable[..., Poster]


def passes(night: Night) -> dict[int, list[int]]:
    """Which filters each alert passes, in this test: candid -> filters; every third passes none."""
    alerts = sorted((alert for alerts in night.alerts.values() for alert in alerts), key=lambda alert: alert.candid)
    chosen: list[list[int]] = [[1, 2], [2], []]
    return {alert.candid: chosen[place % 3] for place, alert in enumerate(alerts)}


def entries_of(night: Night) -> list[Entry]:
    """What the chain would put into the outbox if SkyPortal had got each passing alert before the next one came."""
    filters, entries = passes(night), []
    for alerts in night.alerts.values():
        known = False
        for alert in alerts:
            entries += night.candidates(alert, filters[alert.candid])
            entries += night.photometry(alert) if known else []
            known = known or bool(filters[alert.candid])
    return entries


def assert_received_once(night: Night, receiver: Receiver) -> None:
    """The receiver has what a plain calculation, one alert after the other, says it should."""
    filters = passes(night)
    summary = receiver.received()
    assert summary["violations"] == []
    for object_id, alerts in night.alerts.items():
        passing = [alert for alert in alerts if filters[alert.candid]]
        known = receiver.received(f"/{object_id}")
        if not passing:
            assert known is None
            continue
        assert [(one["filter_id"], one["candid"]) for one in known["candidates"]] == [
            (number, alert.candid) for alert in passing for number in filters[alert.candid]
        ]
        data = {one["origin"]: one["data"]["jd"] for one in known["annotations"]}
        assert data == expected_annotations(passing, filters)
        assert known["thumbnails"] == ["new", "ref", "sub"]
        points = [(one["origin"], one["mjd"], one["filter"], one["flux"] is None) for one in known["photometry"]]
        assert len(points) == len(set(points))
        assert {point for point in points if point[0] != FORCED_ORIGIN} == ordinary_points(night, alerts[0])


def expected_annotations(passing: list[Alert], filters: dict[int, list[int]]) -> dict[str, float]:
    """Filter 1 speaks once, filter 2 updates what it said."""
    jds = {number: [alert.jd for alert in passing if number in filters[alert.candid]] for number in (1, 2)}
    said = {1: jds[1][:1], 2: jds[2][-1:]}
    return {f"group {GROUP}:filter {number}": jd for number in (1, 2) for jd in said[number]}


def ordinary_points(night: Night, alert: Alert) -> set[tuple[str, float, str, bool]]:
    """Detections and upper limits of an object, as all its stored alerts tell them."""
    aux = Objects(night.database, SURVEY).read([alert.object_id])[alert.object_id]
    stored = Alerts(night.database, SURVEY).of_object(alert.object_id)
    curve = messages.full_light_curve(alert.document, aux, stored, SURVEY)
    return {
        ("None", mjd, band, flux != flux)
        for _, forced, rows in photometry_requests(curve, SURVEY)
        for mjd, band, flux in zip(rows["mjd"].tolist(), rows["filter"], rows["flux"].tolist(), strict=True)
        if not forced
    }


def drained(night: Night) -> bool:
    return night.outbox.backlog()["pending"] == 0


def test_a_night_arrives_once_and_in_order(night: Night, receiver: Receiver, make_poster: MakePoster) -> None:
    receiver.start()
    night.outbox.add(entries_of(night))
    make_poster()
    until(lambda: drained(night))
    assert night.outbox.backlog()["failed"] == 0
    assert_received_once(night, receiver)


def test_a_night_arrives_once_though_one_call_in_five_fails(
    night: Night, receiver: Receiver, make_poster: MakePoster
) -> None:
    receiver.start("--fail-one-in", "5")
    night.outbox.add(entries_of(night))
    make_poster()
    until(lambda: drained(night))
    receiver.kill()
    receiver.start()
    assert night.outbox.backlog()["failed"] == 0
    assert_received_once(night, receiver)


def test_a_night_arrives_once_though_skyportal_is_restarted(
    night: Night, receiver: Receiver, make_poster: MakePoster
) -> None:
    night.outbox.add(entries_of(night))
    make_poster(timeout=0.5)
    until(lambda: night.database["outbox"].count_documents({"attempts": {"$gt": 0}}))
    receiver.start()
    until(lambda: receiver.received()["candidates"] > 5)
    receiver.kill()
    receiver.start("--delay", "0.02")
    until(lambda: drained(night))
    assert night.outbox.backlog()["failed"] == 0
    assert_received_once(night, receiver)


def test_a_token_that_is_refused_loses_nothing(night: Night, receiver: Receiver, make_poster: MakePoster) -> None:
    receiver.start("--token", "another")
    night.outbox.add(night.candidates(night.longest[0]))
    make_poster()
    until(lambda: night.database["outbox"].count_documents({"error.status": 401}))
    assert night.outbox.backlog() == {"pending": 2, "failed": 0}
    receiver.kill()
    receiver.start("--token", "local")
    until(lambda: drained(night))
    assert night.outbox.backlog()["failed"] == 0


def test_an_error_of_ours_closes_one_alert_and_no_other(
    night: Night, receiver: Receiver, make_poster: MakePoster, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky, *others = night.firsts
    plain = messages.candidate_message

    def broken(entries: list[Entry], *rest: object) -> dict[str, object]:
        if entries[0]["candid"] == unlucky.candid:
            raise ZeroDivisionError("a bug")
        return plain(entries, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(messages, "candidate_message", broken)
    receiver.start()
    night.outbox.add([entry for alert in night.firsts for entry in night.candidates(alert, (1,))])
    make_poster()
    until(lambda: drained(night))
    (failed,) = night.database["outbox"].find({"state": "failed"})
    assert failed["candid"] == unlucky.candid
    assert failed["error"]["message"] == "a bug"
    assert receiver.received()["candidates"] == len(others)


def test_only_one_poster_is_active_and_another_takes_over(
    night: Night, receiver: Receiver, make_poster: MakePoster, mongo: MongoDatabase
) -> None:
    receiver.start()
    first, second = make_poster("one"), make_poster("two")
    until(lambda: first.active() or second.active())
    active, standby = (first, second) if first.active() else (second, first)
    night.outbox.add(night.candidates(night.firsts[0]))
    until(lambda: drained(night))
    assert not standby.active()
    active.stop()
    until(standby.active)
    night.outbox.add(night.candidates(night.firsts[1]))
    until(lambda: drained(night))
    assert Lease(mongo, PROGRAM, "", 1).holder() == ("two" if standby is second else "one")


def test_a_poster_says_how_it_is_doing(night: Night, receiver: Receiver, make_poster: MakePoster) -> None:
    receiver.start()
    make_poster()
    (beat,) = until(lambda: [one for one in Processes(night.database).alive() if one["active"]])
    assert (beat["program"], beat["counts"]) == ("poster", {"pending": 0, "failed": 0})


def test_what_others_sent_to_skyportal_becomes_known(night: Night, receiver: Receiver, make_poster: MakePoster) -> None:
    receiver.start()
    client, now = SkyPortal(receiver.settings(), "0"), datetime.now(UTC)
    for number in range(3):
        passed_at = (now - timedelta(days=5 * number + 1)).strftime("%Y-%m-%dT%H:%M:%S")
        message = {"id": f"other{number}", "ra": 1.0, "dec": 1.0, "filter_ids": [3], "passing_alert_id": number}
        client.post_candidate({**message, "passed_at": passed_at})
    # passed long ago, but saved as a source now
    client.post_candidate({**message, "id": "other3", "passed_at": "2018-01-01T00:00:00"})
    client.post_source({"id": "other3", "group_ids": [GROUP]})
    make_poster()
    objects = SkyPortalObjects(night.database)
    until(lambda: len(objects.known(["other0", "other1", "other2", "other3"])) == 4)
    until(objects.refreshed_until)


def test_candidates_become_known_though_sources_are_not_listed(
    night: Night, receiver: Receiver, make_poster: MakePoster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise SkyPortalError("GET /api/sources: 400", 400)

    receiver.start()
    client = SkyPortal(receiver.settings(), "0")
    passed_at = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
    client.post_candidate({"id": "other", "ra": 1.0, "dec": 1.0, "filter_ids": [3], "passed_at": passed_at})
    monkeypatch.setattr(SkyPortal, "sources_between", refused)
    make_poster()
    objects = SkyPortalObjects(night.database)
    until(lambda: objects.known(["other"]))
    until(objects.refreshed_until)


def test_only_attempts_that_get_nothing_done_make_the_delays_longer(
    night: Night, receiver: Receiver, make_poster: MakePoster, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.start()
    alert = night.longest[0]
    night.outbox.add(night.candidates(alert, [1]))
    stalled: list[int] = []
    postpone = Outbox.postpone

    def noting(outbox: Outbox, ids: list[str], error: Any, wait_s: float, number: int) -> None:
        stalled.append(number)
        postpone(outbox, ids, error, wait_s, number)

    def fails(*_: Any) -> None:
        raise SkyPortalError("500", 500, retriable=True)

    monkeypatch.setattr(Outbox, "postpone", noting)
    with monkeypatch.context() as patch:
        patch.setattr(SkyPortal, "put_photometry", fails)
        make_poster()
        until(lambda: len(stalled) >= 3)
    until(lambda: drained(night))
    assert stalled[:3] == [0, 1, 2], "candidate and annotation were posted before the first failure"


def test_delays_grow_up_to_a_limit() -> None:
    delays = [delay_s(attempts, 300) for attempts in range(2000)]
    assert delays[0] <= 0.5
    assert 0.5 <= delays[2] <= 2
    assert all(150 <= delay <= 300 for delay in delays[10:])
