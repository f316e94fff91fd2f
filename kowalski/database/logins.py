"""Logins that failed, counted for all processes and hosts together."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.settings import Database

#: s after which failures are forgotten
MEMORY = 600


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

    async def failures(self, keys: list[str]) -> dict[str, tuple[int, datetime]]:
        """How often each failed of late, and when the last time."""
        condition = {"_id": {"$in": keys}, "last": {"$gt": _forgotten()}}
        with translated("read failed logins"):
            found = await self.collection.find(condition).to_list(None)
        return {each["_id"]: (each["failures"], each["last"].replace(tzinfo=UTC)) for each in found}

    async def failed(self, keys: list[str]) -> None:
        """One more login failed."""
        recent = {"$gt": ["$last", _forgotten()]}
        change: list[dict[str, Any]] = [
            {"$set": {"failures": {"$cond": [recent, {"$add": ["$failures", 1]}, 1]}, "last": "$$NOW"}}
        ]
        with translated("store a failed login"):
            for key in keys:
                await self.collection.update_one({"_id": key}, change, upsert=True)

    async def succeeded(self, keys: list[str]) -> None:
        """Failures are forgotten."""
        with translated("forget failed logins"):
            await self.collection.delete_many({"_id": {"$in": keys}})


def _forgotten() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=MEMORY)
