"""How a filter does: its last nights, its breaker, and what is wrong with it."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kowalski.bins import quantile
from kowalski.database.filter_runs import COLLECTION, recent
from kowalski.database.queries import Document, Queries, Reading
from kowalski.errors import FilterError
from kowalski.filters.definition import compile_filter

#: nights that are shown
DAYS = 30
#: and those of which a list of filters tells
LATELY = 7
FIELDS = dict.fromkeys(("filter_id", "fid", "night", "passed", "open_until", "error"), 1)
READING = Reading(max_time_ms=5000, comment="filter status", sort=[("night", -1), ("last_run", -1)])


async def status_of(stored: Document, checks: list[Document], queries: Queries) -> Document:
    """A filter's state as its owner wants to know it.

    ``nights`` are newest first, one per version that ran: ``alerts`` that it saw, of which so many ``passed``, ``failed`` (MongoDB
    refused them or it took too long) or were ``skipped`` (the breaker was open); ``ms`` of one run on a batch.
    """
    now = datetime.now(UTC)
    condition = {"filter_id": stored["filter_id"], "night": {"$gte": recent(now, DAYS)}}
    found = [each async for each in queries.find(COLLECTION, condition, READING)]
    return {
        "filter_id": stored["filter_id"],
        "active": stored.get("active"),
        "active_fid": stored.get("active_fid"),
        "problems": _problems(stored),
        "last_run": found[0]["last_run"] if found else None,
        "breaker": _breaker([each for each in found if each["fid"] == stored.get("active_fid")], now),
        "nights": [_night(each) for each in found],
        "activations": [{key: value for key, value in each.items() if key != "_id"} for each in checks],
    }


async def overview(filters: list[Document], queries: Queries) -> list[Document]:
    """Filters, each with its ``breaker`` and ``passed``: how many alerts by night, of the last `LATELY` days."""
    now = datetime.now(UTC)
    condition = {"filter_id": {"$in": [each["filter_id"] for each in filters]}, "night": {"$gte": recent(now, LATELY)}}
    runs: dict[int, list[Document]] = {}
    async for each in queries.find(COLLECTION, condition, replace(READING, projection=FIELDS)):
        runs.setdefault(each["filter_id"], []).append(each)
    return [each | _lately(each, runs.get(each["filter_id"], []), now) for each in filters]


def _lately(stored: Document, found: list[Document], now: datetime) -> Document:
    passed: Counter[str] = Counter()
    for each in found:
        passed[each["night"]] += each.get("passed", 0)
    return {
        "passed": dict(passed),
        "breaker": _breaker([run for run in found if run["fid"] == stored.get("active_fid")], now),
    }


def _problems(stored: Document) -> list[str]:
    try:
        return list(compile_filter(stored).problems)
    except (FilterError, KeyError, TypeError, AttributeError) as error:
        return [str(error)]


def _night(figures: Document) -> Document:
    counts = {name: figures.get(name, 0) for name in ("runs", "alerts", "passed", "failed", "skipped")}
    ms = figures.get("ms") or {}
    times = {"p50": quantile(ms, 0.5), "p99": quantile(ms, 0.99)}
    return {"night": figures["night"], "fid": figures["fid"], **counts, "ms": times, "error": figures.get("error")}


def _breaker(nights: list[Document], now: datetime) -> Document:
    """Open where any worker leaves the filter alone now."""
    until: list[Any] = [
        moment.replace(tzinfo=UTC) for night in nights for moment in (night.get("open_until") or {}).values()
    ]
    latest = max(until, default=None)
    if latest is None or latest <= now:
        return {"open": False, "until": None, "reason": None}
    error = next((night["error"]["reason"] for night in nights if night.get("error")), None)
    return {"open": True, "until": latest, "reason": error}
