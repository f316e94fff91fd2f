"""Quarantine: refused packets with their bytes and the reason, each once, whatever their size."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gridfs import GridFS
from packets import packet

from kowalski.alerts.document import Refusal
from kowalski.database.client import MongoDatabase
from kowalski.database.quarantine import Quarantine, Selection

LIMIT = 1000
BOUND = 50_000_000
AT = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def quarantine(mongo: MongoDatabase) -> Quarantine:
    room = Quarantine(mongo, LIMIT, BOUND)
    room.ensure_indexes()
    return room


def refusal(data: bytes, offset: int = 5, reason: str = "truncated") -> Refusal:
    return Refusal(packet(data, offset, "ztf_20230101_programid1"), reason, "ends early")


def of_a_day(begin: datetime) -> Selection:
    return Selection(survey="ZTF", begin=begin, end=begin + timedelta(days=1))


KEY = "ztf_20230101_programid1:0:5"


def test_a_packet_is_kept_with_its_bytes_and_the_reason(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    quarantine.add("ZTF", [refusal(b"data")])
    (document,) = mongo["quarantine"].find()
    assert abs((datetime.now(UTC).replace(tzinfo=None) - document.pop("at")).total_seconds()) < 60
    assert document == {
        "_id": KEY,
        "survey": "ZTF",
        "topic": "ztf_20230101_programid1",
        "partition": 0,
        "offset": 5,
        "timestamp": datetime(1970, 1, 1),  # noqa: DTZ001 - MongoDB's are UTC without saying so
        "reason": "truncated",
        "detail": "ends early",
        "size": 4,
        "sha256": "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",
        "held": 4,
        "data": b"data",
    }
    assert quarantine.data(KEY) == b"data"


def test_a_packet_of_no_bytes(quarantine: Quarantine) -> None:
    quarantine.add("ZTF", [refusal(b"", reason="empty")])
    assert quarantine.data(KEY) == b""


def test_what_is_not_there(quarantine: Quarantine) -> None:
    assert quarantine.data("nothing:0:0") is None


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 20_000_000])
def test_any_size_comes_back(quarantine: Quarantine, mongo: MongoDatabase, size: int) -> None:
    """20 MB are more than a document holds."""
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    quarantine.add("ZTF", [refusal(data)])
    assert quarantine.data(KEY) == data
    (document,) = mongo["quarantine"].find()
    assert ("data" in document, "file" in document) == (size <= LIMIT, size > LIMIT)
    assert document["size"] == size


@pytest.mark.parametrize("data", [b"small", b"large" * LIMIT])
def test_the_same_packet_again_changes_nothing(quarantine: Quarantine, mongo: MongoDatabase, data: bytes) -> None:
    collections: list[Callable[[], list[dict]]] = [
        lambda: list(mongo["quarantine"].find()),
        lambda: list(mongo["quarantine_files.files"].find()),
        lambda: list(mongo["quarantine_files.chunks"].find()),
    ]
    quarantine.add("ZTF", [refusal(data)])
    before = [read() for read in collections]
    quarantine.add("ZTF", [refusal(data), refusal(data, reason="failed")])
    assert [read() for read in collections] == before


def test_a_large_packet_whose_writing_was_cut_off_is_written_whole(
    quarantine: Quarantine, mongo: MongoDatabase
) -> None:
    data = b"large" * 200_000
    quarantine.add("ZTF", [refusal(data)])
    mongo["quarantine"].delete_many({})
    mongo["quarantine_files.files"].delete_many({})  # is written last
    mongo["quarantine_files.chunks"].delete_one({"n": 2})
    quarantine.add("ZTF", [refusal(data)])
    assert quarantine.data(KEY) == data
    assert len(GridFS(mongo, "quarantine_files").list()) == 1


def test_packets_of_one_batch_are_kept_apart(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    quarantine.add("ZTF", [refusal(f"packet {offset}".encode(), offset) for offset in range(5)])
    quarantine.add("PGIR", [Refusal(packet(b"other", 5, "pgir_20230101"), "empty", "")])
    assert mongo["quarantine"].count_documents({"survey": "ZTF"}) == 5
    assert quarantine.data("pgir_20230101:0:5") == b"other"


def test_a_long_explanation_is_cut(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    quarantine.add("ZTF", [Refusal(packet(b""), "failed", "x" * 20_000_000)])
    document = mongo["quarantine"].find_one()
    assert document is not None
    assert len(document["detail"]) == 10_000


def test_another_attempt(quarantine: Quarantine, mongo: MongoDatabase) -> None:
    """Packets stay until it has come to its end; those refused again stay on, for the new reason; those of others are not touched."""
    large = b"large" * LIMIT
    packets = [
        replace(packet(data, number), timestamp=AT) for number, data in enumerate([b"one", large, b"two", large])
    ]
    later = replace(packet(b"later", 9), timestamp=AT + timedelta(days=1))
    quarantine.add("ZTF", [Refusal(each, "unknown_schema", "704") for each in [*packets, later]])
    quarantine.add("PGIR", [Refusal(replace(each, topic="pgir"), "empty", "") for each in packets])
    attempt = quarantine.take(of_a_day(AT))
    assert list(attempt.packets()) == packets
    assert mongo["quarantine"].count_documents({}) == 9
    quarantine.add("ZTF", [Refusal(packets[2], "corrupt", "still"), Refusal(packets[3], "corrupt", "still")])
    assert attempt.release() == [f"{packets[0].topic}:0:{number}" for number in (0, 1)]
    left = {each["_id"]: each["reason"] for each in mongo["quarantine"].find({"survey": "ZTF"})}
    topic = packets[0].topic
    assert left == {f"{topic}:0:2": "corrupt", f"{topic}:0:3": "corrupt", f"{topic}:0:9": "unknown_schema"}
    assert quarantine.data(f"{topic}:0:3") == large
    assert mongo["quarantine"].count_documents({"survey": "PGIR"}) == 4
    assert len(GridFS(mongo, "quarantine_files").list()) == 3
    assert mongo["quarantine"].count_documents({"replay": {"$exists": True}}) == 0
    assert list(quarantine.take(of_a_day(AT - timedelta(days=1))).packets()) == []


def test_an_attempt_that_was_cut_off_loses_nothing(quarantine: Quarantine) -> None:
    refused = replace(packet(b"one"), timestamp=AT)
    quarantine.add("ZTF", [Refusal(refused, "unknown_schema", "704")])
    cut_off = quarantine.take(of_a_day(AT))
    assert list(cut_off.packets()) == [refused]
    other = quarantine.take(of_a_day(AT))
    assert cut_off.release() == []
    assert list(other.packets()) == [refused]
    assert other.release() == [KEY.replace(":5", ":0")]
