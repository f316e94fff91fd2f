"""Alerts that their survey withdraws: those who got them are told, once; who didn't, doesn't get them any more."""

import io
from collections.abc import Callable
from typing import Any

import fastavro
from outbox_harness import FILTERS, GROUP, Night, Receiver, until
from test_results import fill

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.document import Alert
from kowalski.database.alerts import Alerts
from kowalski.database.outbox import FOLLOW_UP, KAFKA, follow_up_id
from kowalski.outbox.results import messages_of
from kowalski.outbox.withdrawals import withdraw, withdraw_late, withdrawn_by
from kowalski.skyportal.photometry import make_photometry

JD = 2461041.5
SAID = "ZTF withdrew alert {} on 2026-01-01 00:00 UTC"


def withdrawal(night: Night, *alerts: Alert, telling: bool = True) -> int:
    moments = {alert.candid: JD for alert in alerts}
    return withdraw(moments, Alerts(night.database, SURVEY), night.outbox, telling)


def settled(night: Night) -> bool:
    return night.database["outbox"].count_documents({"state": "pending"}) == 0


def comments(receiver: Receiver, alert: Alert) -> Any:
    return receiver.received(f"/{alert.object_id}")["comments"]


def test_a_candidate_that_was_posted_is_commented_on(
    night: Night, receiver: Receiver, make_poster: Callable[..., Any]
) -> None:
    alert, other = night.longest[0], night.longest[1]
    receiver.start()
    night.outbox.add(night.candidates(alert) + night.candidates(other))
    make_poster()
    until(lambda: settled(night))
    assert comments(receiver, alert) == []
    assert withdrawal(night, alert) == 1
    until(lambda: settled(night))
    assert comments(receiver, alert) == [{"text": SAID.format(alert.candid), "group_ids": [GROUP]}]
    stored = Alerts(night.database, SURVEY).one(alert.candid)
    assert stored is not None
    assert (stored["candidate"]["withdrawn_jd"], stored["withdrawal_told"]) == (JD, True)
    before = night.states()
    assert withdrawal(night, alert) == 0
    assert night.states() == before
    assert set(before.values()) == {"delivered"}
    assert len(before) == 3 * len(FILTERS)


def test_a_candidate_that_waits_is_not_sent(night: Night, receiver: Receiver, make_poster: Callable[..., Any]) -> None:
    """Nor is its follow-up asked for; the photometry of the object is sent without the point."""
    alert = night.longest[0]
    waiting = night.candidates(alert)
    follow_up = {**waiting[0], "_id": follow_up_id("ZTF", alert.candid, 1), "kind": "followup", "lane": FOLLOW_UP}
    night.outbox.add([*waiting, follow_up])
    withdrawal(night, alert)
    receiver.start()
    make_poster()
    until(lambda: settled(night))
    states = night.states()
    assert [states.pop(entry["_id"]) for entry in (*waiting, follow_up)] == ["expired"] * 3
    assert set(states.values()) == {"delivered"}
    assert ("POST", "candidates") not in receiver.messages()
    assert not [path for _, path in receiver.messages() if "comments" in path]


def test_what_passes_after_the_withdrawal_is_not_sent(
    night: Night, receiver: Receiver, make_poster: Callable[..., Any]
) -> None:
    """The rest of its object's light curve is."""
    alert, other = night.longest[0], night.longest[1]
    receiver.start()
    night.outbox.add(night.candidates(other))
    make_poster()
    until(lambda: settled(night))
    withdrawal(night, alert)
    night.outbox.add(night.candidates(alert) + night.photometry(alert))
    until(lambda: settled(night))
    assert night.states_of(alert) == {"expired", "delivered"}
    assert receiver.messages().count(("POST", "candidates")) == 1
    assert comments(receiver, alert) == []


def test_skyportal_being_away_delays_what_is_told(
    night: Night, receiver: Receiver, make_poster: Callable[..., Any]
) -> None:
    alert = night.longest[0]
    receiver.start()
    night.outbox.add(night.candidates(alert))
    make_poster()
    until(lambda: settled(night))
    receiver.kill()
    withdrawal(night, alert)
    until(lambda: night.database["outbox"].count_documents({"kind": "withdrawal", "attempts": {"$gt": 0}}))
    receiver.start()
    until(lambda: settled(night))
    assert comments(receiver, alert) == [{"text": SAID.format(alert.candid), "group_ids": [GROUP]}]


def test_kafka_is_told_the_same_again_with_the_moment(night: Night) -> None:
    alert = fill(night)[0]
    withdrawal(night, alert)
    entries = list(night.database["outbox"].find({"lane": KAFKA, "candid": alert.candid}))
    assert [entry["kind"] for entry in entries].count("withdrawal") == 2
    told: dict[str, list[Any]] = {}
    for message in messages_of(entries[::-1]):
        (record,) = fastavro.reader(io.BytesIO(message.value))
        told.setdefault(message.topic, []).append(record)
    assert len(told) == 3
    for before, after in told.values():
        assert (before["withdrawn_jd"], after["withdrawn_jd"]) == (None, JD)
        assert {**before, "withdrawn_jd": JD} == after


def test_what_is_told_after_the_withdrawal_is_withdrawn_at_once(night: Night) -> None:
    """The worker that found what passes was slower than the one that met the withdrawal."""
    alert, other = fill(night)[:2]
    chosen = {"lane": KAFKA, "candid": {"$in": [alert.candid, other.candid]}}
    entries = list(night.database["outbox"].find(chosen))
    night.database["outbox"].delete_many(chosen)
    withdrawal(night, alert)
    assert night.database["outbox"].count_documents({"kind": "withdrawal"}) == 0
    alerts = Alerts(night.database, SURVEY)
    for _ in range(2):
        night.outbox.add(entries)
        withdraw_late(entries, alerts, night.outbox)
    told = list(night.database["outbox"].find({"kind": "withdrawal"}))
    assert {each["of"] for each in told} == {each["_id"] for each in entries if each["candid"] == alert.candid}
    assert {each["withdrawn_jd"] for each in told} == {JD}


def test_who_is_not_to_tell_marks_only(night: Night) -> None:
    """A replay that posts nothing leaves the telling to others."""
    alert = night.longest[0]
    night.outbox.add(night.candidates(alert))
    assert withdrawal(night, alert, telling=False) == 1
    assert night.database["outbox"].count_documents({"kind": "withdrawal"}) == 0
    assert withdrawal(night, alert) == 1
    assert night.database["outbox"].count_documents({"kind": "withdrawal"}) == len(FILTERS)


def test_nobody_knows_the_alert(night: Night) -> None:
    assert withdraw({1: JD}, Alerts(night.database, SURVEY), night.outbox, True) == 0
    assert night.states() == {}


def test_a_batch_says_it_of_its_alerts_and_of_their_history(night: Night) -> None:
    alert, other = night.longest[:2]
    assert withdrawn_by([alert, other], SURVEY) == {}
    alert.candidate["withdrawn_jd"] = JD
    other.histories["prv_candidates"] = [{"jd": JD - 9, "candid": 5, "withdrawn_jd": JD - 1}, {"jd": JD, "candid": 6}]
    other.histories["fp_hists"] = [{"jd": JD - 9, "candid": 7, "withdrawn_jd": JD - 1}]
    assert withdrawn_by([alert, other], SURVEY) == {alert.candid: JD, 5: JD - 1}
    assert len(make_photometry(alert.candidate, other.histories["prv_candidates"][:1], [], SURVEY)["mjd"]) == 0
