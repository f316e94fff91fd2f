"""How many bytes quarantine holds, and how much of a refused packet may still be kept.

Each process counts what it keeps itself from the sum of all that MongoDB gave it, which is never older than some seconds: so several that add
at once exceed the bound by what they keep in that time, and no more. The sum is read of an index alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple

from pymongo.collection import Collection

from kowalski.database.indexes import Index
from kowalski.log import get_logger

log = get_logger(__name__)

Pipeline = list[dict[str, Any]]

#: bytes that are kept of a packet that there is no room for; beyond the bound and a tenth of it not even these
HEAD = 65_536
#: share of the bound from which on there is a warning
HIGH = 0.8
#: s for which a sum is believed; longer where it took more than a twentieth of that
BELIEVED = 10.0
#: s between two alarms of a process
SILENT = 600.0

#: all that sums are made of, so that nothing else is read for them
STANDING = Index(
    "at_survey_reason_size",
    [(name, 1) for name in ("at", "survey", "reason", "size", "held", "discarded.at", "truncated")],
)
ANY_TIME = {"at": {"$gte": datetime(1970, 1, 1, tzinfo=UTC)}}
#: bytes kept of a packet
HELD = {"$ifNull": ["$held", "$size"]}
IS_DISCARDED = {"$gt": ["$discarded.at", None]}


class Standing(NamedTuple):
    """What quarantine holds.

    Attributes
    ----------
    packets : all but those discarded
    truncated : of these, those that only the head was kept of
    """

    packets: int = 0
    truncated: int = 0
    discarded: int = 0
    held: int = 0

    def alarm(self, max_bytes: int) -> str:
        """What an operator has to know, and whether it is an alarm or a warning; empty: nothing."""
        texts = []
        if self.held >= HIGH * max_bytes:
            texts.append(f"{_fullness(self.held, max_bytes)}: ./kowalski.py quarantine replay or discard makes room")
        if self.truncated:
            packets = f"{self.truncated} packets in quarantine have only their heads"
            texts.append(f"{packets}: replay them before Kafka expires the rest")
        level = "ALARM" if self.truncated or self.held >= max_bytes else "warning"
        return f"{level}: {'; '.join(texts)}" if texts else ""


def _fullness(held: int, max_bytes: int) -> str:
    share = f"quarantine holds {held / 1e6:.1f} of {max_bytes / 1e6:.1f} MB (broker.quarantine_bytes)"
    return f"{share}, beyond which only heads are kept"


def counts(group: Any = None, among: Mapping[str, Any] | None = None) -> Pipeline:
    """Stages that count packets and bytes, among some of them, by ``group``; their results are named as in `Standing`, and ``_id``."""
    truncated = {"$cond": [{"$and": ["$truncated", {"$not": IS_DISCARDED}]}, 1, 0]}
    return [
        {"$match": {**ANY_TIME, **(among or {})}},
        {
            "$group": {
                "_id": group,
                "packets": {"$sum": {"$cond": [IS_DISCARDED, 0, 1]}},
                "truncated": {"$sum": truncated},
                "discarded": {"$sum": {"$cond": [IS_DISCARDED, 1, 0]}},
                "held": {"$sum": HELD},
                "first": {"$min": "$at"},
                "last": {"$max": "$at"},
            }
        },
    ]


def standing_of(row: Mapping[str, Any]) -> Standing:
    """The counts in one result of `counts`."""
    return Standing(**{name: int(row.get(name, 0)) for name in Standing._fields})


class Room:
    """Says how many bytes of each packet may be kept, and raises the alarm when that isn't all."""

    def __init__(self, collection: Collection[dict[str, Any]], max_bytes: int | None):
        self.collection, self.max_bytes = collection, max_bytes
        self._held = 0
        self._stale_at = 0.0
        self._silent_until = {"error": 0.0, "warning": 0.0}

    def take(self, size: int) -> int:
        """How many of the ``size`` bytes of a packet are to be kept: all while there is room, then its head, then none."""
        if self.max_bytes is None:
            return size
        if monotonic() >= self._stale_at:
            self._sum()
        taken, head = size, min(size, HEAD)
        if self._held + size > self.max_bytes:
            taken = head if self._held + head <= 1.1 * self.max_bytes else 0
        self._held += taken
        if taken < size:
            self._say("error", f"{_fullness(self._held, self.max_bytes)}: {taken} of {size} bytes of a packet now")
        elif self._held >= HIGH * self.max_bytes:
            self._say("warning", _fullness(self._held, self.max_bytes))
        return taken

    def _sum(self) -> None:
        begun = monotonic()
        self._held = sum(int(row["held"]) for row in self.collection.aggregate(counts()))
        now = monotonic()
        self._stale_at = now + max(BELIEVED, 20 * (now - begun))

    def _say(self, level: str, text: str) -> None:
        """Log it, unless the like was logged lately."""
        now = monotonic()
        if now >= self._silent_until[level]:
            self._silent_until[level] = now + SILENT
            getattr(log, level)("%s", text)
