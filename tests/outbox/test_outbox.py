"""The outbox: once each, in order per object, tonight's first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kowalski.alerts.times import jd_of
from kowalski.database.client import MongoDatabase
from kowalski.database.outbox import FOLLOW_UP, OF_TARGET, SKYPORTAL, Entry, Outbox, Target
from kowalski.errors import TooLarge

NOW = datetime.now(UTC)
JD_NOW = jd_of(NOW)
LATER = NOW + timedelta(hours=1)
#: s
HOUR = 3600.0


@pytest.fixture
def outbox(mongo: MongoDatabase) -> Outbox:
    outbox = Outbox(mongo)
    outbox.ensure_indexes()
    return outbox


def entry(name: str, jd: float, candid: int = 1, **changes: Any) -> Entry:
    return {
        "_id": f"ZTF:{name}:{candid}",
        "kind": "candidate",
        "survey": "ZTF",
        "objectId": name,
        "candid": candid,
        "jd": jd,
        "passed_at": NOW,
        "kafka": {"timestamp": NOW},
        **changes,
    }


def names(outbox: Outbox, limit: int = 10, now: datetime = NOW) -> list[str]:
    return [target.objectId for target in outbox.objects_due(now, limit)]


def test_an_entry_is_stored_once_and_its_first_version_wins(outbox: Outbox) -> None:
    first, second = entry("a", 1.0), entry("b", 1.0)
    assert outbox.add([]) == 0
    assert outbox.add([first]) == 1
    assert outbox.add([{**first, "passed_at": LATER}, second]) == 1
    assert outbox.add([first, second]) == 0
    (stored,) = outbox.pending_of(Target("ZTF", "a"))
    assert (stored["state"], stored["attempts"], stored["done"]) == ("pending", 0, [])
    assert abs(stored["passed_at"] - NOW) < timedelta(milliseconds=1)


def test_tonights_objects_come_first_and_then_the_oldest(outbox: Outbox) -> None:
    old = [entry("older", JD_NOW - 30), entry("old", JD_NOW - 20), entry("old", JD_NOW - 10, 2)]
    outbox.add([*old, entry("late", JD_NOW - 0.1), entry("early", JD_NOW - 0.2)])
    assert names(outbox) == ["early", "late", "older", "old"]
    assert names(outbox, limit=3) == ["early", "late", "older"]


def test_the_entries_of_an_object_are_in_the_order_of_its_alerts(outbox: Outbox) -> None:
    outbox.add([entry("a", 3.0, 1), entry("a", 2.0, 9), entry("a", 2.0, 8), entry("b", 1.0)])
    assert [one["candid"] for one in outbox.pending_of(Target("ZTF", "a"))] == [8, 9, 1]


def test_an_object_rests_while_an_entry_of_it_waits(outbox: Outbox) -> None:
    outbox.add([entry("a", 1.0, 1), entry("a", 2.0, 2), entry("b", 3.0)])
    outbox.postpone(["ZTF:a:1"], {"message": "busy"}, HOUR)
    later = datetime.now(UTC) + timedelta(seconds=HOUR)
    assert names(outbox) == ["b"]
    assert names(outbox, now=later + timedelta(minutes=5)) == ["a", "b"]
    waiting = outbox.pending_of(Target("ZTF", "a"))[0]
    assert (waiting["attempts"], waiting["error"]) == (1, {"message": "busy"})
    assert abs(waiting["next_attempt_at"] - later) < timedelta(minutes=5), "by the server's clock"


def test_what_is_closed_is_not_due_and_stays_closed(outbox: Outbox) -> None:
    outbox.add([entry("a", 1.0), entry("b", 1.0), entry("c", 1.0)])
    outbox.step_done(["ZTF:a:1"], "candidate")
    outbox.deliver(["ZTF:a:1"])
    outbox.fail(["ZTF:b:1"], {"status": 400})
    outbox.postpone(["ZTF:a:1", "ZTF:b:1"], {}, HOUR)
    outbox.deliver(["ZTF:b:1"])
    assert names(outbox) == ["c"]
    assert outbox.counts() == {"pending": 1, "delivered": 1, "failed": 1, "expired": 0}
    assert outbox.backlog() == {"pending": 1, "failed": 1}
    assert outbox.add([entry("a", 1.0)]) == 0


def test_what_was_refused_is_due_again_without_delay(outbox: Outbox) -> None:
    outbox.add([entry("a", 1.0), entry("b", 1.0), entry("c", 1.0)])
    outbox.postpone(["ZTF:a:1"], {"status": 500}, 0, stalled=9)
    outbox.fail(["ZTF:a:1", "ZTF:b:1"], {"status": 400})
    assert outbox.retry(["ZTF:a:1", "ZTF:c:1"]) == 1
    assert names(outbox) == ["a", "c"]
    assert outbox.pending_of(Target("ZTF", "a"))[0]["stalled"] == 0
    assert outbox.retry() == 1


def test_an_entry_is_claimed_as_it_was_seen_or_not_at_all(outbox: Outbox) -> None:
    outbox.add([entry("a", 1.0), entry("b", 1.0)])
    assert outbox.claim("ZTF:a:1", {"sending_at": None}, sending_at=NOW)
    assert not outbox.claim("ZTF:a:1", {"sending_at": None}, sending_at=LATER)
    (seen,) = outbox.pending_of(Target("ZTF", "a"))
    assert outbox.claim("ZTF:a:1", {"sending_at": seen["sending_at"]}, sending_at=LATER)
    outbox.deliver(["ZTF:b:1"])
    assert not outbox.claim("ZTF:b:1", {"sending_at": None}, sending_at=NOW)


def test_latency_counts_from_kafkas_time_stamp(outbox: Outbox) -> None:
    assert outbox.latency_seconds() is None
    sent_at = datetime.now(UTC) - timedelta(seconds=10)
    outbox.add([entry(str(number), 1.0, kafka={"timestamp": sent_at}) for number in range(5)])
    outbox.deliver([f"ZTF:{number}:1" for number in range(5)])
    latency = outbox.latency_seconds()
    assert latency is not None
    assert 10 <= latency["p50"] <= latency["p99"] < 20


def test_looking_for_work_reads_only_indexes(outbox: Outbox, mongo: MongoDatabase) -> None:
    outbox.add([entry("a", 1.0)])
    for index, query in (
        ("pending_lane_jd", {"jd": {"$gte": 0}}),
        ("pending_lane_next_attempt", {"next_attempt_at": {"$gt": NOW}}),
    ):
        pending = {"state": "pending", "lane": {"$in": [SKYPORTAL, FOLLOW_UP]}, **query}
        found = mongo["outbox"].find(pending, OF_TARGET).hint(index)
        assert found.explain()["queryPlanner"]["winningPlan"]["stage"] == "PROJECTION_COVERED"


def test_the_lanes_of_an_object_do_not_wait_for_each_other(outbox: Outbox) -> None:
    outbox.add([entry("a", 1.0), {**entry("a", 1.0), "_id": "followup", "lane": FOLLOW_UP}])
    assert set(outbox.objects_due(NOW, 10)) == {Target("ZTF", "a"), Target("ZTF", "a", FOLLOW_UP)}
    outbox.postpone(["followup"], {}, HOUR)
    assert outbox.objects_due(NOW, 10) == [Target("ZTF", "a")]
    assert [one["_id"] for one in outbox.pending_of(Target("ZTF", "a"))] == ["ZTF:a:1"]
    outbox.expire(["followup"], {"message": "too late"})
    assert outbox.counts() == {"pending": 1, "delivered": 0, "failed": 0, "expired": 1}


def test_an_entry_that_is_too_large_keeps_no_other_from_being_stored(outbox: Outbox) -> None:
    """It fails its alert's packet, which goes to quarantine: for the other filters it is as if it had been alone."""
    entries = [entry("a", 1.0, 1, annotations={"n": 1}), entry("a", 1.0, 2, annotations={"x": "x" * 17_000_000})]
    for _ in range(2):
        with pytest.raises(TooLarge, match="outbox: add: "):
            outbox.add(entries)
        assert [each["candid"] for each in outbox.pending_of(Target("ZTF", "a"))] == [1]
