"""Packets that add to the histories of their objects and nothing else."""

from pathlib import Path

from bson.int64 import Int64
from packets import JD, packet, real_packets, ztf_packets, ztf_record
from worker_harness import MakeWorker, in_batches, settled, state, visits

from kowalski.database.client import MongoDatabase


def test_histories_are_as_the_chain_would_have_made_them(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    """In any order, any number of times, and the chain after it stores the alerts as if nothing had been."""
    packets, worker = visits(), make_worker()
    worker.process(packets)
    whole = settled(stocked)
    for name in whole:
        stocked[name].delete_many({})
    for batch in (*in_batches(packets[::-1], 7), *in_batches(packets, 3)):
        report = worker.backfill(batch)
        assert (report.received, report.stored, report.passed, report.posted) == (len(batch), 0, {}, 0)
    found = settled(stocked)
    assert found["ZTF_alerts_aux"] == whole["ZTF_alerts_aux"]
    assert all(each["cross_matches"]["Gaia_EDR3"] for each in found["ZTF_alerts_aux"])
    assert (found["ZTF_alerts"], found["outbox"], found["quarantine"]) == ([], [], [])
    assert worker.process(packets).stored == 20
    assert settled(stocked) == whole


def test_real_packets(make_worker: MakeWorker, stocked: MongoDatabase, test_data: Path) -> None:
    packets, worker = real_packets(test_data), make_worker()
    worker.process(packets)
    whole = settled(stocked)["ZTF_alerts_aux"]
    assert len(whole) == 35
    for name in state(stocked):
        stocked[name].delete_many({})
    for batch in in_batches(packets, 10):
        worker.backfill(batch)
    found = settled(stocked)
    assert (found["ZTF_alerts_aux"], found["ZTF_alerts"]) == (whole, [])


def test_what_is_known_stays(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    """The back-fill of an old night adds its points to objects whose alerts are stored, and changes no alert."""
    packets, worker = visits(), make_worker()
    late = [each for each in packets if each.offset % 4 == 3]  # the last of each object
    worker.process(late)
    before = settled(stocked)
    worker.backfill(packets)
    after = settled(stocked)
    assert (after["ZTF_alerts"], after["outbox"]) == (before["ZTF_alerts"], before["outbox"])
    for old, new in zip(before["ZTF_alerts_aux"], after["ZTF_alerts_aux"], strict=True):
        assert new["first_alert"]["jd"] == JD < old["first_alert"]["jd"]
        assert new["matched"]["candid"] == new["first_alert"]["candid"] != old["matched"]["candid"]
        known = {point["jd"] for point in new["prv_candidates"]}
        assert {point["jd"] for point in old["prv_candidates"]} <= known


def test_broken_packets_are_in_quarantine(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    good = ztf_packets([ztf_record(1, "ZTF23a"), ztf_record(2, "ZTF23b")])
    report = make_worker().backfill(
        [good[0], packet(good[1].data[:-9], 7, "tar:night/2.avro"), packet(b"", 8, "tar:x")]
    )
    assert report.quarantined == {"truncated": 1, "empty": 1}
    assert [each["_id"] for each in stocked["ZTF_alerts_aux"].find()] == ["ZTF23a"]
    assert [(each["topic"], each["offset"]) for each in stocked["quarantine"].find().sort("offset", 1)] == [
        ("tar:night/2.avro", Int64(7)),
        ("tar:x", Int64(8)),
    ]
