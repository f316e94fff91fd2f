"""Quarantine: packets that could not be processed, with their bytes and the reason."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from gridfs import GridFS
from gridfs.errors import FileExists

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes

INDEXES = [
    Index("survey_reason_at", [("survey", 1), ("reason", 1), ("at", 1)]),
    Index("replay", [("replay", 1)], {"sparse": True}),  # of another attempt
]


class Quarantine:
    """Writes and reads ``quarantine``; a packet is known by its topic, partition and offset."""

    def __init__(self, database: MongoDatabase, inline_bytes: int):
        self.collection = database["quarantine"]
        self.files = GridFS(database, "quarantine_files")
        self.inline_bytes = inline_bytes

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated("indexes of quarantine"):
            ensure_indexes(self.collection, INDEXES)

    def add(self, survey: str, refusals: list[Refusal]) -> None:
        """Keep refused packets durably, each once, large ones in GridFS; one refused at another attempt stays, with the new reason."""
        for refusal in refusals:
            packet = refusal.packet
            key = f"{packet.topic}:{packet.partition}:{packet.offset}"
            document: dict[str, Any] = {
                "survey": survey,
                "topic": packet.topic,
                "partition": packet.partition,
                "offset": packet.offset,
                "timestamp": packet.timestamp,
                "size": len(packet.data),
                "at": datetime.now(UTC),
            }
            with translated("quarantine a packet"):
                if len(packet.data) > self.inline_bytes:
                    document["file"] = self._store(key, packet.data)
                else:
                    document["data"] = packet.data
                said = {"reason": refusal.reason, "detail": refusal.detail[:10_000]}
                if self.collection.update_one(
                    {"_id": key}, {"$setOnInsert": document | said}, upsert=True
                ).matched_count:
                    again = {"_id": key, "replay": {"$exists": True}}
                    self.collection.update_one(again, {"$set": said, "$unset": {"replay": ""}})

    def _store(self, key: str, data: bytes) -> str:
        if not self.files.exists(key):
            self.files.delete(key)  # what a try that was cut off has left
            with suppress(FileExists):  # the same packet elsewhere
                self.files.put(data, _id=key, filename=key)
        return key

    def take(self, survey: str, begin: datetime, end: datetime) -> "Attempt":
        """Begin another attempt at a survey's packets of an interval, that is of Kafka's time stamps; all stay where they are."""
        attempt = Attempt(self, secrets.token_hex(8))
        chosen = {"survey": survey, "timestamp": {"$gte": begin, "$lt": end}}
        with translated("take packets from quarantine"):
            self.collection.update_many(chosen, {"$set": {"replay": attempt.name}})
        return attempt

    def data(self, key: str) -> bytes | None:
        """The bytes of a kept packet."""
        with translated("read quarantine"):
            document = self.collection.find_one({"_id": key})
            if document is None:
                return None
            return self._bytes(document)

    def _bytes(self, document: dict[str, Any]) -> bytes:
        data: bytes = self.files.get(document["_id"]).read() if "file" in document else document["data"]
        return data


class Attempt:
    """Another attempt at packets that stay in quarantine until it has come to its end: what was refused again stays on."""

    def __init__(self, quarantine: Quarantine, name: str):
        self.quarantine = quarantine
        self.name = name

    def packets(self) -> Iterator[Packet]:
        """The packets, as the messages that they came in."""
        collection = self.quarantine.collection
        with translated("read quarantine"):
            keys = [found["_id"] for found in collection.find({"replay": self.name}, {"_id": 1}).sort("_id", 1)]
        for key in keys:
            with translated("read quarantine"):
                document = collection.find_one({"_id": key, "replay": self.name})
                if document is None:
                    continue
                data = self.quarantine._bytes(document)
            stamp = document["timestamp"].replace(tzinfo=UTC)
            yield Packet(data, document["topic"], document["partition"], document["offset"], stamp)

    def release(self) -> int:
        """Forget the packets that were not refused again, once all that they cause is stored; how many."""
        collection, files = self.quarantine.collection, self.quarantine.files
        with translated("release packets from quarantine"):
            keys = [found["_id"] for found in collection.find({"replay": self.name}, {"_id": 1})]
            gone = [key for key in keys if collection.delete_one({"_id": key, "replay": self.name}).deleted_count]
            for key in gone:
                files.delete(key)  # of those that are in GridFS; of the others there is nothing
            return len(gone)
