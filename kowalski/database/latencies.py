"""How long alerts took: one document per survey and 10 s, to which brokers and posters add."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from pymongo import UpdateOne
from pymongo.write_concern import WriteConcern

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes

COLLECTION = "latencies"
#: s of time that are counted together
SLOT = 10
#: s after which they are forgotten
FORGOTTEN_AFTER = 3 * 86400


class Slot(NamedTuple):
    """A stretch of time in which a survey's alerts went through stages."""

    survey: str
    at: datetime


def slot_of(moment: datetime) -> datetime:
    """When the slot of a moment begins."""
    return moment - timedelta(seconds=moment.second % SLOT, microseconds=moment.microsecond)


class LatencyCounts:
    """The collection ``latencies``. Its counts are not waited for until they are on disk."""

    INDEXES = [Index("at", [("at", 1)], {"expireAfterSeconds": FORGOTTEN_AFTER})]

    def __init__(self, database: MongoDatabase):
        self._counts = database.get_collection(COLLECTION, write_concern=WriteConcern(w=1, j=False))

    @translated("indexes of latencies")
    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        ensure_indexes(self._counts, self.INDEXES)

    @translated("add latencies")
    def add(self, slots: Mapping[Slot, Mapping[str, Mapping[int, int]]]) -> None:
        """Add counts: slot -> stage -> logarithmic bin (`kowalski.bins`) of its seconds -> alerts."""
        writes = [
            UpdateOne(
                {"_id": f"{slot.survey}:{slot.at:%Y%m%dT%H%M%S}"},
                {
                    "$inc": {f"stages.{stage}.{place}": number for stage, bins in stages.items() for place, number in bins.items()},
                    "$setOnInsert": slot._asdict(),
                },
                upsert=True,
            )
            for slot, stages in slots.items()
        ]  # fmt: skip
        if writes:
            self._counts.bulk_write(writes, ordered=False)
