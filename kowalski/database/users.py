"""Accounts of the API's users, the names that are no longer used, and their personal tokens."""

from datetime import UTC, datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.errors import DatabaseError
from kowalski.settings import Database

#: what is shown of a user: all but the hash of his password
PUBLIC = {"password": 0}


class Known(DatabaseError):
    """There is a user of that name already."""


class Users:
    """Reads and writes ``users``: ``{_id: name, email, password, permissions, groups, token_version, last_modified}``.

    Use it in an event loop. Who is removed leaves his ``token_version`` in ``former_users``, so that his tokens don't
    come to life again with the next user of that name.
    """

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        database = self.client[settings.db]
        self.collection = database["users"]
        self.former = database["former_users"]
        self.tokens = database["tokens"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def get(self, username: str) -> dict[str, Any] | None:
        """A user with the hash of his password; None where there is no such user."""
        with translated("look up a user"):
            return await self.collection.find_one({"_id": username})

    async def all(self) -> list[dict[str, Any]]:
        """All users by name, without hashes."""
        with translated("list users"):
            return await self.collection.find({}, PUBLIC, sort=[("_id", 1)]).to_list(None)

    async def put(self, username: str, password: str, email: str) -> None:
        """The user exists and has this password (a hash); an existing one's email and permissions stay."""
        own = {"email": email, "permissions": {}, "groups": [], "token_version": 0}
        with translated("store a user"):
            await self.collection.update_one(
                {"_id": username},
                {"$set": {"password": password, "last_modified": _now()}, "$setOnInsert": own},
                upsert=True,
            )

    async def add(self, username: str, fields: dict[str, Any]) -> None:
        """A new user with these fields.

        Raises
        ------
        Known : the name is in use
        """
        with translated("add a user"):
            former = await self.former.find_one({"_id": username})
            version = former["token_version"] if former else 0
            try:
                await self.collection.insert_one(
                    {**fields, "_id": username, "token_version": version, "last_modified": _now()}
                )
            except DuplicateKeyError:
                raise Known(f"user {username} exists already") from None

    async def edit(self, username: str, fields: dict[str, Any], revoke: bool) -> bool:
        """Change fields of a user, and end his tokens if asked to; whether he exists."""
        change: dict[str, Any] = {"$set": {**fields, "last_modified": _now()}}
        if revoke:
            change["$inc"] = {"token_version": 1}
        with translated("edit a user"):
            return bool((await self.collection.update_one({"_id": username}, change)).matched_count)

    async def rehash(self, username: str, old: str, new: str) -> None:
        """The hash of the same password in the form of now, unless it was changed meanwhile."""
        with translated("edit a user"):
            await self.collection.update_one({"_id": username, "password": old}, {"$set": {"password": new}})

    async def remove(self, username: str) -> bool:
        """A user is gone, and his tokens with him; whether there was one."""
        with translated("remove a user"):
            user = await self.collection.find_one({"_id": username}, {"token_version": 1})
            if user is None:
                return False
            version = int(user.get("token_version") or 0) + 1
            await self.former.update_one({"_id": username}, {"$max": {"token_version": version}}, upsert=True)
            await self.tokens.delete_many({"user": username})
            return bool((await self.collection.delete_one({"_id": username})).deleted_count)

    # personal tokens ---------------------------------------------------------------------------------------------

    async def add_token(self, token_id: str, username: str, name: str, expires_at: datetime | None) -> dict[str, Any]:
        """A personal token is known; what is stored of it."""
        token = {"_id": token_id, "user": username, "name": name, "created_at": _now(), "expires_at": expires_at}
        with translated("store a token"):
            await self.tokens.insert_one(token)
        return token

    async def tokens_of(self, username: str) -> list[dict[str, Any]]:
        """A user's personal tokens, the newest first."""
        with translated("list tokens"):
            return await self.tokens.find({"user": username}, sort=[("created_at", -1)]).to_list(None)

    async def token_is_known(self, token_id: str) -> bool:
        """Whether a personal token was not taken back."""
        with translated("look up a token"):
            return await self.tokens.find_one({"_id": token_id}, {"_id": 1}) is not None

    async def remove_token(self, token_id: str, username: str) -> bool:
        """One of a user's tokens is gone; whether he had it."""
        with translated("remove a token"):
            return bool((await self.tokens.delete_one({"_id": token_id, "user": username})).deleted_count)


def _now() -> datetime:
    return datetime.now(UTC)
