"""How long alerts take, stage by stage of their traces: for Prometheus, and counted in the database for who asks for the last hour."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client import Histogram

from kowalski.bins import bin_of
from kowalski.database.latencies import LatencyCounts, Slot, slot_of
from kowalski.delayed import Delayed
from kowalski.errors import DatabaseError
from kowalski.log import get_logger

log = get_logger(__name__)

LATENCY = Histogram(
    "kowalski_latency_seconds",
    "Time that alerts took from one moment of their trace to another",
    ["survey", "stage"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400),
)  # fmt: skip
#: s between additions to the database
FLUSH = 2.0
#: for which counts are kept that MongoDB does not take
KEPT = timedelta(hours=1)


class Latencies:
    """Counts how long alerts took; may be told by several threads.

    What was counted is added to the database every few seconds, where all processes' counts come together.
    """

    def __init__(self, counts: LatencyCounts):
        self._counts = counts
        self._lock = threading.Lock()
        self._slots: dict[Slot, dict[str, dict[int, int]]] = {}
        self._soon = Delayed(FLUSH, self.flush)

    def observe(self, survey: str, spans: Mapping[str, Sequence[float]]) -> None:
        """Count the times (s) of some alerts by stage (`kowalski.alerts.trace.STAGES`)."""
        if not any(spans.values()):
            return
        for stage, seconds in spans.items():
            histogram = LATENCY.labels(survey, stage)
            for each in seconds:
                histogram.observe(each)
        with self._lock:
            self._add(Slot(survey, slot_of(datetime.now(UTC))), spans)
        self._soon.ask()

    def flush(self) -> None:
        """Add what was counted; when MongoDB can't take it now, it is kept for the next time, for an hour at most."""
        with self._lock:
            slots, self._slots = self._slots, {}
        try:
            self._counts.add(slots)
        except DatabaseError as error:
            log.warning("latencies: %s", error)
            oldest = datetime.now(UTC) - KEPT
            with self._lock:
                for slot, stages in ((slot, stages) for slot, stages in slots.items() if slot.at > oldest):
                    for stage, bins in stages.items():
                        for place, number in bins.items():
                            self._count(slot, stage, place, number)

    def _add(self, slot: Slot, spans: Mapping[str, Sequence[float]]) -> None:
        for stage, seconds in spans.items():
            for each in seconds:
                self._count(slot, stage, bin_of(each), 1)

    def _count(self, slot: Slot, stage: str, place: int, number: int) -> None:
        bins = self._slots.setdefault(slot, {}).setdefault(stage, {})
        bins[place] = bins.get(place, 0) + number
