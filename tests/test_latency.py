"""Latencies: counted once, for Prometheus and in the database, where counts of several processes come together."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from kowalski.bins import bin_of, quantile, together
from kowalski.database.client import MongoDatabase
from kowalski.database.latencies import LatencyCounts, slot_of
from kowalski.errors import DatabaseUnavailable
from kowalski.latency import Latencies

SPANS = {"received_stored": [0.4, 0.4, 3.0], "stored_filtered": [], "emitted_received": [0.0, 7200.0, 7200.0]}


def counted(database: MongoDatabase) -> dict[str, dict[int, int]]:
    """Stage -> bins, of ZTF, all slots together."""
    found = [document["stages"] for document in database["latencies"].find({"survey": "ZTF"})]
    stages = {stage for each in found for stage in each}
    return {stage: together(each.get(stage, {}) for each in found) for stage in stages}


def of_prometheus(stage: str, kind: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"kowalski_latency_seconds_{kind}", {"survey": "ZTF", "stage": stage, **labels}) or 0.0  # fmt: skip


def test_they_are_counted_for_prometheus_and_in_the_database(mongo: MongoDatabase) -> None:
    counts = LatencyCounts(mongo)
    counts.ensure_indexes()
    before = of_prometheus("received_stored", "count"), of_prometheus("received_stored", "bucket", le="0.5")
    for latencies in (Latencies(counts), Latencies(counts)):
        latencies.observe("ZTF", SPANS)
        latencies.flush()
    assert of_prometheus("received_stored", "count") == before[0] + 6
    assert of_prometheus("received_stored", "bucket", le="0.5") == before[1] + 4
    assert counted(mongo) == {
        "received_stored": {bin_of(0.4): 4, bin_of(3.0): 2},
        "emitted_received": {bin_of(0.0): 2, bin_of(7200.0): 4},
    }
    bins = counted(mongo)["received_stored"]
    assert quantile(bins, 0.5) == pytest.approx(0.4, rel=0.2)
    assert quantile(bins, 0.99) == pytest.approx(3.0, rel=0.2)


def test_what_mongodb_does_not_take_is_kept(mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = LatencyCounts(mongo)
    latencies = Latencies(counts)

    def away(*arguments: Any) -> None:
        raise DatabaseUnavailable("away")

    latencies.observe("ZTF", SPANS)
    with monkeypatch.context() as broken:
        broken.setattr(counts, "add", away)
        latencies.flush()
    assert counted(mongo) == {}
    latencies.observe("ZTF", {"received_stored": [0.4]})
    latencies.flush()
    assert counted(mongo)["received_stored"] == {bin_of(0.4): 3, bin_of(3.0): 1}
    latencies.flush()
    assert counted(mongo)["received_stored"] == {bin_of(0.4): 3, bin_of(3.0): 1}


def test_nothing_is_written_where_nothing_was_stored(mongo: MongoDatabase) -> None:
    latencies = Latencies(LatencyCounts(mongo))
    latencies.observe("ZTF", {"received_stored": []})
    latencies.flush()
    assert mongo["latencies"].count_documents({}) == 0


def test_slots_are_of_ten_seconds() -> None:
    assert slot_of(datetime(2024, 1, 1, 5, 6, 59, 999, UTC)) == datetime(2024, 1, 1, 5, 6, 50, tzinfo=UTC)
