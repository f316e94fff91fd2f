"""A worker that keeps its packets: whatever comes is on disk before a batch is done, or the batch comes again."""

from pathlib import Path

import pytest
from packets import encode, packet, ztf_record
from worker_harness import state, visits

from kowalski.alert_worker import AlertWorker
from kowalski.archive.packets.reading import PacketArchive
from kowalski.archive.packets.writer import ArchiveWriter
from kowalski.database.client import MongoDatabase
from kowalski.errors import ArchiveUnavailable, DatabaseUnavailable


@pytest.fixture
def keeping(worker: AlertWorker, tmp_path: Path) -> AlertWorker:
    worker.archive = ArchiveWriter(tmp_path / "archive", worker.survey, worker.schemas, 1 << 28)
    return worker


def kept(tmp_path: Path) -> list[bytes]:
    archive = PacketArchive(tmp_path / "archive")
    return [each.received() for night in archive.nights("ZTF") for each in archive.messages("ZTF", night)]


def test_what_is_taken_and_what_is_refused(keeping: AlertWorker, stocked: MongoDatabase, tmp_path: Path) -> None:
    packets = [*visits(2, 2), packet(b"garbage", 4)]
    report = keeping.process(packets)
    assert (report.stored, report.quarantined) == (4, {"not_avro": 1})
    assert report.seconds["archive"] >= 0
    assert kept(tmp_path) == [each.data for each in packets]
    assert keeping.process([packet(b"nothing else", 5)]).stored == 0
    assert len(kept(tmp_path)) == 6


def test_a_history_is_not_the_nights(keeping: AlertWorker, stocked: MongoDatabase, tmp_path: Path) -> None:
    keeping.backfill(visits(1, 1))
    assert kept(tmp_path) == []


def test_a_disk_that_is_away(keeping: AlertWorker, stocked: MongoDatabase, tmp_path: Path) -> None:
    """The batch is not done; when it comes again all is stored once, and kept."""
    packets = visits(2, 2)
    (tmp_path / "archive").write_text("no folder")
    with pytest.raises(ArchiveUnavailable, match="no packet is acknowledged until it can"):
        keeping.process(packets)
    (tmp_path / "archive").unlink()
    keeping.process(packets)
    assert kept(tmp_path) == [each.data for each in packets]
    assert len(state(stocked)["ZTF_alerts"]) == 4


def test_a_database_that_is_away_for_long(keeping: AlertWorker, stocked: MongoDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A batch that comes again and again is kept once."""
    packets = [packet(encode(ztf_record(7)), 1)]

    def away(documents: object) -> None:
        raise DatabaseUnavailable("no primary")

    with monkeypatch.context() as patch:
        patch.setattr(keeping.alerts, "insert", away)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                keeping.process(packets)
    keeping.process(packets)
    (path,) = (tmp_path / "archive").rglob("*.avro")
    assert path.read_bytes().count(b"ZTF23aaaaaaa") == 1
    assert kept(tmp_path) == [packets[0].data]
