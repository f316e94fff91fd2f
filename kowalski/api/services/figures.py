"""Figures of the whole system for Prometheus, read of what its programs say of themselves."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from kowalski.api.services.standing import RECENT, SHARES, SystemStanding, standing_figures
from kowalski.database.quarantine_room import Standing, counts, standing_of
from kowalski.database.queries import Queries, Reading
from kowalski.errors import KowalskiError
from kowalski.log import get_logger

log = get_logger(__name__)

READING = Reading(max_time_ms=2000, comment="metrics")
#: figures of a broker -> what they are
BROKER = {
    "lag": "Messages in Kafka that are not stored yet",
    "under_way": "Alerts under way",
    "received": "Packets received since the start",
    "stored": "Alerts stored since the start",
    "known": "Packets since the start that were known already",
    "posted": "Outbox entries made since the start",
}
#: figures of the quarantine -> what they are
QUARANTINE = {
    "packets": "Packets in quarantine",
    "truncated": "Packets in quarantine of which only the head is kept",
    "discarded": "Packets that were discarded from quarantine",
    "held_bytes": "Bytes in quarantine",
}
RATE, LATENCY = "kowalski_survey_alerts_per_second", "kowalski_survey_latency_seconds"
#: every gauge that is read of the database -> what it is, and its labels; the reference of metrics shows them
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "kowalski_program_alive": ("Processes that gave a sign of life", ("program", "survey")),
    "kowalski_outbox_entries": ("Messages by their state", ("state",)),
    **{f"kowalski_broker_{name}": (text, ("survey",)) for name, text in BROKER.items()},
    **{f"kowalski_quarantine_{name}": (text, ()) for name, text in QUARANTINE.items()},
    "kowalski_quarantine_max_bytes": ("Bytes beyond which only heads are kept", ()),
    RATE: ("Alerts stored, of the last minute", ("survey",)),
    LATENCY: (
        "Time of a stage of the trace within which 50 % or 99 % of the alerts of the last hour were done",
        ("survey", "stage", "quantile"),
    ),
}


class Figures:
    """Gauges as they are read now. prometheus_client's own would be kept in files that all workers share, and add up scrape by scrape."""

    def __init__(self) -> None:
        self._families: dict[str, GaugeMetricFamily] = {}

    def set(self, name: str, text: str, value: float, **labels: str) -> None:
        """A gauge has a value, for some labels."""
        family = self._families.setdefault(name, GaugeMetricFamily(name, text, labels=list(labels)))
        family.add_metric(list(labels.values()), value)

    def collect(self) -> Iterable[Metric]:
        """All of them, for a registry."""
        return self._families.values()


async def system_figures(queries: Queries, quarantine_bytes: int) -> bytes:
    """Programs alive, each broker's work, the outbox and the quarantine, in Prometheus' text format.

    What can't be read in time is left out. ``quarantine_bytes`` is the most that is held whole.
    """
    figures = Figures()
    try:
        await _programs(queries, figures)
        _of_surveys(await standing_figures(queries), figures)
        await _waiting(queries, figures)
        await _quarantine(queries, figures, quarantine_bytes)
    except KowalskiError as error:
        log.warning("metrics are not complete: %s", error)
    registry = CollectorRegistry()
    registry.register(figures)
    return generate_latest(registry)


async def _programs(queries: Queries, figures: Figures) -> None:
    recent = {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", RECENT * 1000]}]}}
    alive: Counter[tuple[str, str]] = Counter()
    work: defaultdict[tuple[str, str], float] = defaultdict(float)
    async for process in queries.find("processes", recent, READING):
        survey = process.get("survey") or ""
        alive[process["program"], survey] += 1
        for name in BROKER:
            value: Any = process.get(name)
            if process["program"] == "alert-broker" and isinstance(value, int | float):
                work[name, survey] += value
    for (program, survey), count in alive.items():
        figures.set(
            "kowalski_program_alive", "Processes that gave a sign of life", count, program=program, survey=survey
        )
    for (name, survey), value in work.items():
        figures.set(f"kowalski_broker_{name}", BROKER[name], value, survey=survey)


def _of_surveys(standing: SystemStanding, figures: Figures) -> None:
    """Throughput and latencies of surveys."""
    for name, survey in standing.surveys.items():
        figures.set(RATE, GAUGES[RATE][0], survey.alerts_per_s, survey=name)
        for stage, told in survey.latencies.items():
            for share in SHARES:
                figures.set(LATENCY, GAUGES[LATENCY][0], told[share], survey=name, stage=stage, quantile=share)


async def _waiting(queries: Queries, figures: Figures) -> None:
    for state in ("pending", "failed"):
        count = await queries.count("outbox", {"state": state}, READING)
        figures.set("kowalski_outbox_entries", "Messages by their state", count, state=state)


async def _quarantine(queries: Queries, figures: Figures, max_bytes: int) -> None:
    standing = Standing()
    async for row in queries.aggregate("quarantine", counts(), READING, disk=False):
        standing = standing_of(row)
    for name, text in QUARANTINE.items():
        figures.set(f"kowalski_quarantine_{name}", text, getattr(standing, name.removesuffix("_bytes")))
    figures.set("kowalski_quarantine_max_bytes", "Bytes beyond which only heads are kept", max_bytes)
