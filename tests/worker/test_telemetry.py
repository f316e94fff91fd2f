"""Spans of a batch, as a receiver of OTLP over HTTP gets them: from the broker's read over dask and the outbox to the poster."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dask
import pytest
from distributed import LocalCluster
from otlp_collector import Collector
from worker_harness import MakeWorker, visits

from kowalski import alert_worker, telemetry
from kowalski.config import ROOT, build, isolated_tree, merge
from kowalski.dask_cluster import DASK_SETTINGS
from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.outbox import Entry, Outbox, Target
from kowalski.database.processes import Processes
from kowalski.dispatcher import Dispatcher
from kowalski.metrics_section import Telemetry
from kowalski.outbox.poster import Poster
from kowalski.settings import Config, Database


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A receiver to which this process' spans go."""
    with Collector() as server:
        telemetry.begin("tests", Telemetry(otlp_endpoint=server.address))
        yield server
        telemetry.end()


class Taker:
    """A destination that takes everything."""

    def __init__(self, outbox: Outbox):
        self._outbox = outbox

    def send(self, entries: list[Entry], may_continue: Any) -> bool:
        self._outbox.deliver([entry["_id"] for entry in entries])
        return True

    def refresh(self, may_continue: Any) -> None:
        pass

    def pause_s(self) -> float:
        return 0.0

    def ailing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing was opened."""

    def figures(self) -> dict[str, Any]:
        return {}


def dispatched(config: Config, context: str | None) -> None:
    """A batch went over a dask cluster, whose worker is in this process."""
    packets = visits(2, 1)
    dispatcher = Dispatcher("ZTF", config)
    try:
        dispatcher.begin(packets, context)
        deadline = time.monotonic() + 120
        while not dispatcher.finished(timeout=0.2):
            assert time.monotonic() < deadline
        assert dispatcher.report.stored == 2
    finally:
        dispatcher.close()


@pytest.fixture
def config(mongo_settings: Database) -> Iterator[Config]:
    with (
        dask.config.set(DASK_SETTINGS),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None) as cluster,
    ):  # fmt: skip
        port = int(cluster.scheduler_address.rpartition(":")[2])
        host = cluster.scheduler_address.rpartition("/")[2].rpartition(":")[0]
        tree = isolated_tree({"database": mongo_settings.model_dump()})
        yield build(merge(tree, {"dask": {"host": host, "scheduler_port": port, "n_workers": 1}}))


def posted(database: MongoDatabase, config: Config) -> None:
    outbox = Outbox(database)
    poster = Poster(outbox, Lease(database, "poster", "me", 30), Processes(database), Taker(outbox), config.outbox)
    poster._active_until = time.monotonic() + 60
    for target in outbox.objects_due(datetime.now(UTC), 10):
        poster._post(Target(*target))


def test_a_batch_is_one_trace(
    collector: Collector,
    config: Config,
    make_worker: MakeWorker,
    stocked: MongoDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = make_worker()
    monkeypatch.setattr(alert_worker, "this_worker", lambda survey: worker)
    began = datetime.now(UTC) - timedelta(seconds=3)
    with telemetry.span("read", since=began, survey="ZTF", alerts=2) as here:
        dispatched(config, here.context)
    assert {entry["telemetry"] for entry in stocked["outbox"].find()} != {None}
    posted(stocked, config)
    telemetry.end()
    assert collector.paths == {"/v1/traces"}
    spans = collector.spans()
    by_name = {span.name: span for span in spans}
    assert {span.trace_id for span in spans} == {by_name["read"].trace_id}
    assert by_name["read"].parent_span_id == b""
    assert by_name["read"].start_time_unix_nano == int(began.timestamp() * 1e9)
    assert by_name["process"].parent_span_id == by_name["read"].span_id
    stages = [span for span in spans if span.parent_span_id == by_name["process"].span_id]
    assert {"decode", "known", "score", "insert", "objects", "match", "link", "filter", "outbox", "trace", "ledger"} <= {span.name for span in stages}  # fmt: skip
    outbox = {span.span_id for span in stages if span.name == "outbox"}
    posts = [span for span in spans if span.name == "post"]
    assert len(posts) == 2
    assert {span.parent_span_id for span in posts} <= outbox
    about = {each.key: each.value for each in posts[0].attributes}
    assert about["survey"].string_value == "ZTF"
    assert about["candid"].int_value in (1, 1001)
    assert about["done"].bool_value
    resource = collector.requests[0].resource_spans[0].resource
    assert {each.key: each.value.string_value for each in resource.attributes}["service.name"] == "kowalski"


def test_without_an_address_there_is_none(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    with telemetry.span("read") as here:
        assert here.context is None
        here.note(anything="goes")
    make_worker().process(visits(2, 1))
    assert stocked["outbox"].count_documents({"telemetry": {"$exists": True}}) == 0


def test_without_an_address_nothing_of_it_is_imported() -> None:
    code = """
import sys
from kowalski import alert_broker, alert_worker, telemetry
from kowalski.outbox import poster, publisher
from kowalski.metrics_section import Telemetry
telemetry.begin("x", Telemetry(otlp_endpoint=None))
with telemetry.span("read"):
    pass
telemetry.end()
print([name for name in sys.modules if name.startswith("opentelemetry.sdk") or name.startswith("opentelemetry.exporter")])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_receiver_that_is_away_holds_nobody_up(make_worker: MakeWorker, stocked: MongoDatabase) -> None:
    telemetry.begin("tests", Telemetry(otlp_endpoint="http://127.0.0.1:9"))
    try:
        with telemetry.span("read") as here:
            report = make_worker().process(visits(2, 1), context=here.context)
        assert report.stored == 2
    finally:
        telemetry.end()
    with telemetry.span("read") as here:
        assert here.context is None


def test_a_context_that_is_none_begins_a_trace(collector: Collector) -> None:
    with telemetry.span("post", "nonsense"):
        pass
    telemetry.end()
    (span,) = collector.spans()
    assert span.parent_span_id == b""
