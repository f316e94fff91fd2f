"""The system under measurement: packets to it, its broker started and stopped, and what it does between two moments."""

import threading
import time
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.catalogs import Kind, fill, sizes_of
from benchmarks.filters import benchmark_filters
from benchmarks.meters import cpu_seconds, per_alert
from benchmarks.packets import SEED
from kowalski.alerts.survey import Survey
from kowalski.config import ROOT
from kowalski.database.alerts import Alerts
from kowalski.database.client import connect
from kowalski.database.filters import Filters
from kowalski.database.objects import Objects
from kowalski.database.outbox import Outbox
from kowalski.database.summary import Summary
from kowalski.errors import LocalError
from kowalski.local.system import LocalSystem
from kowalski.simulation.publish import Publisher

#: share of the alerts after which the clock starts and stops: what is between is steady
START, STOP = 0.1, 0.95
#: alerts that the broker may be behind: Kafka keeps messages by size, read or not
AHEAD = 10_000
#: packets after which it is looked how far the broker got
LOOK = 100
PATIENCE = 600.0


@dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Attributes
    ----------
    n : alerts to stream
    filters : active filters
    alerts : folder of packets to re-stamp; None: they are simulated
    stored : alerts that are there at last, where the scenario is growth
    archive : whether as many alerts are streamed once more with the packet archive on
    """

    n: int
    filters: int = 25
    alerts: Path | None = None
    catalogs: Kind = "full"
    stored: int = 1_000_000
    archive: bool = False


@dataclass(frozen=True)
class Steady:
    """What the chain did while it had enough to do: alerts/s, and CPU ms per alert of each part."""

    rate: float
    cpu: dict[str, float]

    @property
    def total(self) -> float:
        """CPU ms per alert of all parts."""
        return sum(self.cpu.values())


class Bar(NamedTuple):
    """What is told how far something is."""

    progress: Progress
    task: TaskID

    def more(self, done: int) -> None:
        """So much more is done."""
        self.progress.update(self.task, advance=done)

    def at(self, done: int) -> None:
        """So much is done in all."""
        self.progress.update(self.task, completed=done)


class Measured:
    """A system whose services run, of one survey, whose broker reads tonight's topic when told to."""

    def __init__(self, system: LocalSystem, survey: Survey, packets: Iterator[bytes], console: Console):
        self.system, self.survey, self.packets, self.console = system, survey, packets, console
        self.database = connect(system.config.database)
        self.alerts = Alerts(self.database, survey)
        self.outbox = Outbox(self.database)
        self.broker = f"alert-broker-{survey.name.lower()}"
        self.topic = survey.topic_on(datetime.now(UTC).date())
        self.filters: list[dict[str, Any]] = []

    @cached_property
    def weights(self) -> dict[str, str]:
        """Version by model of what the alerts were scored with that were there when this was first asked for."""
        return dict(Summary(self.database, self.survey).scores().keys())

    def prepare(self, filters: int, kind: Kind) -> dict[str, Any]:
        """Filters, catalogues and indexes are there; the rows of the catalogues, and the seconds that they took."""
        self.put_filters(benchmark_filters(filters, self.survey))
        recipes = self.system.config.database.xmatch.get(self.survey.name, {})
        began = time.monotonic()
        total = sum(sizes_of(recipes).values()) if kind == "full" else 0
        with self.progress("catalogues", total) as bar:
            sizes = fill(self.database, kind, recipes, SEED, bar.more)
        for collection in (self.alerts, Objects(self.database, self.survey), self.outbox):
            collection.ensure_indexes()
        return {"catalog_rows": sum(sizes.values()), "catalogs_seconds": round(time.monotonic() - began, 1)}

    def put_filters(self, documents: Iterable[dict[str, Any]]) -> None:
        """These filters are active too."""
        store = Filters(self.database, self.database)
        for document in documents:
            store.put(document)
            self.filters.append(document)

    def start_broker(self) -> None:
        """The broker reads."""
        self.system.start([self.broker])

    def stop_broker(self) -> None:
        """The broker has ended; what is published then waits."""
        if self.system.pid_of(self.broker):
            self.system.supervisor.stop_program(self.broker)
        deadline = time.monotonic() + PATIENCE
        while self.system.pid_of(self.broker):
            self._not_after(deadline, f"{self.broker} does not stop")

    @property
    def archive(self) -> Path:
        """Where the packet archive is."""
        return ROOT / self.system.config.archive.folder

    def set(self, changes: dict[str, Any]) -> None:
        """The workers have these settings."""
        self.system.change(changes)
        self.system.restart(f"dask-cluster-{self.survey.name.lower()}")

    def settle(self) -> None:
        """What was stored before is on disk, so that none of it is written while the clock runs."""
        connect(self.system.config.database, "admin").client.admin.command("fsync")

    def publish(self, packets: Iterable[bytes], what: str, number: int) -> int:
        """The packets are in Kafka; how many."""
        with self.publisher() as publisher, self.progress(what, number) as bar:
            for place, data in enumerate(packets):
                publisher.send(self.topic, data, f"packet {place}")
                bar.more(1)
        return publisher.sent

    def steady(self, n: int, packets: Iterator[bytes] | None = None) -> Steady:
        """What the broker, stopped before, does with so many of the packets; they wait in Kafka, as far as it may hold them."""
        packets = packets or self.packets
        sent = self.publish(islice(packets, min(n, AHEAD)), f"making and publishing {n} alerts", min(n, AHEAD))
        before = self.alerts.estimated_count()  # only now: with the packets their objects' past may have been stored
        with (
            self._fed(islice(packets, n - sent), before + sent),
            self.progress("timing", n) as bar,
            ThreadPoolExecutor(
                1
            ) as starter,  # it reads before it is known to be ready: the clock doesn't wait for that
        ):
            starting = starter.submit(self.start_broker)
            first, began, used = self.when(before + n * START, bar, before)
            last, ended, used_then = self.when(before + n * STOP, bar, before)
            self.when(before + n, bar, before)
            starting.result()
        if last == first:
            raise LocalError(f"{n} alerts are too few to find a steady state: give a larger --n")
        return Steady((last - first) / (ended - began), per_alert(used, used_then, last - first))

    def when(self, alerts: float, bar: Bar | None = None, before: int = 0) -> tuple[int, float, dict[str, float]]:
        """Number stored, time and CPU seconds at the moment when so many alerts are stored; ``before`` were when the bar began."""
        deadline, seen = time.monotonic() + PATIENCE, -1
        while (stored := self.alerts.estimated_count()) < alerts:
            if stored != seen:
                deadline, seen = time.monotonic() + PATIENCE, stored
                if bar:
                    bar.at(stored - before)
            self._not_after(
                deadline, f"only {stored} alerts stored, none for {PATIENCE:g} s; see the logs of its programs"
            )
        if bar:
            bar.at(stored - before)
        return stored, time.monotonic(), cpu_seconds(self.system, self.survey)

    def wait_for(self, sightings: Sized, number: int, bar: Bar) -> None:
        """So many entries were seen in the outbox."""
        deadline, seen = time.monotonic() + PATIENCE, 0
        while len(sightings) < number:
            if len(sightings) != seen:
                deadline, seen = time.monotonic() + PATIENCE, len(sightings)
                bar.at(seen)
            self._not_after(
                deadline, f"{seen} of {number} alerts seen in the outbox, none for {PATIENCE:g} s; see the logs"
            )
        bar.at(number)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator["Bar"]:
        """A bar on the console."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as bar:
            yield Bar(bar, bar.add_task(what, total=total or None))

    def publisher(self) -> Publisher:
        """To tonight's Kafka."""
        return Publisher(self.system.config.kafka.bootstrap_servers, partitions=2)

    @contextmanager
    def _fed(self, packets: Iterator[bytes], sent: int) -> Iterator[None]:
        """More packets are published meanwhile, never more than `AHEAD` of what is stored; ``sent`` were before."""
        stop = threading.Event()
        failures: list[Exception] = []

        def feed() -> None:
            try:
                with self.publisher() as publisher:
                    for number, data in enumerate(packets):
                        while (
                            not stop.is_set()
                            and number % LOOK == 0
                            and sent + number - self.alerts.estimated_count() >= AHEAD
                        ):
                            time.sleep(0.1)
                        if stop.is_set():
                            return
                        publisher.send(self.topic, data, f"packet {number}")
            except Exception as error:  # raised where it can be seen
                failures.append(error)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield
        finally:
            stop.set()
            feeder.join()
        if failures:
            raise failures[0]

    @staticmethod
    def _not_after(deadline: float, complaint: str) -> None:
        if time.monotonic() > deadline:
            raise LocalError(complaint)
        time.sleep(0.02)


def compared(steady: dict[int, Steady]) -> dict[str, Any]:
    """CPU and rate of two steady states by what tells them apart, and the ratio of their CPU."""
    first, second = (state.total for state in steady.values())
    return {
        "alerts_per_second": {str(key): round(state.rate, 1) for key, state in steady.items()},
        "cpu_ms_per_alert": {str(key): state.cpu for key, state in steady.items()},
        "cpu_ratio": round(second / first, 3),
    }
