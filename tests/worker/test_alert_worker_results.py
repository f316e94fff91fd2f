"""What the chain stores, what it sends on, and what it refuses."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from bson.int64 import Int64
from packets import JD, encode, packet, ztf_record
from worker_harness import CONE, FILTERS, MakeWorker, put_filter, state, visits

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.batches import Batch, Culprit, Fault, Queue, fault_of
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.batch_report import BatchReport
from kowalski.database.client import MongoDatabase
from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.errors import DatabaseError
from kowalski.filters.definition import compile_filter

# wrong input ---------------------------------------------------------------------------------------------------------


def test_bad_packets_among_good_ones(worker: AlertWorker, stocked: MongoDatabase) -> None:
    good = visits(objects=2, packets=2)
    bad = {
        "empty": b"", "not_avro": b"junk", "truncated": good[0].data[:900], "position": encode(ztf_record(90, ra=float("nan"))),
        "cutout": encode(ztf_record(91) | {"cutoutScience": None}), "field": encode(ztf_record(92) | {"objectId": ""}),
    }  # fmt: skip
    packets = [packet(data, 100 + number) for number, data in enumerate(bad.values())]
    report = worker.process([packets[0], *good[:2], *packets[1:], *good[2:]])
    assert (report.received, report.stored, report.quarantined) == (10, 4, dict.fromkeys(bad, 1))
    kept = {document["reason"]: document["data"] for document in stocked["quarantine"].find()}
    assert kept == bad
    assert len(state(stocked)["ZTF_alerts"]) == 4


def test_nothing_but_bad_packets_and_nothing_at_all(worker: AlertWorker, mongo: MongoDatabase) -> None:
    assert worker.process([packet(b"")]).quarantined == {"empty": 1}
    assert worker.quarantine.room.max_bytes == 10 << 30
    assert worker.process([]).received == 0
    assert state(mongo)["ZTF_alerts"] == []


def test_packets_larger_than_a_document(worker: AlertWorker, stocked: MongoDatabase) -> None:
    """One that is none, and one that is but does not fit into MongoDB: both end in quarantine, whole, and nothing else does."""
    good = visits(objects=2, packets=2)
    junk = packet(bytes(20_000_000), 100)
    huge = ztf_record(77, "ZTFhuge") | {"cutoutScience": {"fileName": "x", "stampData": bytes(16_800_000)}}
    valid = packet(encode(huge), 101)
    assert process_all(worker, [*good[:1], junk, valid, *good[1:]]) == [101]
    assert {document["offset"] for document in stocked["quarantine"].find()} == {100, 101}
    for each in (junk, valid):
        assert worker.quarantine.data(f"{each.topic}:0:{each.offset}") == each.data
    assert {alert["candid"] for alert in state(stocked)["ZTF_alerts"]} == {1, 2, 1001, 1002}
    assert len({entry["candid"] for entry in state(stocked)["outbox"]}) == 4


def process_all(worker: AlertWorker, packets: list[Packet]) -> list[int]:
    """Have batches halved as the dispatcher does; the offsets of the culprits."""
    queue, culprits = Queue(), []
    queue.came_back(Batch(packets), Fault.LOST, None, 0)
    while batch := queue.take(0, []):
        try:
            worker.process(batch.packets)
        except DatabaseError as error:
            culprit: Culprit | None = queue.came_back(batch, fault_of(error), error, 0)
            if culprit:
                worker.quarantine.add("ZTF", [Refusal(culprit.packet, culprit.reason, culprit.detail)])
                culprits.append(culprit.packet.offset)
    return culprits


@pytest.mark.parametrize(
    "pipeline", ['[{"$match": {"x": 99999999999999999999999}}]', "{", '[{"$project": {"_id": 1}}]']
)
def test_no_filter_keeps_alerts_from_being_stored(worker: AlertWorker, stocked: MongoDatabase, pipeline: str) -> None:
    put_filter(stocked, 4, [], fv=[{"fid": "abc123", "pipeline": pipeline}])
    report = worker.process(visits(objects=2, packets=1))
    assert (report.stored, report.passed[1]) == (2, 2)


# what is stored ------------------------------------------------------------------------------------------------------


def test_an_objects_document(worker: AlertWorker, stocked: MongoDatabase) -> None:
    worker.process(visits(objects=2, packets=3))
    document = worker.objects.read(["ZTF23obj1"])["ZTF23obj1"]
    assert list(document["cross_matches"]) == ["Gaia_EDR3", "milliquas"]
    assert [row["_id"] for row in document["cross_matches"]["Gaia_EDR3"]] == [1]
    assert document["cross_matches"]["milliquas"] == []
    matched = document["matched"]
    assert (matched["candid"], matched["catalogs"], matched["absent"], matched["failed"]) == (
        1001,
        ["Gaia_EDR3"],
        ["milliquas"],
        [],
    )
    assert document["first_alert"] == {"jd": JD, "candid": 1001, "ra": 151.0, "dec": 20.0, "forced_complete": True}
    assert document["last_packet"] == {"jd": JD + 2, "candid": 1003}
    assert [point["jd"] - JD for point in document["prv_candidates"]] == [-6, 0, 1]
    assert [point["first_jd"] - JD for point in document["prv_candidates"]] == [0, 1, 2]
    assert [point["jd"] - JD for point in document["fp_hists"]] == list(range(-5, 2))


FOLLOW_UP = {
    "active": True,
    "comment": "bright",
    "allocation_id": 5,
    "payload": {"priority": 1, "filter": "g"},
    "pipeline": [
        {
            "$project": {
                "payload": {"priority": {"$literal": "3"}, "filter": {"$literal": "r"}, "strange": {"$literal": 1}}
            }
        }
    ],
}


def test_outbox_entries(worker: AlertWorker, stocked: MongoDatabase) -> None:
    received = replace(
        visits(objects=1, packets=1)[0], offset=77, partition=3, timestamp=datetime(2026, 1, 2, tzinfo=UTC)
    )
    put_filter(stocked, 2, FILTERS[2], update_annotations=True, autosave={"active": True}, auto_followup=FOLLOW_UP)
    report = worker.process([received])
    assert (report.posted, report.passed) == (2, {1: 1, 2: 1})
    first, second = state(stocked)["outbox"]
    assert abs((datetime.now(UTC).replace(tzinfo=None) - second.pop("passed_at")).total_seconds()) < 60
    for name in ("attempts", "stalled", "next_attempt_at", "delivered_at", "error", "done", "lane"):
        del second[name]
    request = second.pop("auto_followup")
    assert (request["comment"], request["data"]["payload"]) == (
        "bright (priority: 3)",
        {"priority": 3.0, "filter": "r"},
    )
    (document,) = stocked["filters"].find({"filter_id": 2})
    assert second.pop("filter_state") == compile_filter(document).state
    assert second == {
        "_id": "ZTF:1:2", "kind": "candidate", "survey": "ZTF", "candid": 1, "objectId": "ZTF23obj0", "jd": JD,
        "filter_id": 2, "group_id": 12, "fid": "abc123", "permissions": [1, 2, 3], "surveys": {}, "replayed": True, "annotations": {"n": 1, "gaia": 1},
        "update_annotations": True, "autosave": {"comment": None, "ignore_group_ids": [], "saver_id": None}, "state": "pending",
        "kafka": {"topic": received.topic, "partition": 3, "offset": 77, "timestamp": datetime(2026, 1, 2)},  # noqa: DTZ001
    }  # fmt: skip
    assert (first["_id"], first["annotations"], first["autosave"], first["auto_followup"]) == (
        "ZTF:1:1",
        None,
        None,
        None,
    )
    assert stocked["outbox"].count_documents({"candid": {"$type": "long"}}) == 2


def test_photometry_of_objects_that_skyportal_knows(worker: AlertWorker, stocked: MongoDatabase) -> None:
    """Also where no filter passed."""
    stocked["filters"].delete_many({})
    SkyPortalObjects(stocked).add(["ZTF23obj1", "ZTF23other"], "posted")
    assert worker.process(visits(objects=2, packets=2)).posted == 2
    entries = state(stocked)["outbox"]
    assert [(entry["_id"], entry["kind"], entry["objectId"]) for entry in entries] == [
        (f"ZTF:{candid}:photometry", "photometry", "ZTF23obj1") for candid in (1001, 1002)
    ]


def test_nothing_is_posted_unless_the_settings_and_the_caller_say_so(
    make_worker: MakeWorker, stocked: MongoDatabase
) -> None:
    SkyPortalObjects(stocked).add(["ZTF23obj0"], "posted")
    silent = make_worker(broker=False).process(visits(objects=1, packets=2))
    assert (silent.posted, silent.passed[1]) == (0, 2)
    replayed = make_worker().process(visits(objects=1, packets=4), posting=False)
    assert (replayed.posted, replayed.stored, replayed.passed[1]) == (0, 2, 4)
    assert state(stocked)["outbox"] == []


def test_what_is_stored_is_done_where_nothing_was_left_undone(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = visits(objects=1, packets=2)
    worker.process(packets[:1])
    stocked["outbox"].delete_many({})
    report = worker.process(packets, resume=False)
    assert (report.stored, report.known) == (1, 1)
    assert {entry["candid"] for entry in state(stocked)["outbox"]} == {2}


def test_a_filter_sees_the_matches_and_the_history_of_its_time(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = visits(objects=1, packets=3)
    worker.process(packets[2:])
    worker.process(packets[:2])
    annotations = {
        entry["candid"]: entry["annotations"] for entry in state(stocked)["outbox"] if entry["filter_id"] == 2
    }
    assert annotations == {1: {"n": 1, "gaia": 1}, 2: {"n": 2, "gaia": 1}}, "the third is of 19 mag, too faint"


def test_reports_add_up(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = visits(objects=2, packets=2)
    total = BatchReport()
    for batch in (packets[:3], packets[2:], [packet(b"", 99)]):
        total.add(worker.process(batch))
    assert (total.received, total.stored, total.known, total.quarantined) == (6, 4, 1, {"empty": 1})
    assert total.passed[1] == 5
    assert {"decode", "known", "score", "objects", "match", "insert", "filter", "outbox"} <= total.seconds.keys()


# cross-matches -------------------------------------------------------------------------------------------------------


def test_an_earlier_alert_that_comes_later_is_where_the_object_is_matched(
    worker: AlertWorker, stocked: MongoDatabase
) -> None:
    earlier = ztf_record(1, "ZTF23moved", jd=JD - 1, ra=152.0)
    later = ztf_record(2, "ZTF23moved", jd=JD, ra=151.0)
    even_later = ztf_record(3, "ZTF23moved", jd=JD + 1, ra=150.0)

    def match_after(record: dict[str, Any]) -> tuple[int, list[int]]:
        worker.process([packet(encode(record), record["candid"])])
        document = worker.objects.read(["ZTF23moved"])["ZTF23moved"]
        return document["matched"]["candid"], [row["_id"] for row in document["cross_matches"]["Gaia_EDR3"]]

    assert match_after(later) == (2, [1])
    assert match_after(even_later) == (2, [1])
    assert match_after(earlier) == (1, [2])


def test_a_catalogue_that_failed_is_matched_again(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    broken = make_worker(xmatch={"Gaia_EDR3": CONE | {"filter": {"$bogus": 1}}, "milliquas": CONE})
    broken.process(visits(objects=3, packets=1))
    for document in state(stocked)["ZTF_alerts_aux"]:
        assert document["matched"]["failed"] == ["Gaia_EDR3"]
        assert "Gaia_EDR3" not in document["cross_matches"], "never no match"
    assert broken.rematch() == 0
    mended = make_worker()
    assert mended.rematch(limit=2) == 2
    assert mended.rematch() == 1
    assert mended.rematch() == 0
    for number, document in enumerate(state(stocked)["ZTF_alerts_aux"]):
        assert document["matched"]["failed"] == []
        assert [row["_id"] for row in document["cross_matches"]["Gaia_EDR3"]] == [number]
        assert document["prv_candidates"]


def test_the_next_alert_of_an_object_matches_it_again_too(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    packets = visits(objects=1, packets=2)
    make_worker(xmatch={"Gaia_EDR3": CONE | {"filter": {"$bogus": 1}}}).process(packets[:1])
    worker = make_worker()
    worker.process(packets[1:])
    document = worker.objects.read(["ZTF23obj0"])["ZTF23obj0"]
    assert (document["matched"]["failed"], len(document["cross_matches"]["Gaia_EDR3"])) == ([], 1)


def test_thousands_of_failed_matches(worker: AlertWorker, stocked: MongoDatabase) -> None:
    """After a catalogue was away for a night."""
    first = {"jd": JD, "candid": Int64(1), "ra": 150.0, "dec": 20.0}
    worker.objects.create(
        [
            {
                "_id": f"ZTF{n}",
                "first_alert": first,
                "cross_matches": {},
                "matched": {"candid": 1, "failed": ["Gaia_EDR3"]},
            }
            for n in range(1200)
        ]
    )
    assert worker.rematch() + worker.rematch() == 1200


def test_objects_of_the_original_keep_their_matches(worker: AlertWorker, stocked: MongoDatabase) -> None:
    """Their documents say neither when nor where they were matched, and have no version."""
    old = {
        "_id": "ZTF23obj0",
        "cross_matches": {"Gaia_EDR3": [{"_id": "kept"}]},
        "prv_candidates": [{"jd": JD - 30, "fid": 1, "pid": 3, "programid": 1}],
    }
    stocked["ZTF_alerts_aux"].insert_one(old)
    worker.process(visits(objects=1, packets=2))
    document = worker.objects.read(["ZTF23obj0"])["ZTF23obj0"]
    assert document["cross_matches"] == old["cross_matches"]
    assert [point["jd"] - JD for point in document["prv_candidates"]] == [-30, -5, 0]
    assert [entry["annotations"]["n"] for entry in state(stocked)["outbox"] if entry["filter_id"] == 2] == [2, 3]
