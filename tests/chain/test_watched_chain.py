"""A whole system that is watched: traces of alerts, metrics of all programs where Prometheus looks, spans of batches over processes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from bson.codec_options import CodecOptions
from conftest import Chain, filter_document
from otlp_collector import Collector
from prometheus_client.parser import text_string_to_metric_families

from kowalski.alerts.trace import STAGES
from kowalski.local.system import LocalSystem
from kowalski.simulation.night import simulate

ALERTS = 40
MOMENTS = ["exposure", "emitted", "received", "scored", "stored", "filtered", "delivered"]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server


@pytest.fixture(scope="module")
def chain(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A system through which a few alerts have gone."""
    changes: dict[str, Any] = {"kafka": {"metadata_refresh": 1}, "telemetry": {"otlp_endpoint": collector.address}}
    system = LocalSystem.isolated(tmp_path_factory.mktemp("watched"), changes)
    system.start()
    chain = Chain(system)
    chain.put_filters(filter_document(1, [{"$match": {}}]))
    packets = [each.data for each in simulate(ALERTS, seed=7)]
    chain.publish(packets)
    chain.wait(lambda: chain.stored() == ALERTS, "alerts are stored")
    chain.wait(lambda: delivered(chain) == ALERTS, "alerts are delivered")
    yield chain
    system.stop()
    assert system.processes() == []
    assert list((system.folder / "metrics").glob("*.json")) == []


def delivered(chain: Chain) -> int:
    return int(chain.database["ZTF_alerts"].count_documents({"trace.delivered": {"$exists": True}}))


def targets(chain: Chain) -> dict[str, str]:
    """Program -> where its metrics are, as Prometheus is told."""
    groups = [json.loads(path.read_text())[0] for path in Path(chain.system.folder, "metrics").glob("*.json")]
    return {group["labels"]["program"]: group["targets"][0] for group in groups}


def scraped(where: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = requests.get(f"http://{where}/metrics", timeout=30).text
    families = text_string_to_metric_families(text)
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def test_traces_are_whole_and_in_order(chain: Chain) -> None:
    alerts = chain.database.get_collection("ZTF_alerts", codec_options=CodecOptions(tz_aware=True))
    for alert in alerts.find({}, {"trace": 1, "kafka": 1}):
        trace = alert["trace"]
        assert set(trace) == set(MOMENTS)
        assert trace["emitted"] == alert["kafka"]["timestamp"]
        after = [trace[name] for name in ("emitted", "received", "scored", "stored", "filtered")]
        assert after == sorted(after)
        assert trace["delivered"] >= trace["stored"]


def test_prometheus_finds_every_program(chain: Chain) -> None:
    programs = {"poster", "api", "alert-broker-ztf", "dask-cluster-ztf"}
    assert targets(chain).keys() == programs
    for program, where in targets(chain).items():
        assert scraped(where), program


def test_brokers_and_posters_count_the_stages(chain: Chain) -> None:
    found = scraped(targets(chain)["alert-broker-ztf"]) | scraped(targets(chain)["poster"])
    for stage in STAGES:
        count = found["kowalski_latency_seconds_count", frozenset({("survey", "ZTF"), ("stage", stage)})]
        # the poster may be done before `filtered` is written: then that stage has no beginning
        assert count == ALERTS or (stage == "filtered_delivered" and 0 < count <= ALERTS), stage
    stored = found["kowalski_broker_packets_total", frozenset({("survey", "ZTF"), ("outcome", "stored")})]
    assert stored == ALERTS
    under_way = "kowalski_broker_alerts_under_way", frozenset({("survey", "ZTF")})
    chain.wait(
        lambda: scraped(targets(chain)["alert-broker-ztf"])[under_way] == 0, "the broker says that nothing is under way"
    )


def test_dask_and_its_workers_are_seen(chain: Chain) -> None:
    found = scraped(targets(chain)["dask-cluster-ztf"])
    assert found["kowalski_dask_workers_ready", frozenset({("survey", "ZTF")})] == 2
    workers = [value for (name, _), value in found.items() if name == "kowalski_dask_worker_memory_bytes"]
    assert len(workers) == 2
    assert min(workers) > 50e6


def test_a_trace_goes_over_all_processes(chain: Chain, collector: Collector) -> None:
    chain.wait(lambda: {"read", "process", "outbox", "post"} <= {each.name for each in collector.spans()}, "spans came")
    (post, *_) = [span for span in collector.spans() if span.name == "post"]

    def way() -> list[str]:
        by_id, span, names = {each.span_id: each for each in collector.spans()}, post, ["post"]
        while span.parent_span_id in by_id:
            span = by_id[span.parent_span_id]
            names.append(span.name)
        return names

    chain.wait(lambda: way() == ["post", "outbox", "process", "read"], "its way is whole")
