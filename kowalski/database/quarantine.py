"""Quarantine: packets that could not be processed, with their bytes and the reason.

Of each message that was ever refused one document stays, unless another attempt at it succeeded: what is discarded loses its bytes, and
what comes when `broker.quarantine_bytes` are held is kept without them.
"""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gridfs import GridFS
from gridfs.errors import FileExists

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.database.quarantine_attempt import Attempt
from kowalski.database.quarantine_room import ANY_TIME, STANDING, Room

INDEXES = [
    Index("survey_reason_at", [("survey", 1), ("reason", 1), ("at", 1)]),
    # has all that the ledger asks for
    Index(
        "topic_partition_offset", [("topic", 1), ("partition", 1), ("offset", 1), ("reason", 1), ("discarded.at", 1)]
    ),
    STANDING,
    Index("replay", [("replay", 1)], {"sparse": True}),  # of another attempt
    Index("discarded", [("discarded.at", 1)], {"sparse": True}),
]
#: characters of an explanation that are kept
DETAIL = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the packets in quarantine are meant: all that fit what is not None; ``begin`` and ``end`` are of Kafka's time stamps."""

    survey: str | None = None
    reason: str | None = None
    keys: tuple[str, ...] | None = None
    begin: datetime | None = None
    end: datetime | None = None

    def condition(self) -> dict[str, Any]:
        """MongoDB's words for it, for documents discarded or not."""
        wanted: dict[str, Any] = {"survey": self.survey, "reason": self.reason}
        wanted["_id"] = None if self.keys is None else {"$in": list(self.keys)}
        stamps = {"$gte": self.begin, "$lt": self.end}
        wanted["timestamp"] = {key: moment for key, moment in stamps.items() if moment is not None} or None
        return {key: value for key, value in wanted.items() if value is not None}


class Quarantine:
    """Writes and reads ``quarantine``; a packet is known by its topic, partition and offset.

    Parameters
    ----------
    inline_bytes : larger packets go to GridFS
    max_bytes : of what is refused beyond so many bytes in all only heads are kept; None: there is no bound
    """

    def __init__(self, database: MongoDatabase, inline_bytes: int, max_bytes: int | None = None):
        self.collection = database["quarantine"]
        self.files = GridFS(database, "quarantine_files")
        self.inline_bytes = inline_bytes
        self.room = Room(self.collection, max_bytes)

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated("indexes of quarantine"):
            ensure_indexes(self.collection, INDEXES)

    def add(self, survey: str, refusals: list[Refusal]) -> None:
        """Keep refused packets durably, each once, large ones in GridFS; one refused at another attempt stays, with the new reason."""
        for refusal in refusals:
            key = key_of(refusal.packet)
            said = {"reason": refusal.reason, "detail": refusal.detail[:DETAIL]}
            with translated("quarantine a packet"):
                if self.collection.find_one({"_id": key}, {"_id": 1}) is None:
                    document = self._described(survey, refusal.packet) | self._kept(key, refusal.packet.data) | said
                    new = self.collection.update_one({"_id": key}, {"$setOnInsert": document}, upsert=True)
                    if not new.matched_count:
                        continue
                again = {"_id": key, "replay": {"$exists": True}}
                self.collection.update_one(again, {"$set": said, "$unset": {"replay": ""}})

    def _described(self, survey: str, packet: Packet) -> dict[str, Any]:
        return {
            "survey": survey,
            "topic": packet.topic,
            "partition": packet.partition,
            "offset": packet.offset,
            "timestamp": packet.timestamp,
            "size": len(packet.data),
            "sha256": hashlib.sha256(packet.data).hexdigest(),
            "at": datetime.now(UTC),
        }

    def _kept(self, key: str, data: bytes) -> dict[str, Any]:
        """As much of a packet's bytes as there is room for."""
        held = self.room.take(len(data))
        if held < len(data):
            return {"held": held, "truncated": True, "head": data[:held]}
        if held <= self.inline_bytes:
            return {"held": held, "data": data}
        if not self.files.exists(key):
            self.files.delete(key)  # what a try that was cut off has left
            with suppress(FileExists):  # the same packet elsewhere
                self.files.put(data, _id=key, filename=key)
        return {"held": held, "file": key}

    def take(self, chosen: Selection) -> Attempt:
        """Begin another attempt at the packets chosen that aren't discarded; all stay where they are."""
        attempt = Attempt(self.collection, self.files, secrets.token_hex(8))
        wanted = chosen.condition() | {"discarded": {"$exists": False}}
        with translated("take packets from quarantine"):
            self.collection.update_many(wanted, {"$set": {"replay": attempt.name}})
        return attempt

    def discard(self, chosen: Selection, because: str, by: str) -> int:
        """Give up the bytes of the packets chosen; what they were stays on record, with when, why and who. How many."""
        discarded: dict[str, Any] = {"discarded": {"at": datetime.now(UTC), "because": because, "by": by}, "held": 0}
        number = 0
        with translated("discard packets of quarantine"):
            unfinished = {"$or": [{"discarded": {"$exists": False}}, {"file": {"$exists": True}}]}
            wanted = ANY_TIME | chosen.condition() | unfinished
            for found in self.collection.find(wanted, {"file": 1, "sha256": 1}):
                still = {"_id": found["_id"], "discarded": {"$exists": False}}
                gone = dict.fromkeys(("data", "head", "truncated", "replay"), "")
                digest = found.get("sha256") or hashlib.sha256(self.data(found["_id"]) or b"").hexdigest()
                noted = discarded | {"sha256": digest}  # which those of the first versions lack
                number += self.collection.update_one(still, {"$set": noted, "$unset": gone}).modified_count
                if "file" in found:  # last, so that a discard that was cut off is taken up by the next
                    self.files.delete(found["_id"])
                    self.collection.update_one({"_id": found["_id"]}, {"$unset": {"file": ""}})
        return number

    def data(self, key: str) -> bytes | None:
        """The bytes of a packet, all of them; None where they aren't kept."""
        with translated("read quarantine"):
            document = self.collection.find_one({"_id": key}, {"data": 1, "file": 1})
            if document is not None and "file" in document:
                stored: bytes = self.files.get(key).read()
                return stored
            return None if document is None else document.get("data")


def key_of(packet: Packet) -> str:
    """What a packet is called in quarantine."""
    return f"{packet.topic}:{packet.partition}:{packet.offset}"
