"""Users of the API: who may log in, by the hash of his password."""

from datetime import UTC, datetime

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.settings import Database


class Users:
    """Reads and writes ``users``: ``{_id: name, email, password, permissions, last_modified}``; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.collection = self.client[settings.db]["users"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def password_of(self, username: str) -> str | None:
        """The hash of a user's password; None where there is no such user."""
        with translated("look up a user"):
            user = await self.collection.find_one({"_id": username}, {"password": 1})
        return user.get("password") if user else None

    async def put(self, username: str, password: str, email: str) -> None:
        """The user exists and has this password (a hash); an existing one's email and permissions stay."""
        with translated("store a user"):
            await self.collection.update_one(
                {"_id": username},
                {
                    "$set": {"password": password, "last_modified": datetime.now(UTC)},
                    "$setOnInsert": {"email": email, "permissions": {}},
                },
                upsert=True,
            )
