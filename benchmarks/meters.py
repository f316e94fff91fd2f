"""What a system's programs take: CPU, memory, disk; and when what they write is seen."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path

import numpy as np
import psutil

from kowalski.alerts.survey import Survey
from kowalski.database.outbox import Outbox
from kowalski.local.system import LocalSystem


def parts(system: LocalSystem, survey: Survey) -> Iterator[tuple[str, psutil.Process]]:
    """The processes that a night needs, by the part that they play."""
    key = survey.name.lower()
    programs = {"mongod": "mongod", "kafka": "kafka", f"alert-broker-{key}": "broker", f"dask-cluster-{key}": "scheduler", "archive-keeper": "archive"}  # fmt: skip
    for program, part in programs.items():
        if pid := system.pid_of(program):
            process = psutil.Process(pid)
            yield part, process
            for child in process.children(recursive=True):
                yield "worker", child


def cpu_seconds(system: LocalSystem, survey: Survey) -> dict[str, float]:
    """CPU seconds that each part has used since it began."""
    seconds: dict[str, float] = defaultdict(float)
    for part, process in parts(system, survey):
        with suppress(psutil.Error):  # gone meanwhile
            times = process.cpu_times()
            seconds[part] += times.user + times.system
    return seconds


def per_alert(before: Mapping[str, float], after: Mapping[str, float], alerts: int) -> dict[str, float]:
    """CPU ms per alert of each part between two looks at `cpu_seconds`."""
    return {name: round((after[name] - before.get(name, 0.0)) / alerts * 1000, 3) for name in after}


def disk_bytes(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # gone meanwhile
            total += path.lstat().st_blocks * 512
    return total


class Memory:
    """Watches the memory of a system's programs in a ``with``; ``peak`` is the largest resident size of each, MB."""

    def __init__(self, system: LocalSystem, survey: Survey):
        self.system, self.survey = system, survey
        self.peak: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            sizes: dict[str, float] = defaultdict(float)
            for name, process in parts(self.system, self.survey):
                with suppress(psutil.Error):  # gone meanwhile
                    sizes[name] += process.memory_info().rss / 1e6
            for name, size in sizes.items():
                self.peak[name] = round(max(size, self.peak.get(name, 0.0)), 1)


class Sightings:
    """Watches the outbox in a ``with``: when each entry of one filter was seen stored, of alerts that were sent since.

    Attributes
    ----------
    settle : s that the watch is given to begin
    seen, sent : s since the epoch at which each was seen, and at which its alert went to Kafka
    """

    def __init__(self, outbox: Outbox, filter_id: int, settle: float):
        self.outbox, self.filter_id, self.settle = outbox, filter_id, settle
        self.seen: list[float] = []
        self.sent: list[float] = []
        self._since = inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Sightings":
        self._thread.start()
        time.sleep(self.settle)
        self._since = time.time() - 0.001  # Kafka's time stamps are whole milliseconds
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        for entry in self.outbox.new_entries(self._stop):
            if entry.get("filter_id") == self.filter_id:
                sent = entry["kafka"]["timestamp"].timestamp()
                if sent >= self._since:
                    self.sent.append(sent)
                    self.seen.append(time.time())

    def percentiles(self) -> dict[str, float]:
        """p50, p95 and p99 of the ms from Kafka's time stamp to the sight."""
        number = len(self.seen)  # more may come meanwhile
        seconds = np.subtract(self.seen[:number], self.sent[:number])
        return {f"p{q}": round(float(np.percentile(seconds, q)) * 1000, 1) for q in (50, 95, 99)}
