"""Events that notices told of, with the alerts in their sky maps, and notices that could not be made use of."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.database.queries import POSITION
from kowalski.settings import Database

#: bytes of a notice that are kept of one that can't be read; GCN's are of 2 MB at most
MAX_CONTENT = 12 << 20
#: characters of a reason
MAX_REASON = 2_000

Document = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One message of the stream."""

    topic: str
    partition: int
    offset: int
    content: bytes

    @property
    def key(self) -> str:
        """What it is called."""
        return f"{self.topic}:{self.partition}:{self.offset}"


class GcnEvents:
    """Reads and writes ``gcn_events`` and ``quarantine_gcn``, and reads alerts; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self._database = self.client[settings.db]
        self._events = self._database["gcn_events"]
        self._refused = self._database["quarantine_gcn"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated("indexes of gcn_events"):
            await self._events.create_index([("noticed_at", -1)], name="noticed_at")
            await self._refused.create_index([("again_at", 1)], name="again_at", sparse=True)

    async def note(self, event: str, message: Message, notice: Document, known: Document, late: bool) -> Document:
        """An event has a notice, once however often it comes; the event as it is then.

        Parameters
        ----------
        notice : what is kept of the notice
        known : fields of the event that it tells anew
        late : whether it is tried again, and changes nothing of an event that others told of since
        """
        noted = {"_id": message.key, "topic": message.topic, "at": datetime.now(UTC), **notice}
        with translated("note a notice"):
            first = {"noticed_at": noted["at"], "notices": [], "alerts": []}
            await self._events.update_one({"_id": event}, {"$setOnInsert": first}, upsert=True)
            await self._events.update_one({"_id": event}, {"$pull": {"notices": {"_id": message.key}}})
            await self._events.update_one({"_id": event}, {"$push": {"notices": noted}})
            untold = {"retracted": {"$exists": False}} if late else {}
            await self._events.update_one({"_id": event, **untold}, {"$set": known})
            return await self._events.find_one({"_id": event}, {"alerts": 0}) or {}

    async def put_alerts(self, event: str, map_id: Any, alerts: list[Document], searched: Document) -> None:
        """An event has these alerts in its sky map, if that is still this one."""
        with translated("store an event's alerts"):
            change = {"$set": {"alerts": alerts, "searched": searched}}
            await self._events.update_one({"_id": event, "skymap": map_id}, change)

    async def note_failure(self, event: str, reason: str) -> None:
        """An event's alerts stay as they are, for they could not be looked for again."""
        with translated("note why alerts were not looked for"):
            failed = {"searched.at": datetime.now(UTC), "searched.error": reason[:MAX_REASON]}
            await self._events.update_one({"_id": event}, {"$set": failed})

    async def next_to_refresh(self, days: float, interval: float) -> Document | None:
        """The event, noticed of late and not retracted, whose alerts were looked for longest ago, and longer than ``interval`` s."""
        now = datetime.now(UTC)
        condition = {
            "noticed_at": {"$gt": now - timedelta(days=days)},
            "skymap": {"$exists": True},
            "retracted": False,
            "searched.at": {"$lt": now - timedelta(seconds=interval)},
        }
        with translated("look for events to refresh"):
            return await self._events.find_one(condition, {"alerts": 0, "notices": 0}, sort=[("searched.at", 1)])

    async def recent_alerts(
        self, survey: Survey, geometry: Document | None, since_jd: float
    ) -> AsyncIterator[Document]:
        """Position, ids and programme of a survey's alerts since a jd, around a geometry or anywhere."""
        program = [f"candidate.{survey.program_field}"] if survey.program_field else []
        fields = ["objectId", "candid", "candidate.jd", POSITION, *program]
        condition: Document = {"candidate.jd": {"$gte": since_jd}}
        if geometry is not None:
            condition[POSITION] = {"$geoWithin": {"$geometry": geometry}}
        with translated("look for recent alerts"):
            found = self._database[survey.alerts].find(condition, dict.fromkeys(fields, 1), batch_size=5000)
            async for document in found:
                yield document

    async def refuse(self, message: Message, reason: str, again_at: datetime | None = None) -> None:
        """A notice is kept with the reason why it could not be made use of, and when to try again."""
        kept: Document = {
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
            "at": datetime.now(UTC),
            "reason": reason[:MAX_REASON],
            "size": len(message.content),
            "content": message.content[:MAX_CONTENT],
        }
        with translated("keep a notice"):
            change: Document = {"$set": kept, "$inc": {"attempts": 1}}
            if again_at is None:
                change["$unset"] = {"again_at": ""}
            else:
                kept["again_at"] = again_at
            await self._refused.update_one({"_id": message.key}, change, upsert=True)

    async def due(self) -> tuple[Message, int] | None:
        """A notice that is to be tried again now, and how often it was tried."""
        with translated("look for notices to try again"):
            found = await self._refused.find_one({"again_at": {"$lte": datetime.now(UTC)}}, sort=[("again_at", 1)])
        if found is None:
            return None
        return Message(found["topic"], found["partition"], found["offset"], bytes(found["content"])), found["attempts"]

    async def accept(self, message: Message) -> None:
        """A notice that was refused at first is no longer."""
        with translated("let a notice go"):
            await self._refused.delete_one({"_id": message.key})

    async def latest(self, limit: int, skip: int) -> list[Document]:
        """Events, the latest noticed first, of their alerts no more than whose they are."""
        fields = ("dateobs", "noticed_at", "aliases", "triggerid", "retracted", "test", "localization_name", "searched")
        whose = ("alerts.survey", "alerts.programid")
        with translated("read events"):
            found = (
                self._events.find({}, dict.fromkeys((*fields, *whose), 1))
                .sort("noticed_at", -1)
                .skip(skip)
                .limit(limit)
            )
            return [document async for document in found]

    async def find(self, event: str) -> Document | None:
        """One event."""
        with translated("read an event"):
            return await self._events.find_one({"_id": event})
