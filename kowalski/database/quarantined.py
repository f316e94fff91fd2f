"""What quarantine holds, for those who look."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.quarantine import Selection
from kowalski.database.quarantine_room import ANY_TIME, Standing, counts, standing_of

Document = dict[str, Any]

#: what is listed of a packet
SHOWN = ("survey", "reason", "detail", "size", "at", "truncated", "discarded")
#: ms for counting, which reads an index alone
COUNTING = 10_000


class Group(NamedTuple):
    """The packets of one survey that were refused for one reason."""

    survey: str
    reason: str
    standing: Standing
    first: datetime
    last: datetime


class Quarantined:
    """Reads ``quarantine``; sees bytes only where one packet is asked for."""

    def __init__(self, database: MongoDatabase):
        self.collection = database["quarantine"]

    def standing(self) -> Standing:
        """How many packets there are, and their bytes."""
        with translated("count quarantine"):
            return next(map(standing_of, self.collection.aggregate(counts(), maxTimeMS=COUNTING)), Standing())

    def groups(self, chosen: Selection) -> list[Group]:
        """Counts by survey and reason, those of discarded packets too."""
        pipeline = counts({"survey": "$survey", "reason": "$reason"}, chosen.condition())
        with translated("count quarantine"):
            rows = list(self.collection.aggregate([*pipeline, {"$sort": {"_id": 1}}], maxTimeMS=COUNTING))
        return [
            Group(row["_id"]["survey"], row["_id"]["reason"], standing_of(row), _utc(row["first"]), _utc(row["last"]))
            for row in rows
        ]

    def latest(self, chosen: Selection, limit: int, discarded: bool = False) -> list[Document]:
        """The packets that came last, without their bytes; those discarded, or the others."""
        state: Document = {"discarded.at": {"$ne": None} if discarded else None}
        fields = dict.fromkeys(SHOWN, 1)
        with translated("list quarantine"):
            found = self.collection.find(ANY_TIME | state | chosen.condition(), fields).sort("at", -1).limit(limit)
            return [_in_utc(each) for each in found]

    def find(self, keys: Iterable[str]) -> dict[str, Document]:
        """Some packets without their bytes, by their keys, discarded ones too."""
        hidden = {"data": 0, "head": 0}
        with translated("read quarantine"):
            return {each["_id"]: _in_utc(each) for each in self.collection.find({"_id": {"$in": list(keys)}}, hidden)}

    def surveys(self, chosen: Selection) -> list[str]:
        """The surveys of the packets chosen that aren't discarded."""
        return sorted({group.survey for group in self.groups(chosen) if group.standing.packets})

    def head(self, key: str) -> bytes:
        """What was kept of a packet that was not kept whole; nothing, where not even that."""
        with translated("read quarantine"):
            document = self.collection.find_one({"_id": key}, {"head": 1}) or {}
            head: bytes = document.get("head", b"")
            return head


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def _in_utc(document: Document) -> Document:
    """A document whose times say that they are UTC, which MongoDB's don't."""
    return {
        key: _utc(value) if isinstance(value, datetime) else _in_utc(value) if isinstance(value, dict) else value
        for key, value in document.items()
    }
