"""What is discarded from quarantine, what it keeps when it is full, and how both are counted."""

import hashlib
import logging
from typing import Any

import pytest
from emptied import mongo_settings, shared_settings
from gridfs import GridFS
from packets import packet

from kowalski.alerts.document import Refusal
from kowalski.database import quarantine_room
from kowalski.database.client import MongoDatabase
from kowalski.database.quarantine import Quarantine, Selection
from kowalski.database.quarantine_room import ANY_TIME, BELIEVED, HEAD, Standing, counts
from kowalski.database.quarantined import Quarantined

__all__ = ["mongo_settings", "shared_settings"]

LIMIT, BOUND = 200_000, 1_000_000
TOPIC = "ztf_20230101_programid1"


@pytest.fixture
def quarantine(mongo: MongoDatabase) -> Quarantine:
    room = Quarantine(mongo, LIMIT, BOUND)
    room.ensure_indexes()
    return room


def refuse(quarantine: Quarantine, data: bytes, offset: int, reason: str = "truncated", survey: str = "ZTF") -> str:
    """The key of a packet in quarantine."""
    quarantine.add(survey, [Refusal(packet(data, offset, TOPIC), reason, f"packet {offset}")])
    return f"{TOPIC}:0:{offset}"


def test_beyond_the_bound_only_heads_are_kept_and_then_nothing(
    quarantine: Quarantine, mongo: MongoDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """Every packet has its document; a tenth more than the bound is never held; the log says so, once."""
    size = 300_000
    contents = [bytes([number]) * size for number in range(6)]
    with caplog.at_level(logging.WARNING):
        keys = [refuse(quarantine, data, number) for number, data in enumerate(contents)]
    kept = {each["_id"]: each for each in mongo["quarantine"].find()}
    assert [kept[key]["held"] for key in keys] == [size, size, size, HEAD, HEAD, HEAD]
    assert [key for key in keys if kept[key].get("truncated")] == keys[3:]
    assert (kept[keys[3]]["head"], kept[keys[3]]["size"]) == (contents[3][:HEAD], size)
    assert kept[keys[3]]["sha256"] == hashlib.sha256(contents[3]).hexdigest()
    assert (quarantine.data(keys[2]), quarantine.data(keys[3])) == (contents[2], None)
    assert Quarantined(mongo).standing() == Standing(6, 3, 0, 3 * size + 3 * HEAD)
    refuse(quarantine, b"small", 6)
    refuse(quarantine, contents[0], 7)
    assert [each["held"] for each in mongo["quarantine"].find({"offset": {"$gt": 5}})] == [5, 0]
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "broker.quarantine_bytes" in caplog.text


def test_room_that_others_take_and_make_is_seen(mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process keeps counts as soon as the sum is read anew, as does what is discarded."""
    clock = [0.0]
    monkeypatch.setattr(quarantine_room, "monotonic", lambda: clock[0])
    one, other = Quarantine(mongo, LIMIT, BOUND), Quarantine(mongo, LIMIT, BOUND)
    refuse(one, b"", 0)
    refuse(other, bytes(BOUND), 1)
    assert one.room.take(BOUND) == BOUND  # believes what it has seen
    clock[0] += BELIEVED
    assert one.room.take(BOUND) == HEAD
    other.discard(Selection(survey="ZTF"), "of a test", "nobody")
    clock[0] += BELIEVED
    assert one.room.take(BOUND) == BOUND


def test_sums_are_read_of_an_index_alone(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    """No document is looked at, whatever there is in it; the latest are found without a sort."""
    for number in range(20):
        refuse(quarantine, b"data", number, survey="ZTF" if number % 2 else "PGIR")
    quarantine.discard(Selection(keys=(f"{TOPIC}:0:19",)), "why not", "nobody")
    for pipeline in (counts(), counts({"survey": "$survey", "reason": "$reason"}, {"survey": "ZTF"})):
        explained = mongo.command(
            "explain", {"aggregate": "quarantine", "pipeline": pipeline, "cursor": {}}, verbosity="executionStats"
        )
        assert stats_of(explained)["totalDocsExamined"] == 0, explained
    query = {
        "find": "quarantine",
        "filter": ANY_TIME | {"discarded.at": None, "survey": "ZTF"},
        "sort": {"at": -1},
        "limit": 3,
    }
    stats = stats_of(mongo.command("explain", query, verbosity="executionStats"))
    assert (stats["nReturned"], stats["totalDocsExamined"]) == (3, 3)
    assert [each["_id"] for each in Quarantined(mongo).latest(Selection(survey="ZTF"), 2)] == [
        f"{TOPIC}:0:{number}" for number in (17, 15)
    ]


def stats_of(explained: dict[str, Any]) -> dict[str, Any]:
    """The statistics of an execution, wherever this MongoDB puts them."""
    if "executionStats" in explained:
        return explained["executionStats"]
    return explained["stages"][0]["$cursor"]["executionStats"]


@pytest.mark.parametrize("size", [10, LIMIT + 1, 2 * BOUND], ids=["in its document", "in GridFS", "head only"])
def test_what_is_discarded_stays_on_record_without_its_bytes(
    quarantine: Quarantine, mongo: MongoDatabase, size: int
) -> None:
    """With when, why and who; it is not taken for another attempt, nor does the same message bring it back."""
    data = b"x" * size
    key, other = refuse(quarantine, data, 1), refuse(quarantine, b"other", 2)
    attempt = quarantine.take(Selection(survey="ZTF"))
    assert quarantine.discard(Selection(keys=(key,)), "it is a test", "somebody") == 1
    assert quarantine.discard(Selection(keys=(key,)), "again", "somebody else") == 0
    refuse(quarantine, data, 1, "not_avro")
    (record,) = mongo["quarantine"].find({"_id": key}, {"at": 0, "timestamp": 0, "discarded.at": 0})
    assert record == {
        "_id": key, "survey": "ZTF", "topic": TOPIC, "partition": 0, "offset": 1, "size": size, "sha256": hashlib.sha256(data).hexdigest(),
        "held": 0, "reason": "truncated", "detail": "packet 1", "discarded": {"because": "it is a test", "by": "somebody"},
    }  # fmt: skip
    assert quarantine.data(key) is None
    assert GridFS(mongo, "quarantine_files").list() == []
    assert [each.offset for each in attempt.packets()] == [2]
    assert attempt.release() == [other]
    assert list(quarantine.take(Selection()).packets()) == []
    assert Quarantined(mongo).standing() == Standing(0, 0, 1, 0)
    assert [each["_id"] for each in Quarantined(mongo).latest(Selection(), 5, discarded=True)] == [key]


def test_a_discard_that_was_cut_off_is_finished_by_the_next(
    quarantine: Quarantine, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = refuse(quarantine, bytes(LIMIT + 1), 1)

    def cut_off(_: str) -> None:
        raise OSError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(quarantine.files, "delete", cut_off)
        with pytest.raises(OSError, match="power"):
            quarantine.discard(Selection(survey="ZTF"), "the first reason", "somebody")
    assert GridFS(mongo, "quarantine_files").list() == [key]
    assert quarantine.discard(Selection(survey="ZTF"), "the second reason", "somebody") == 0
    assert GridFS(mongo, "quarantine_files").list() == []
    assert mongo["quarantine"].find_one()["discarded"]["because"] == "the first reason"  # type: ignore[index]


def test_a_head_is_completed_from_elsewhere(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    """By what has the right hash; others stay, and it is said why."""
    whole = [bytes([number]) * 2 * BOUND for number in range(3)]
    keys = [refuse(quarantine, data, number) for number, data in enumerate(whole)]
    attempt = quarantine.take(Selection(reason="truncated"))
    there = {0: whole[0], 1: whole[0]}
    packets = list(attempt.packets(lambda topic, partition, offset: there.get(offset)))
    assert [(each.offset, each.data) for each in packets] == [(0, whole[0])]
    assert {key: why.partition("Kafka ")[2] for key, why in attempt.left.items()} == {
        keys[1]: "has another message in its place",
        keys[2]: "has expired it",
    }
    assert attempt.release() == [keys[0]]
    assert mongo["quarantine"].count_documents({"truncated": True}) == 2


def test_selections(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    refuse(quarantine, b"1", 1)
    refuse(quarantine, b"22", 2, "empty")
    refuse(quarantine, b"333", 3, "empty", "PGIR")
    assert [each.offset for each in quarantine.take(Selection(reason="empty")).packets()] == [2, 3]
    assert [each.offset for each in quarantine.take(Selection("ZTF", "empty")).packets()] == [2]
    assert [each.offset for each in quarantine.take(Selection(keys=(f"{TOPIC}:0:3",))).packets()] == [3]
    look = Quarantined(mongo)
    assert look.surveys(Selection()) == ["PGIR", "ZTF"]
    groups = [
        (each.survey, each.reason, each.standing.packets, each.standing.held) for each in look.groups(Selection())
    ]
    assert groups == [("PGIR", "empty", 1, 3), ("ZTF", "empty", 1, 2), ("ZTF", "truncated", 1, 1)]
