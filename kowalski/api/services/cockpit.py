"""How the whole system stands now, for those who run it: read once for all who watch."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.database.client import MongoDatabase, connect
from kowalski.database.instruments import Disk, Instruments, Lane, OpenBreaker, Stream
from kowalski.database.ledger import Ledger
from kowalski.database.nights import Nights
from kowalski.database.processes import Processes
from kowalski.database.quarantine import Selection
from kowalski.database.quarantine_room import Standing
from kowalski.database.quarantined import Group, Quarantined
from kowalski.errors import DatabaseError
from kowalski.night.ledger import books_of
from kowalski.settings import Config

#: s for which what was read counts as now
FRESH = 1.0
#: s for which a night's books count: those of a full night take a second
BOOKS_FRESH = 60.0
#: s over which the rate of alerts is taken
RATE_OVER = 60.0
#: nights whose course is shown
NIGHTS = 2
BROKER = "alert-broker"


@dataclass(frozen=True)
class SurveyNow:
    """One survey's broker, or several together.

    Attributes
    ----------
    rate : alerts stored per s over the last minute; None: not known yet
    stage_ms : mean ms of an alert in each stage of the worker since the start
    """

    survey: str
    reading: str
    partitions: int
    lag: int
    under_way: int
    workers: int
    counts: Mapping[str, int]
    rate: float | None
    stage_ms: Mapping[str, float]
    models: Mapping[str, str]
    model_problems: Mapping[str, str]
    dashboard: str


@dataclass(frozen=True)
class Now:
    """Everything, at one moment; ``missing`` says what could not be read, and why."""

    at: datetime
    programs: list[dict[str, Any]] = field(default_factory=list)
    surveys: list[SurveyNow] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    delivered: int = 0
    quarantine: Standing = Standing()
    quarantined: list[Group] = field(default_factory=list)
    quarantine_alarm: str = ""
    breakers: list[OpenBreaker] = field(default_factory=list)
    disk: Disk | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)
    nights: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class CockpitService:
    """Reads how things stand, as the MongoDB user that can only read."""

    def __init__(self, config: Config):
        self._config = config
        self._database: MongoDatabase = connect(config.database, "reader")
        self._instruments = Instruments(self._database)
        self._seen: deque[tuple[float, dict[str, int]]] = deque()
        self._one, self._books_one = asyncio.Lock(), asyncio.Lock()
        self._now: tuple[float, Now] | None = None
        self._books: tuple[float, dict[str, Any] | None] | None = None

    async def now(self) -> Now:
        """How everything stands, no older than `FRESH` s."""
        async with self._one:
            if self._now is None or time.monotonic() > self._now[0] + FRESH:
                self._now = time.monotonic(), await asyncio.to_thread(self._read)
            return self._now[1]

    async def books(self) -> dict[str, Any] | None:
        """The books of the last night of which anything was read, no older than `BOOKS_FRESH` s; None: there is none.

        Raises
        ------
        DatabaseError : they can't be read
        """
        async with self._books_one:
            if self._books is None or time.monotonic() > self._books[0] + BOOKS_FRESH:
                self._books = time.monotonic(), await asyncio.to_thread(self._read_books)
            return self._books[1]

    def close(self) -> None:
        """End the connections."""
        self._database.client.close()

    def _read_books(self) -> dict[str, Any] | None:
        nights = Ledger(self._database).nights()
        return books_of(nights[0], self._database, self._config.kafka.topics).as_dict() if nights else None

    def _read(self) -> Now:
        """What can be read; one part that can't is named, and does not take the others with it."""
        read, quarantined = self._instruments, Quarantined(self._database)
        parts: dict[str, Callable[[], Any]] = {
            "programs": Processes(self._database).alive,
            "streams": read.streams,
            "lanes": read.lanes,
            "delivered": lambda: read.delivered_since(datetime.now(UTC) - timedelta(hours=1)),
            "quarantine": quarantined.standing,
            "quarantined": lambda: quarantined.groups(Selection()),
            "breakers": read.open_breakers,
            "disk": read.disk,
            "alerts": read.alerts,
            "nights": lambda: [each.as_dict() for each in Nights(self._database).latest(NIGHTS)],
        }
        found: dict[str, Any] = {}
        missing = []
        for name, part in parts.items():
            try:
                found[name] = part()
            except DatabaseError as error:
                missing.append(f"{name}: {error}")
        found["surveys"] = self._surveys(found.get("programs", []))
        alarm = found.get("quarantine", Standing()).alarm(self._config.broker.quarantine_bytes)
        return Now(datetime.now(UTC), **found, quarantine_alarm=alarm, missing=missing)

    def _surveys(self, programs: list[dict[str, Any]]) -> list[SurveyNow]:
        """What brokers say, by survey."""
        brokers: dict[str, list[dict[str, Any]]] = {}
        for each in programs:
            if each["program"] == BROKER:
                brokers.setdefault(each["survey"], []).append(each)
        rates = self._rates({survey: _sum(own, "stored") for survey, own in brokers.items()})
        return [self._survey(survey, own, rates.get(survey)) for survey, own in sorted(brokers.items())]

    def _survey(self, survey: str, brokers: list[dict[str, Any]], rate: float | None) -> SurveyNow:
        received = _sum(brokers, "received")
        stages = {stage for each in brokers for stage in each.get("seconds", {})}
        spent = {stage: sum(each.get("seconds", {}).get(stage, 0.0) for each in brokers) for stage in stages}
        counts = {name: _sum(brokers, name) for name in ("received", "stored", "known", "posted", "withdrawn")}
        counts["quarantined"] = sum(sum(each.get("quarantined", {}).values()) for each in brokers)
        counts["passed"] = sum(sum(each.get("passed", {}).values()) for each in brokers)
        own = self._config.ml.surveys.get(survey)
        return SurveyNow(
            survey=survey,
            reading=", ".join(sorted({each.get("reading") or "" for each in brokers})),
            partitions=_sum(brokers, "partitions"),
            lag=_sum(brokers, "lag"),
            under_way=_sum(brokers, "under_way"),
            workers=max((each.get("workers", 0) for each in brokers), default=0),
            counts=counts,
            rate=rate,
            stage_ms={stage: 1000 * spent[stage] / received for stage in sorted(spent)} if received else {},
            models={name: model.version for name, model in own.models.items()} if own else {},
            model_problems={name: why for each in brokers for name, why in (each.get("model_problems") or {}).items()},
            dashboard=_dashboard(self._config, survey),
        )

    def _rates(self, stored: dict[str, int]) -> dict[str, float]:
        """Alerts/s by survey, of those that were seen before; a broker that began anew counts from then on."""
        now = time.monotonic()
        while self._seen and self._seen[0][0] < now - RATE_OVER:
            self._seen.popleft()
        began, before = self._seen[0] if self._seen else (now, {})
        self._seen.append((now, stored))
        if now - began < FRESH:
            return {}
        more = {survey: count - before[survey] for survey, count in stored.items() if survey in before}
        return {survey: max(0, count) / (now - began) for survey, count in more.items()}


def _sum(brokers: list[dict[str, Any]], name: str) -> int:
    return sum(int(each.get(name) or 0) for each in brokers)


def _dashboard(config: Config, survey: str) -> str:
    """Address of the dashboard of the survey's dask scheduler, as seen from its own machine."""
    settings = config.dask.get(survey.lower())
    if settings is None:
        return ""
    host, _, port = settings.dashboard_address.rpartition(":")
    return f"http://{host or '127.0.0.1'}:{port}/status"
