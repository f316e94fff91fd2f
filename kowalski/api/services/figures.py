"""Figures of the whole system for Prometheus, read of what its programs say of themselves."""

from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from kowalski.database.queries import Queries, Reading
from kowalski.errors import KowalskiError
from kowalski.log import get_logger

log = get_logger(__name__)

#: s after which a program that says nothing counts as gone
RECENT = 10
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


async def system_figures(queries: Queries) -> bytes:
    """Programs alive, each broker's work, the outbox and the quarantine, in Prometheus' text format.

    What can't be read in time is left out.
    """
    registry = CollectorRegistry()
    try:
        await _programs(queries, registry)
        await _waiting(queries, registry)
    except KowalskiError as error:
        log.warning("metrics are not complete: %s", error)
    return generate_latest(registry)


async def _programs(queries: Queries, registry: CollectorRegistry) -> None:
    recent = {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", RECENT * 1000]}]}}
    alive = Gauge(
        "kowalski_program_alive", "Processes that gave a sign of life", ["program", "survey"], registry=registry
    )
    gauges = {
        name: Gauge(f"kowalski_broker_{name}", text, ["survey"], registry=registry) for name, text in BROKER.items()
    }
    async for process in queries.find("processes", recent, READING):
        survey = process.get("survey") or ""
        alive.labels(process["program"], survey).inc()
        for name, gauge in gauges.items():
            value: Any = process.get(name)
            if process["program"] == "alert-broker" and isinstance(value, int | float):
                gauge.labels(survey).inc(value)


async def _waiting(queries: Queries, registry: CollectorRegistry) -> None:
    outbox = Gauge("kowalski_outbox_entries", "Messages by their state", ["state"], registry=registry)
    for state in ("pending", "failed"):
        outbox.labels(state).set(await queries.count("outbox", {"state": state}, READING))
    quarantine = Gauge("kowalski_quarantine_packets", "Packets in quarantine", registry=registry)
    quarantine.set(await queries.estimated_count("quarantine", READING))
