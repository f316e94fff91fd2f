"""The chain on real packets and a real MongoDB: the same whatever the order, however often, wherever it was cut off."""

import json
import multiprocessing
import random
import threading
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from histories import ZTF
from interrupted import interrupted
from packets import packet, real_packets
from worker_harness import COLLECTIONS, MakeWorker, in_batches, said_by, settled, state, visits

from kowalski import alert_worker
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.document import read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.config import build, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.errors import DatabaseUnavailable
from kowalski.ml.convert import convert_models
from kowalski.ml.fetch import fetch_models
from kowalski.settings import Config

# real packets --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(test_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of the published networks, fetched and converted."""
    tree = settings_tree([], {})
    ml = {"folder": str(tmp_path_factory.mktemp("weights")), "ZTF": tree["ml"]["ZTF"]}
    config: Config = build(tree | {"ml": tree["ml"] | ml})
    for outcome in fetch_models(config.ml, test_models):
        assert outcome
    assert convert_models(config.ml, "ZTF") == {}
    return ml


def test_real_packets_with_the_published_networks(
    make_worker: MakeWorker, stocked: MongoDatabase, weights: dict[str, Any], test_data: Path, test_models: Path
) -> None:
    packets = real_packets(test_data)
    worker = make_worker(ml=weights)
    report = worker.process(packets)
    assert (report.received, report.stored, report.known, report.quarantined) == (36, 36, 0, {})
    assert {name: len(found) for name, found in state(stocked).items()} | {"outbox": 0} == {
        "ZTF_alerts": 36, "ZTF_alerts_aux": 35, "outbox": 0, "quarantine": 0, "quarantine_files.files": 0, "quarantine_files.chunks": 0,
    }  # fmt: skip
    assert report.model_problems == {}
    reference = json.loads((test_models / "reference_scores.json").read_text())["alerts"]
    for document in state(stocked)["ZTF_alerts"]:
        scores = document["classifications"]
        expected = reference[str(document["candid"])]["scores"]
        assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-4)
        assert scores["braai_version"] == "d6_m9"
        assert scores["acai_h_version"] == "d1_dnn_20201130"
    before = state(stocked)
    assert report.passed[1] == 36
    assert len(before["outbox"]) == report.posted == sum(report.passed.values())
    again = worker.process(packets)
    assert (again.stored, again.known, again.posted) == (0, 36, 0)
    assert state(stocked) == before
    copies = worker.process([replace(each, offset=each.offset + 1000) for each in packets])
    assert (copies.stored, copies.known, copies.posted) == (0, 36, 0)
    assert state(stocked) == before


def test_real_packets_are_stored_unchanged(worker: AlertWorker, mongo: MongoDatabase, test_data: Path) -> None:
    """But for NaN, which equals nothing."""
    packets = real_packets(test_data)
    worker.process(packets)
    alerts, _ = read_batch(packets, ZTF)
    for alert in alerts:
        stored = worker.alerts.one(alert.candid)
        assert stored is not None
        assert stored.pop("kafka")["offset"] == alert.packet.offset
        del stored["_id"], stored["trace"]
        assert stored.pop("provenance") == worker.made_by["_id"]
        assert repr(stored) == repr(alert.document)
        assert isinstance(stored["candid"], Int64)
    assert (
        mongo["ZTF_alerts"].count_documents({"candid": {"$type": "long"}, "candidate.candid": {"$type": "long"}}) == 36
    )


@pytest.mark.parametrize("size", [1, 5, 36])
def test_real_packets_in_any_order(make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, size: int) -> None:
    packets = real_packets(test_data)
    expected = {name: merged({}, said, ZTF) for name, said in said_by(packets).items()}
    random.Random(size).shuffle(packets)
    worker = make_worker()
    for batch in in_batches(packets, size):
        worker.process(batch)
    stored = {document["_id"]: document for document in state(mongo)["ZTF_alerts_aux"]}
    assert stored.keys() == expected.keys()
    for name, document in expected.items():
        assert {key: stored[name][key] for key in document} == document


# order and repetition ------------------------------------------------------------------------------------------------


def test_any_order_and_any_batches_give_the_same(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = visits()
    worker.process(packets)
    expected = settled(stocked)
    assert (len(expected["ZTF_alerts"]), len(expected["ZTF_alerts_aux"]), len(expected["quarantine"])) == (20, 5, 0)
    for seed in range(4):
        for name in COLLECTIONS:
            stocked[name].delete_many({})
        chance = random.Random(seed)
        shuffled = packets + chance.sample(packets, 6)
        chance.shuffle(shuffled)
        for batch in in_batches(shuffled, chance.choice((1, 3, 8))):
            worker.process(batch)
        assert settled(stocked) == expected


def test_a_message_that_comes_again_changes_nothing(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = [*visits(), packet(b"bad", 500), packet(b"worse" * 4_000_000, 501)]
    worker.process(packets)
    before = state(stocked)
    assert len(before["outbox"]) == 20 + 8 + sum(entry["filter_id"] == 2 for entry in before["outbox"])
    for batch in (packets, packets[::-1], packets[3:4]):
        report = worker.process(batch)
        assert (report.stored, report.posted) == (0, 0)
        assert state(stocked) == before


def test_two_workers_at_the_same_object(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    """Nothing is lost where they meet, and nothing is there twice."""
    packets = visits(objects=2, packets=12)
    make_worker().process(packets)
    expected = settled(stocked)
    for name in COLLECTIONS:
        stocked[name].delete_many({})
    workers = [make_worker() for _ in range(3)]
    random.Random(1).shuffle(packets)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for batch in in_batches(packets[number::3] + packets[:2], 2):
                workers[number].process(batch)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert settled(stocked) == expected


# cut off -------------------------------------------------------------------------------------------------------------

STEPS = [
    "objects.create",
    "objects.update",
    "alerts.insert",
    "filters.filters.run",
    "outbox.add",
    "quarantine.add",
    "alerts.known",
    "ledger.add",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_batch_that_was_cut_off_is_done_when_it_comes_again(
    make_worker: MakeWorker, stocked: MongoDatabase, step: str, after: bool
) -> None:
    """Whichever step MongoDB went away at, before it was done or before that was known."""
    first, packets = visits()[:7], [*visits(), packet(b"bad", 500)]
    whole = make_worker()
    whole.process(first)
    whole.process(packets)
    expected, marks = settled(stocked), list(stocked["ledger"].find().sort("_id", 1))
    for name in (*COLLECTIONS, "ledger"):
        stocked[name].delete_many({})
    worker = make_worker()
    worker.process(first)
    room, _, name = step.rpartition(".")
    target = attrgetter(room)(worker)
    with interrupted(target, name, after):
        worker.process(packets)
    worker.process(packets)
    assert settled(stocked) == expected
    assert list(stocked["ledger"].find().sort("_id", 1)) == marks != []


def test_a_copy_does_not_hide_the_message_to_resume(
    make_worker: MakeWorker, stocked: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet whose processing was cut off is done when its message comes again behind a copy of it."""
    packets = visits()
    copies = [replace(each, topic="ztf_20230101_programid2", offset=1000 + each.offset) for each in packets]
    whole = make_worker()
    whole.process(packets)
    expected = settled(stocked)
    for name in COLLECTIONS:
        stocked[name].delete_many({})
    worker = make_worker()

    def cut_off(*arguments: Any) -> Any:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(worker.outbox, "add", cut_off)
        with pytest.raises(DatabaseUnavailable):
            worker.process(packets)
    assert stocked["outbox"].count_documents({}) == 0
    assert worker.process([*copies, *packets]).stored == 0
    assert settled(stocked) == expected
    assert worker.process(copies).posted == 0
    assert settled(stocked) == expected


def test_a_process_without_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process holds must not bring good packets into quarantine: they go again in another."""

    def no_memory(survey: str) -> AlertWorker:
        raise MemoryError

    monkeypatch.setattr(alert_worker, "this_worker", no_memory)
    process = multiprocessing.get_context("fork").Process(target=alert_worker.process_batch, args=("ZTF", []))
    process.start()
    process.join(60)
    assert process.exitcode == alert_worker.OUT_OF_MEMORY
