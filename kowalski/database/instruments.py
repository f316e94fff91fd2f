"""What an operator watches, each read in a few milliseconds however much is stored: backlogs, streams, disk."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from kowalski.alerts.survey import known_surveys
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.outbox import FOLLOW_UP, KAFKA, SKYPORTAL

#: days of which streams are shown
DAYS = 3
#: ms that one of these reads may take
LONGEST = 2000


class Lane(NamedTuple):
    """How things stand in one lane of the outbox.

    Attributes
    ----------
    oldest : when the entry that waits longest was caused; None: none waits
    """

    name: str
    pending: int
    failed: int
    oldest: datetime | None


class Stream(NamedTuple):
    """How far a partition is read.

    Attributes
    ----------
    position, high : the next offset, and the one after the last that was known
    skipped : offsets that were passed over
    at : when that was so
    """

    survey: str
    topic: str
    partition: int
    position: int
    high: int
    skipped: int
    at: datetime


class Disk(NamedTuple):
    """The file system that MongoDB's data are on, and what they take of it; bytes."""

    used: float
    total: float
    data: float


class Instruments:
    """Reads all of them."""

    def __init__(self, database: MongoDatabase):
        self._database = database

    @translated("count the outbox by lane")
    def lanes(self) -> list[Lane]:
        """What waits and what was refused, by lane."""
        entries, found = self._database["outbox"], []
        for lane in (SKYPORTAL, FOLLOW_UP, KAFKA):
            count = {
                state: entries.count_documents({"state": state, "lane": lane}, maxTimeMS=LONGEST)
                for state in ("pending", "failed")
            }
            waits = {"state": "pending", "lane": lane}
            oldest = entries.find_one(waits, {"passed_at": 1}, sort=[("passed_at", 1)], max_time_ms=LONGEST)
            since = _utc(oldest.get("passed_at")) if oldest else None
            found.append(Lane(lane, count["pending"], count["failed"], since))
        return found

    @translated("count what was delivered")
    def delivered_since(self, moment: datetime) -> int:
        """How many entries were delivered since then."""
        condition = {"state": "delivered", "delivered_at": {"$gte": moment}}
        return int(self._database["outbox"].count_documents(condition, maxTimeMS=LONGEST))

    @translated("read how far partitions are read")
    def streams(self) -> list[Stream]:
        """The partitions that were read lately, by survey, topic and number."""
        since = datetime.now(UTC) - timedelta(days=DAYS)
        found = self._database["ledger_streams"].find({"at": {"$gte": since}}, max_time_ms=LONGEST)
        return sorted(
            Stream(
                each["survey"],
                each["topic"],
                each["partition"],
                each["position"],
                each["high"],
                sum(skip["end"] - skip["first"] for skip in each.get("skipped", {}).values()),
                _utc(each["at"]) or since,
            )
            for each in found
        )

    @translated("ask MongoDB for its disk")
    def disk(self) -> Disk:
        """Its file system."""
        said = self._database.command("dbStats", maxTimeMS=LONGEST)
        return Disk(said.get("fsUsedSize", 0.0), said.get("fsTotalSize", 0.0), said.get("totalSize", 0.0))

    @translated("count alerts")
    def alerts(self) -> dict[str, int]:
        """How many alerts are stored of each survey that has any, by MongoDB's own counts."""
        counts = {each.name: self._database[each.alerts].estimated_document_count() for each in known_surveys()}
        return {name: count for name, count in counts.items() if count}


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
