"""Batches on a real dask cluster whose task dies, fails or meets an absent database, as told by the packets."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from kowalski import dispatcher as dispatcher_module
from kowalski.alerts.decode import Packet
from kowalski.batch_report import BatchReport
from kowalski.config import build, isolated_tree, merge
from kowalski.dask_cluster import DASK_SETTINGS
from kowalski.database.client import MongoDatabase
from kowalski.dispatcher import Dispatcher
from kowalski.errors import DatabaseUnavailable
from kowalski.settings import Config, Database

POISON, FAULTY = b"poison", b"faulty"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes, on a scheduler with Kowalski's own settings.

    A nanny that can't reach its new worker in time gives up for good; a survey's cluster has another one take its place, this one hasn't.
    """
    with (
        dask.config.set({**DASK_SETTINGS, "distributed.comm.timeouts.connect": "120s"}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def config(cluster: LocalCluster, mongo_settings: Database) -> Config:
    """Settings that name the cluster and a database of this test's own."""
    port = int(cluster.scheduler_address.rpartition(":")[2])
    tree = isolated_tree({"database": mongo_settings.model_dump(), "broker": {"retry_delay": 0.1}})
    return build(merge(tree, {"dask": {"host": "127.0.0.1", "scheduler_port": port, "n_workers": 2}}))


@pytest.fixture
def dispatcher(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    """A dispatcher whose task notes what it processed in a folder, dies of poison and fails of faulty packets."""
    done, absent = str(tmp_path), tmp_path / "database_is_absent"

    def task(survey: str, packets: list[Packet], posting: bool, resume: bool) -> BatchReport:
        time.sleep(0.05)
        if absent.exists():
            raise DatabaseUnavailable("no primary")
        for packet in packets:
            if packet.data == POISON:
                os._exit(1)
            if packet.data == FAULTY:
                raise RuntimeError("this packet is beyond us")
        for packet in packets:
            Path(done, f"done-{packet.offset}").touch()
        return BatchReport(received=len(packets), stored=len(packets))

    monkeypatch.setattr(dispatcher_module, "process_batch", task)
    dispatcher = Dispatcher("ZTF", config)
    yield dispatcher
    dispatcher.close()


def packets(number: int, **special: bytes) -> list[Packet]:
    """Packets with offsets from 0; ``at_3=POISON`` makes the fourth special."""
    return [Packet(special.get(f"at_{offset}", b"fine"), "topic", 0, offset) for offset in range(number)]


def finish(dispatcher: Dispatcher) -> list[int]:
    """Offsets of all that is done, once nothing is under way or waiting."""
    offsets = []
    deadline = time.monotonic() + 250
    while not dispatcher.idle:
        assert time.monotonic() < deadline, "batches are still under way"
        for batch in dispatcher.finished(timeout=0.1):
            offsets += [packet.offset for packet in batch.packets]
    return sorted(offsets)


def done(folder: Path) -> set[int]:
    """Offsets that the task finished."""
    return {int(path.name.removeprefix("done-")) for path in folder.glob("done-*")}


def test_workers_that_joined_from_elsewhere_get_batches(config: Config) -> None:
    """As many batches are under way as all the scheduler's workers take, not those of the settings."""
    one = config.dask_for("ZTF").model_copy(update={"n_workers": 1})
    dispatcher = Dispatcher("ZTF", config.model_copy(update={"dask": {"ztf": one}}))
    try:
        deadline = time.monotonic() + 120
        while dispatcher.window != 2 * config.broker.batches_per_worker:  # known within 2 s
            assert time.monotonic() < deadline, dispatcher.window
            time.sleep(0.05)
    finally:
        dispatcher.close()


def test_faulty_packet_alone_goes_to_quarantine(
    dispatcher: Dispatcher, config: Config, tmp_path: Path, mongo: MongoDatabase
) -> None:
    """A batch that fails is halved until the one packet at fault is alone; the others are processed."""
    dispatcher.begin(packets(16, at_11=FAULTY))
    assert finish(dispatcher) == list(range(16))
    assert done(tmp_path) == set(range(16)) - {11}
    [kept] = mongo.quarantine.find()
    assert (kept["offset"], kept["reason"], kept["data"]) == (11, "failed", FAULTY)
    assert "this packet is beyond us" in kept["detail"]
    assert dispatcher.report.quarantined == {"failed": 1}
    assert dispatcher.quarantine.room.max_bytes == config.broker.quarantine_bytes
    assert dispatcher.report.received == 16


def test_packet_that_kills_workers_is_found(dispatcher: Dispatcher, tmp_path: Path, mongo: MongoDatabase) -> None:
    """Of two batches under way when workers die, only the packet that kills them ends in quarantine."""
    first, second = packets(8, at_5=POISON), packets(16)[8:]
    dispatcher.begin(first)
    dispatcher.begin(second)
    assert finish(dispatcher) == list(range(16))
    assert done(tmp_path) == set(range(16)) - {5}
    [kept] = mongo.quarantine.find()
    assert (kept["offset"], kept["reason"]) == (5, "kills_workers")


def test_absent_database_delays_and_loses_nothing(dispatcher: Dispatcher, tmp_path: Path, mongo: MongoDatabase) -> None:
    """Batches that can't reach MongoDB go again until they can."""
    absent = tmp_path / "database_is_absent"
    absent.touch()
    dispatcher.begin(packets(4))
    assert dispatcher.finished(timeout=5) == []
    assert not dispatcher.idle
    absent.unlink()
    assert finish(dispatcher) == [0, 1, 2, 3]
    assert done(tmp_path) == {0, 1, 2, 3}
    assert mongo.quarantine.count_documents({}) == 0
