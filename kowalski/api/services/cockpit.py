"""How the whole system stands now, for those who run it: read once for all who watch."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.api.services.standing import SurveyStanding, standing_figures
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.instruments import Disk, Instruments, Lane, Stream
from kowalski.database.ledger import Ledger
from kowalski.database.nights import Nights
from kowalski.database.processes import Processes
from kowalski.database.quarantine import Selection
from kowalski.database.quarantine_room import Standing
from kowalski.database.quarantined import Group, Quarantined
from kowalski.database.queries import Queries
from kowalski.errors import DatabaseError, KowalskiError
from kowalski.night.ledger import books_of
from kowalski.settings import Config

#: s for which what was read counts as now
FRESH = 1.0
#: s for which a night's books count: those of a full night take a second
BOOKS_FRESH = 60.0
#: nights whose course is shown
NIGHTS = 2
BROKER = "alert-broker"
COUNTS = ("received", "stored", "known", "posted", "withdrawn")


@dataclass(frozen=True)
class Work:
    """What the brokers of a survey did since they began.

    Attributes
    ----------
    workers : dask workers of the survey
    counts : packets and alerts by what became of them
    stage_ms : mean ms of an alert in each stage of the worker
    dashboard : address of the dask scheduler's own page, as seen from its machine
    """

    workers: int
    counts: Mapping[str, int]
    stage_ms: Mapping[str, float]
    dashboard: str


@dataclass(frozen=True)
class Now:
    """Everything, at one moment; ``missing`` says what could not be read, and why."""

    at: datetime
    surveys: Mapping[str, SurveyStanding] = field(default_factory=dict)
    work: Mapping[str, Work] = field(default_factory=dict)
    posters: list[dict[str, Any]] = field(default_factory=list)
    programs: list[dict[str, Any]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    delivered: int = 0
    quarantine: Standing = Standing()
    quarantined: list[Group] = field(default_factory=list)
    quarantine_alarm: str = ""
    disk: Disk | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)
    nights: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class CockpitService:
    """Reads how things stand, as the MongoDB user that can only read."""

    def __init__(self, config: Config, queries: Queries):
        self._config, self._queries = config, queries
        self._database: MongoDatabase = connect(config.database, "reader")
        self._one, self._books_one = asyncio.Lock(), asyncio.Lock()
        self._now: tuple[float, Now] | None = None
        self._books: tuple[float, dict[str, Any] | None] | None = None

    async def now(self) -> Now:
        """How everything stands, no older than `FRESH` s."""
        async with self._one:
            if self._now is None or time.monotonic() > self._now[0] + FRESH:
                self._now = time.monotonic(), await self._look()
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

    async def _look(self) -> Now:
        """What can be read; one part that can't is named, and does not take the others with it."""
        found, missing = await asyncio.to_thread(self._read)
        try:
            standing = await standing_figures(self._queries)
            found |= {"surveys": standing.surveys, "posters": standing.posters}
        except KowalskiError as error:
            missing.append(f"surveys: {error}")
        alarm = found.get("quarantine", Standing()).alarm(self._config.broker.quarantine_bytes)
        work = self._work(found.get("programs", []))
        return Now(datetime.now(UTC), **found, work=work, quarantine_alarm=alarm, missing=missing)

    def _read(self) -> tuple[dict[str, Any], list[str]]:
        read, quarantined = Instruments(self._database), Quarantined(self._database)
        parts: dict[str, Callable[[], Any]] = {
            "programs": Processes(self._database).alive,
            "streams": read.streams,
            "lanes": read.lanes,
            "delivered": lambda: read.delivered_since(datetime.now(UTC) - timedelta(hours=1)),
            "quarantine": quarantined.standing,
            "quarantined": lambda: quarantined.groups(Selection()),
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
        return found, missing

    def _work(self, programs: list[dict[str, Any]]) -> dict[str, Work]:
        """What brokers say they did, by survey."""
        brokers: dict[str, list[dict[str, Any]]] = {}
        for each in programs:
            if each["program"] == BROKER:
                brokers.setdefault(each["survey"], []).append(each)
        return {survey: _work_of(own, _dashboard(self._config, survey)) for survey, own in brokers.items()}


def _work_of(brokers: list[dict[str, Any]], dashboard: str) -> Work:
    counts = {name: sum(int(each.get(name) or 0) for each in brokers) for name in COUNTS}
    for name in ("quarantined", "passed"):
        counts[name] = sum(sum((each.get(name) or {}).values()) for each in brokers)
    stages = sorted({stage for each in brokers for stage in each.get("seconds", {})})
    spent = {stage: sum(each.get("seconds", {}).get(stage, 0.0) for each in brokers) for stage in stages}
    received = counts["received"]
    return Work(
        workers=max(int(each.get("workers") or 0) for each in brokers),
        counts=counts,
        stage_ms={stage: 1000 * seconds / received for stage, seconds in spent.items()} if received else {},
        dashboard=dashboard,
    )


def _dashboard(config: Config, survey: str) -> str:
    """Address of the dashboard of the survey's dask scheduler, as seen from its own machine."""
    settings = config.dask.get(survey.lower())
    if settings is None:
        return ""
    host, _, port = settings.dashboard_address.rpartition(":")
    return f"http://{host or '127.0.0.1'}:{port}/status"
