"""Quarantine: packets that could not be processed, with their bytes and the reason."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from gridfs import GridFS
from gridfs.errors import FileExists

from kowalski.alerts.document import Refusal
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes

INDEXES = [Index("survey_reason_at", [("survey", 1), ("reason", 1), ("at", 1)])]


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
        """Keep refused packets durably, each once; large ones in GridFS."""
        for refusal in refusals:
            packet = refusal.packet
            key = f"{packet.topic}:{packet.partition}:{packet.offset}"
            document: dict[str, Any] = {
                "survey": survey,
                "topic": packet.topic,
                "partition": packet.partition,
                "offset": packet.offset,
                "timestamp": packet.timestamp,
                "reason": refusal.reason,
                "detail": refusal.detail[:10_000],
                "size": len(packet.data),
                "at": datetime.now(UTC),
            }
            with translated("quarantine a packet"):
                if len(packet.data) > self.inline_bytes:
                    document["file"] = self._store(key, packet.data)
                else:
                    document["data"] = packet.data
                self.collection.update_one({"_id": key}, {"$setOnInsert": document}, upsert=True)

    def _store(self, key: str, data: bytes) -> str:
        if not self.files.exists(key):
            self.files.delete(key)  # what a try that was cut off has left
            with suppress(FileExists):  # the same packet elsewhere
                self.files.put(data, _id=key, filename=key)
        return key

    def data(self, key: str) -> bytes | None:
        """The bytes of a kept packet."""
        with translated("read quarantine"):
            document = self.collection.find_one({"_id": key})
            if document is None:
                return None
            data: bytes = self.files.get(key).read() if "file" in document else document["data"]
            return data
