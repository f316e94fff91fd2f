"""Logins that failed, counted for all processes and hosts together."""

from typing import Any

from pymongo import UpdateOne

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.settings import Database

#: s after the last failure when all are forgotten
MEMORY = 600

#: whether a count is not forgotten yet; all times are those of the server's clock, which all processes share
_REMEMBERED = {"$gt": ["$last", {"$subtract": ["$$NOW", MEMORY * 1000]}]}


class Logins:
    """Reads and writes ``logins``: ``{_id: whose, failures, last}``; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.collection = self.client[settings.db]["logins"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """What is forgotten is deleted by MongoDB itself."""
        with translated("indexes of logins"):
            await self.collection.create_index("last", name="last", expireAfterSeconds=MEMORY)

    async def failures(self, keys: list[str]) -> dict[str, tuple[int, float]]:
        """How often each failed of late, and how many s ago the last time; who did not is left out."""
        condition: dict[str, Any] = {"_id": {"$in": keys}, "$expr": _REMEMBERED}
        projection = {"failures": 1, "ago": {"$subtract": ["$$NOW", "$last"]}}
        with translated("read failed logins"):
            found = await self.collection.find(condition, projection).to_list(None)
        return {each["_id"]: (each["failures"], each["ago"] / 1000) for each in found}

    async def failed(self, keys: list[str]) -> None:
        """One more login failed for each."""
        count = {"$cond": [_REMEMBERED, {"$add": ["$failures", 1]}, 1]}
        change: list[dict[str, Any]] = [{"$set": {"failures": count, "last": "$$NOW"}}]
        with translated("store a failed login"):
            await self.collection.bulk_write([UpdateOne({"_id": key}, change, upsert=True) for key in keys])

    async def succeeded(self, key: str) -> None:
        """Its failures are forgotten."""
        with translated("forget failed logins"):
            await self.collection.delete_one({"_id": key})
