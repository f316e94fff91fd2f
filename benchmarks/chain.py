"""The whole local stack timed: ``./kowalski.py benchmark``."""

import argparse
import json
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks.filters import benchmark_filters, passing_all
from benchmarks.floor import BATCH, Floor
from benchmarks.restamp import restamped
from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import ROOT
from kowalski.database.alerts import Alerts
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import connect
from kowalski.database.filters import Filters
from kowalski.database.outbox import Outbox
from kowalski.database.summary import Summary
from kowalski.errors import LocalError
from kowalski.local.system import LocalSystem
from kowalski.simulation.catalogs import catalogs
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher
from kowalski.simulation.reshape import reshaped

FOLDER = ROOT / "data" / "local" / "benchmark"
SEED = 7
#: alerts sent one by one to measure latency, and s between them
LONE, PAUSE = 60, 0.15
#: alerts on which the floor is timed
FLOOR = 5 * BATCH
#: share of the alerts after which the clock starts and stops: what is between is steady
START, STOP = 0.1, 0.95
PATIENCE = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--survey", default="ZTF", help="whose alerts (default ZTF)")
    parser.add_argument("--n", type=int, default=5000, help=f"alerts to stream (default 5000, at least {10 * BATCH})")
    parser.add_argument("--filters", type=int, default=25, help="active filters (default 25)")
    parser.add_argument(
        "--alerts", type=Path, metavar="DIR", help="re-stamp the packets of a folder instead of simulating"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")


def run(arguments: argparse.Namespace) -> int:
    """Time the chain from Kafka to outbox on data of its own, and print the figures as JSON."""
    if arguments.n < 10 * BATCH:
        raise LocalError(f"--n {arguments.n}: {10 * BATCH} alerts at least, for a steady state")
    console = Console(stderr=True)
    _free(FOLDER)  # of a run that was killed
    survey = get_survey(arguments.survey)
    system = LocalSystem.isolated(FOLDER, surveys=(survey.name,))
    names = [program.name for program in system.programs if program.name not in ("poster", "api", "skyportal-receiver")]
    *services, broker = names
    try:
        system.start(services, progress=lambda line: console.print(f"  {line}", style="dim", highlight=False))
        figures = Benchmark(system, survey, console).run(arguments, broker)
    finally:
        system.stop()
        freed = _free(FOLDER)
    console.print(f"{freed / 1e9:.1f} GB of disk freed")
    text = json.dumps(figures, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)
    return 0


class Benchmark:
    """One run of the chain."""

    def __init__(self, system: LocalSystem, survey: Survey, console: Console):
        self.system, self.survey, self.console = system, survey, console
        self.database = connect(system.config.database)
        self.alerts = Alerts(self.database, self.survey)
        self.outbox = Outbox(self.database)
        self.topic = survey.topic_on(datetime.now(UTC).date())

    def run(self, arguments: argparse.Namespace, broker: str) -> dict[str, Any]:
        """Fill the topic, start the broker, and time what it does."""
        filters = benchmark_filters(arguments.filters, self.survey)
        for document in filters:
            Filters(self.database, self.database).put(document)
        for name, rows in catalogs(SEED).items():
            Catalogs(self.database).replace(name, rows)
        self.console.print(f"making and publishing {arguments.n} alerts ...")
        packets = self._packets(arguments)
        self._publish(islice(packets, arguments.n))
        self.console.print("timing ...")
        with _Memory(self.system, self.survey) as memory:
            self.system.start([broker])
            rate, cpu = self._steady(arguments.n)
            latency = self._latency(islice(packets, LONE), arguments.n)
        self.console.print("timing the floor ...")
        floor = Floor(self.system.config, self.survey, self.database, self.system.pid_of("mongod"))
        floor_ms = floor.measure(list(packets), filters)
        actual, least = sum(cpu.values()), sum(floor_ms.values())
        return {
            "survey": self.survey.name,
            "alerts": arguments.n,
            "filters": arguments.filters,
            "packets": "re-stamped" if arguments.alerts else "simulated",
            "workers": self.system.config.dask_for(self.survey.name).n_workers,
            "cores": psutil.cpu_count(),
            "alerts_per_second": round(rate, 1),
            "cpu_ms_per_alert": cpu,
            "latency_ms": latency,
            "peak_rss_mb": memory.peak,
            "floor_ms_per_alert": round(least, 3),
            "floor_ms_by_call": floor_ms,
            "efficiency": round(least / actual, 3),
            "weights": dict(Summary(self.database, self.survey).scores().keys()),
        }

    def _packets(self, arguments: argparse.Namespace) -> Iterator[bytes]:
        total = arguments.n + LONE + FLOOR
        now = datetime.now(UTC)
        if arguments.alerts:
            return restamped(arguments.alerts, self.survey, total, now.timestamp() / 86400 + 2440587.5)
        night = simulate(total, objects=total, seed=SEED, night=f"{now:%Y%m%d}")
        return (alert.data for alert in reshaped(night, self.survey))

    def _publish(self, packets: Iterator[bytes]) -> None:
        with Publisher(self.system.config.kafka.bootstrap_servers, partitions=2) as publisher:
            for number, data in enumerate(packets):
                publisher.send(self.topic, data, str(number))

    def _steady(self, n: int) -> tuple[float, dict[str, float]]:
        """Alerts/s between `START` and `STOP`, and CPU ms per alert of each process meanwhile."""
        first, began, before = self._when(n * START)
        last, ended, after = self._when(n * STOP)
        done = last - first
        cpu = {name: round((after[name] - before[name]) / done * 1000, 3) for name in after}
        self._when(n)
        return done / (ended - began), cpu

    def _when(self, alerts: float) -> tuple[int, float, dict[str, float]]:
        """Number stored, time and CPU seconds at the moment when so many alerts are stored."""
        deadline = time.monotonic() + PATIENCE
        while (stored := self.alerts.estimated_count()) < alerts:
            if time.monotonic() > deadline:
                raise LocalError(f"only {stored} alerts stored after {PATIENCE:g} s; see the logs of its programs")
            time.sleep(0.02)
        return stored, time.monotonic(), _cpu_seconds(self.system, self.survey)

    def _latency(self, packets: Iterator[bytes], n: int) -> dict[str, float]:
        """Milliseconds from Kafka's time stamp to the outbox entry seen stored, of alerts sent one by one."""
        always = passing_all(self.survey)
        Filters(self.database, self.database).put(always)
        seconds: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            for entry in self.outbox.new_entries(stop):
                if entry.get("filter_id") == always["filter_id"]:
                    seconds.append(time.time() - entry["kafka"]["timestamp"].timestamp())

        watcher = threading.Thread(target=watch)
        watcher.start()
        with Publisher(self.system.config.kafka.bootstrap_servers) as publisher:
            for number, data in enumerate(packets):
                publisher.send(self.topic, data, str(number))
                publisher.flush()
                time.sleep(PAUSE)
        self._when(n + LONE)
        while len(seconds) < LONE:
            time.sleep(0.02)
        stop.set()
        watcher.join()
        return {f"p{q}": round(float(np.percentile(seconds, q)) * 1000, 1) for q in (50, 95, 99)}


class _Memory:
    """Watches the memory of a system's programs; ``peak`` is the largest resident size of each, MB."""

    def __init__(self, system: LocalSystem, survey: Survey):
        self.system, self.survey = system, survey
        self.peak: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            sizes: dict[str, float] = defaultdict(float)
            for name, process in _parts(self.system, self.survey):
                with suppress(psutil.Error):  # gone meanwhile
                    sizes[name] += process.memory_info().rss / 1e6
            for name, size in sizes.items():
                self.peak[name] = round(max(size, self.peak.get(name, 0.0)), 1)


def _parts(system: LocalSystem, survey: Survey) -> Iterator[tuple[str, psutil.Process]]:
    """The processes that a night needs, by the part that they play."""
    key = survey.name.lower()
    parts = {"mongod": "mongod", "kafka": "kafka", f"alert-broker-{key}": "broker", f"dask-cluster-{key}": "scheduler"}
    for program, part in parts.items():
        if pid := system.pid_of(program):
            process = psutil.Process(pid)
            yield part, process
            for child in process.children(recursive=True):
                yield "worker", child


def _cpu_seconds(system: LocalSystem, survey: Survey) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for part, process in _parts(system, survey):
        with suppress(psutil.Error):  # gone meanwhile
            times = process.cpu_times()
            seconds[part] += times.user + times.system
    return seconds


def _free(folder: Path) -> int:
    """Remove a finished benchmark's data; returns the bytes that it took."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return size
