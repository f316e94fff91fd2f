"""How filters did: one document per filter version and night, which all workers add to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo import UpdateOne
from pymongo.write_concern import WriteConcern

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes

COLLECTION = "filter_runs"
#: s after which what was not renewed disappears
FORGOTTEN_AFTER = 90 * 86400


@dataclass(slots=True)
class Night:
    """What one worker has to add to the figures of one filter version in one night.

    Attributes
    ----------
    counts : runs, alerts, passed, failed, skipped
    ms : logarithmic bin -> runs that took so long
    error : the last thing that went wrong, and when
    open_until : when the worker's breaker lets the filter run again; None: it is not open
    """

    counts: dict[str, int] = field(default_factory=dict)
    ms: dict[int, int] = field(default_factory=dict)
    last_run: datetime | None = None
    error: dict[str, Any] | None = None
    open_until: datetime | None = None


class FilterRuns:
    """The collection ``filter_runs``. Its figures are not waited for until they are on disk."""

    INDEXES = [
        Index("filter_id_night", [("filter_id", 1), ("night", -1)]),
        Index("last_run", [("last_run", 1)], {"expireAfterSeconds": FORGOTTEN_AFTER}),
    ]

    def __init__(self, database: MongoDatabase):
        self._runs = database.get_collection(COLLECTION, write_concern=WriteConcern(w=1, j=False))

    @translated("indexes of filter_runs")
    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        ensure_indexes(self._runs, self.INDEXES)

    @translated("add figures of filters")
    def add(self, process: str, survey: str, nights: Mapping[tuple[int, str, str], Night]) -> None:
        """Add what a worker counted, by filter_id, fid and night (UTC date)."""
        writes = [
            UpdateOne(
                {"_id": f"{filter_id}:{fid}:{night}"},
                _change(
                    process, {"filter_id": filter_id, "fid": fid, "night": night, "survey": survey}, figures
                ),
                upsert=True,
            )
            for (filter_id, fid, night), figures in nights.items()
        ]  # fmt: skip
        if writes:
            self._runs.bulk_write(writes, ordered=False)


def _change(process: str, about: dict[str, Any], figures: Night) -> dict[str, Any]:
    breaker = f"open_until.{process.replace('.', '_')}"
    added = {**figures.counts, **{f"ms.{place}": number for place, number in figures.ms.items()}}
    change: dict[str, Any] = {"$set": {**about, "last_run": figures.last_run}, "$inc": added}
    if figures.error is not None:
        change["$set"]["error"] = figures.error
    if figures.open_until is not None:
        change["$set"][breaker] = figures.open_until
    else:
        change["$unset"] = {breaker: ""}
    return change


def recent(now: datetime, days: int) -> str:
    """The first of the last nights."""
    return f"{now - timedelta(days=days):%Y-%m-%d}"
