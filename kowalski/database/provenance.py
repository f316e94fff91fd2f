"""Records of provenance, each once: what made scores, and the versions of the catalogues that objects were matched with."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from kowalski.database.client import MongoDatabase, translated

COLLECTION = "provenance"
#: s for which a record that was stored counts as there: somebody may empty the database under a worker
FRESH = 60.0


class Provenance:
    """The collection ``provenance``: a record's ``_id`` is made of its contents (`kowalski.provenance.records`)."""

    def __init__(self, database: MongoDatabase):
        self.collection = database[COLLECTION]
        self._stored: dict[str, float] = {}

    def put(self, record: Mapping[str, Any]) -> str:
        """A record is there, durably; its ``_id``. ``since`` says when it was first."""
        key: str = record["_id"]
        if monotonic() >= self._stored.get(key, -math.inf) + FRESH:
            with translated("store provenance"):
                self.collection.update_one(
                    {"_id": key}, {"$setOnInsert": {**record, "since": datetime.now(UTC)}}, upsert=True
                )
            self._stored[key] = monotonic()
        return key

    def read(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The records of some names, by these."""
        wanted = list(keys)
        with translated("read provenance"):
            return {each["_id"]: each for each in self.collection.find({"_id": {"$in": wanted}})} if wanted else {}
