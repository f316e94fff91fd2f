"""How each survey stands now, in figures from one place: alerts per second, latencies, lag, networks, and breakers that are open.

Brokers and posters say them in their signs of life and in ``latencies``; here they come together.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.alerts.trace import STAGES
from kowalski.bins import quantile, together
from kowalski.database.filter_runs import COLLECTION as FILTER_RUNS
from kowalski.database.filter_runs import recent
from kowalski.database.latencies import COLLECTION as LATENCIES
from kowalski.database.latencies import SLOT
from kowalski.database.queries import Document, Queries, Reading

#: s after which a program that says nothing counts as gone
RECENT = 10
READING = Reading(max_time_ms=2000, comment="standing")
#: times of which latencies and throughput are told
LATELY, JUST_NOW = timedelta(hours=1), timedelta(minutes=1)
#: the stage that each stored alert goes through once
STORED = "received_stored"
SHARES = {"p50": 0.5, "p99": 0.99}


@dataclass
class SurveyStanding:
    """One survey now.

    Attributes
    ----------
    alerts_per_s : alerts stored per second, of the last minute
    latencies : stage (`kowalski.alerts.trace.STAGES`) -> ``p50`` and ``p99`` (s, to 19 %) and the number of ``alerts``, of the last hour
    brokers : broker processes that gave a sign of life
    lag : ``topic``, ``partition`` and ``messages`` that are not read yet
    under_way : messages that are read, and not done
    models : network that scores -> version
    model_problems : network that is configured and not loaded -> why
    open_breakers : filters that are left alone: ``filter_id``, ``fid``, ``until`` and why (``reason``)
    """

    alerts_per_s: float = 0.0
    latencies: dict[str, dict[str, float]] = field(default_factory=dict)
    brokers: int = 0
    lag: list[dict[str, Any]] = field(default_factory=list)
    under_way: int = 0
    models: dict[str, str] = field(default_factory=dict)
    model_problems: dict[str, str] = field(default_factory=dict)
    open_breakers: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class SystemStanding:
    """The whole system now.

    Attributes
    ----------
    surveys : by key, of all that have a broker, or had alerts in the last hour
    posters : ``active``, ``ailing`` (SkyPortal's breaker is open), ``pause_s`` and ``counts`` (entries that wait, or failed) of each poster
    """

    surveys: dict[str, SurveyStanding] = field(default_factory=dict)
    posters: list[dict[str, Any]] = field(default_factory=list)


async def standing_figures(queries: Queries, now: datetime | None = None) -> SystemStanding:
    """How everything stands now.

    Raises
    ------
    QueryError : MongoDB does not answer in time
    """
    now = now or datetime.now(UTC)
    surveys: defaultdict[str, SurveyStanding] = defaultdict(SurveyStanding)
    standing = SystemStanding()
    await _latencies(queries, now, surveys)
    await _signs(queries, surveys, standing)
    await _breakers(queries, now, surveys)
    standing.surveys = dict(sorted(surveys.items()))
    return standing


async def throughput(queries: Queries, now: datetime | None = None) -> dict[str, list[tuple[datetime, float]]]:
    """Survey -> alerts stored per second in each slot of the last hour in which there were any, in order; the slot's begin.

    Raises
    ------
    QueryError : MongoDB does not answer in time
    """
    now = now or datetime.now(UTC)
    found: dict[str, list[tuple[datetime, float]]] = {}
    async for slot in queries.find(LATENCIES, {"at": {"$gte": now - LATELY}}, READING):
        stored = sum(slot["stages"].get(STORED, {}).values())
        found.setdefault(slot["survey"], []).append((_utc(slot["at"]), stored / SLOT))
    return {survey: sorted(rates) for survey, rates in sorted(found.items())}


async def _latencies(queries: Queries, now: datetime, surveys: defaultdict[str, SurveyStanding]) -> None:
    """Throughput and latencies, of what was counted."""
    counted: defaultdict[tuple[str, str], list[Document]] = defaultdict(list)
    fresh: defaultdict[str, int] = defaultdict(int)
    # the slot under way is not whole: the minute ends with the one before
    end = now - timedelta(seconds=SLOT)
    async for slot in queries.find(LATENCIES, {"at": {"$gte": now - LATELY}}, READING):
        for stage, bins in slot["stages"].items():
            counted[slot["survey"], stage].append(bins)
        if end - JUST_NOW <= _utc(slot["at"]) <= end:
            fresh[slot["survey"]] += sum(slot["stages"].get(STORED, {}).values())
    known = [key for key in counted if key[1] in STAGES]  # brokers of another version may have others
    for survey, stage in sorted(known, key=lambda key: list(STAGES).index(key[1])):
        bins = together(counted[survey, stage])
        quantiles = {name: quantile(bins, share) or 0.0 for name, share in SHARES.items()}
        surveys[survey].latencies[stage] = {**quantiles, "alerts": sum(bins.values())}
        surveys[survey].alerts_per_s = fresh[survey] / JUST_NOW.total_seconds()


async def _signs(queries: Queries, surveys: defaultdict[str, SurveyStanding], standing: SystemStanding) -> None:
    """What brokers and posters that live say of themselves."""
    alive = {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", RECENT * 1000]}]}}
    chosen = {"program": {"$in": ["alert-broker", "poster"]}, **alive}
    async for process in queries.find("processes", chosen, READING):
        if process["program"] == "poster":
            told = {name: process.get(name) for name in ("active", "ailing", "pause_s", "counts")}
            standing.posters.append({"host": process.get("host"), **told})
            continue
        survey = surveys[process["survey"]]
        survey.brokers += 1
        survey.lag = sorted([*survey.lag, *process.get("lags", [])], key=lambda each: (each["topic"], each["partition"]))  # fmt: skip
        survey.under_way += process.get("under_way", 0)
        survey.models |= process.get("models", {})
        survey.model_problems |= process.get("model_problems", {})


async def _breakers(queries: Queries, now: datetime, surveys: defaultdict[str, SurveyStanding]) -> None:
    """Filters that some worker leaves alone now."""
    chosen = {"night": {"$gte": recent(now, 1)}, "open_until": {"$type": "object"}}
    async for run in queries.find(FILTER_RUNS, chosen, READING):
        until = max((_utc(each) for each in run["open_until"].values()), default=now)
        if until > now:
            about = {"filter_id": run["filter_id"], "fid": run["fid"], "until": until}
            surveys[run["survey"]].open_breakers.append({**about, "reason": (run.get("error") or {}).get("reason")})


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
