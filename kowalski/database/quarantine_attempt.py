"""Another attempt at packets in quarantine."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any, NamedTuple

from gridfs import GridFS
from pymongo.collection import Collection

from kowalski.alerts.decode import Packet
from kowalski.database.client import translated

Fetch = Callable[[str, int, int], bytes | None]
"""Gives a message's bytes by its topic, partition and offset; None: nobody has them any more."""

PLACE = {"topic": 1, "partition": 1, "offset": 1}


class Refused(NamedTuple):
    """Why a packet stays in quarantine."""

    reason: str
    detail: str


class Attempt:
    """Packets that stay in quarantine until the attempt has come to its end: what was refused again stays on.

    Attributes
    ----------
    left : packets that no attempt was made at, as their bytes can't be had, and why
    """

    def __init__(self, collection: Collection[dict[str, Any]], files: GridFS, name: str):
        self.collection, self.files, self.name = collection, files, name
        self.left: dict[str, str] = {}

    def packets(self, fetch: Fetch = lambda topic, partition, offset: None) -> Iterator[Packet]:
        """The packets, as the messages that they came in; ``fetch`` gives those of which only the head was kept."""
        with translated("read quarantine"):
            found = list(self.collection.find({"replay": self.name}, PLACE))
        for place in sorted(found, key=lambda each: (each["topic"], each["partition"], each["offset"])):
            with translated("read quarantine"):
                document = self.collection.find_one({"_id": place["_id"], "replay": self.name})
                if document is None:
                    continue
                data = self._bytes(document, fetch)
            if data is not None:
                stamp = document["timestamp"].replace(tzinfo=UTC)
                yield Packet(data, document["topic"], document["partition"], document["offset"], stamp)

    def _bytes(self, document: dict[str, Any], fetch: Fetch) -> bytes | None:
        if not document.get("truncated"):
            kept: bytes = self.files.get(document["_id"]).read() if "file" in document else document["data"]
            return kept
        data = fetch(document["topic"], document["partition"], document["offset"])
        if data is not None and hashlib.sha256(data).hexdigest() == document["sha256"]:
            return data
        self.left[document["_id"]] = (
            "only its head was kept, and Kafka has expired it"
            if data is None
            else "only its head was kept, and Kafka has another message in its place"
        )
        self.collection.update_one({"_id": document["_id"], "replay": self.name}, {"$unset": {"replay": ""}})
        return None

    def release(self) -> list[str]:
        """Forget the packets that were not refused again, once all that they cause is stored; their keys."""
        with translated("release packets from quarantine"):
            keys = [found["_id"] for found in self.collection.find({"replay": self.name}, {"_id": 1})]
            gone = [key for key in keys if self.collection.delete_one({"_id": key, "replay": self.name}).deleted_count]
            for key in gone:
                self.files.delete(key)  # of those that are in GridFS; of the others there is nothing
            return gone

    def reasons(self, keys: list[str]) -> dict[str, Refused]:
        """Why packets are in quarantine now, of those among some that are."""
        reasons = {}
        with translated("read quarantine"):
            for begin in range(0, len(keys), 10_000):
                among = {"_id": {"$in": keys[begin : begin + 10_000]}}
                for found in self.collection.find(among, {"reason": 1, "detail": 1}):
                    reasons[found["_id"]] = Refused(found["reason"], found["detail"])
        return reasons
