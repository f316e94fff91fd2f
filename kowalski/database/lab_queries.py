"""What users asked on the lab's query page, so that they can ask it again, on any of their devices."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.settings import Database

COLLECTION = "lab_queries"
#: queries of one user that are kept, the latest, and those that are listed
KEPT, LISTED = 100, 30
#: characters of a title, and of what is shown of a query in a list
TITLE, SAID = 120, 80

Document = dict[str, Any]


class LabQueries:
    """Reads and writes ``lab_queries``: ``{_id, user, kind, fields: {name: text as it was typed}, title, said, at}``. Use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.collection = self.client[settings.db][COLLECTION]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """A user's queries are found by time."""
        with translated(f"indexes of {COLLECTION}"):
            await self.collection.create_index([("user", 1), ("at", -1)], name="user_at")

    async def keep(self, user: str, kind: str, fields: Mapping[str, str]) -> str:
        """A query is the user's latest, once, however often he asks it; his oldest beyond `KEPT` are gone. Its id."""
        said = json.dumps([user, kind, sorted(fields.items())])
        key = hashlib.sha256(said.encode()).hexdigest()[:24]
        about = {
            "title": _first(fields, "comment", "catalog", "command")[:TITLE] or kind,
            "said": _first(fields, "pipeline", "radec", "filter")[:SAID],
        }
        document = {"user": user, "kind": kind, "fields": dict(fields), "at": datetime.now(UTC), **about}
        with translated("keep a query"):
            await self.collection.replace_one({"_id": key}, document, upsert=True)
            beyond = self.collection.find({"user": user}, {"_id": 1}).sort("at", -1).skip(KEPT)
            if old := [each["_id"] async for each in beyond]:
                await self.collection.delete_many({"_id": {"$in": old}, "user": user})
        return key

    async def get(self, user: str, key: str) -> Document | None:
        """One of the user's queries; None where he has none of that id."""
        with translated("read a query"):
            return await self.collection.find_one({"_id": key, "user": user})

    async def of(self, user: str) -> list[Document]:
        """The user's latest queries, the last one first, without their fields, which may be long."""
        with translated("read queries"):
            return await self.collection.find({"user": user}, {"fields": 0}).sort("at", -1).limit(LISTED).to_list(None)

    async def forget(self, user: str, key: str | None = None) -> None:
        """One of the user's queries is gone, or all are."""
        with translated("forget queries"):
            await self.collection.delete_many({"user": user} | ({} if key is None else {"_id": key}))


def _first(fields: Mapping[str, str], *names: str) -> str:
    """The first of some fields in which there is anything."""
    return next((fields[name] for name in names if fields.get(name)), "")
