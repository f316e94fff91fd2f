"""Accounts of the API's users and their personal tokens."""

import secrets
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.database.lab_queries import COLLECTION as LAB_QUERIES
from kowalski.errors import DatabaseError
from kowalski.settings import Database

#: what is shown of a user: all but the hash of his password
PUBLIC = {"password": 0}  # nosec B105  # a projection


class Known(DatabaseError):
    """There is a user of that name already."""


class Users:
    """Reads and writes ``users``: ``{_id: name, email, password, permissions, groups, token_version, last_modified}``.

    And ``tokens``: ``{_id, user, name, created_at, expires_at, browser}``, the personal tokens that hold. Use it in an event loop.
    """

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        database = self.client[settings.db]
        self.collection = database["users"]
        self.tokens = database["tokens"]
        self.queries = database[LAB_QUERIES]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """Tokens are found by user; MongoDB itself deletes what has expired."""
        with translated("indexes of tokens"):
            await self.tokens.create_index("user", name="user")
            await self.tokens.create_index("expires_at", name="expires_at", expireAfterSeconds=0)

    async def get(self, username: str) -> dict[str, Any] | None:
        """A user with the hash of his password; None where there is no such user."""
        with translated("look up a user"):
            return await self.collection.find_one({"_id": username})

    async def all(self) -> list[dict[str, Any]]:
        """All users by name, without hashes."""
        with translated("list users"):
            return await self.collection.find({}, PUBLIC, sort=[("_id", 1)]).to_list(None)

    async def add(self, username: str, fields: dict[str, Any], token_version: int | None = None) -> None:
        """A new user with these fields.

        His tokens' version is a random one unless given, so that those of an earlier user of that name, which may be of
        any time and have none, don't come to life again.

        Raises
        ------
        Known : the name is in use
        """
        version = 1 + secrets.randbits(48) if token_version is None else token_version
        user = {**fields, "_id": username, "token_version": version, "last_modified": _now()}
        with translated("add a user"):
            try:
                await self.collection.insert_one(user)
            except DuplicateKeyError:
                raise Known(f"user {username} exists already") from None

    async def edit(self, username: str, fields: dict[str, Any], revoke: bool) -> bool:
        """Change fields of a user, and end his tokens if asked to; whether he exists."""
        return await self._change({"_id": username}, fields, revoke)

    async def change_password(self, username: str, old: str | None, new: str, revoke: bool) -> bool:
        """A hash in the place of another, unless that was changed meanwhile; whether it was still there."""
        return await self._change({"_id": username, "password": old}, {"password": new}, revoke)

    async def remove(self, username: str) -> bool:
        """A user is gone, and his tokens and what the lab kept of his queries with him; whether there was one."""
        with translated("remove a user"):
            found = bool((await self.collection.delete_one({"_id": username})).deleted_count)
            await self.tokens.delete_many({"user": username})
            await self.queries.delete_many({"user": username})
        return found

    async def _change(self, condition: dict[str, Any], fields: dict[str, Any], revoke: bool) -> bool:
        change: dict[str, Any] = {"$set": {**fields, "last_modified": _now()}}
        if revoke:
            change["$inc"] = {"token_version": 1}  # nosec B105  # a version
        with translated("edit a user"):
            found = bool((await self.collection.update_one(condition, change)).matched_count)
            if revoke and found:
                await self.tokens.delete_many({"user": condition["_id"]})
        return found

    # personal tokens ---------------------------------------------------------------------------------------------

    async def add_token(
        self, token_id: str, username: str, name: str, expires_at: datetime | None, browser: bool = False
    ) -> dict[str, Any]:
        """A personal token is known; what is stored of it. ``browser``: it is a browser's that is logged in."""
        token = {"_id": token_id, "user": username, "name": name, "created_at": _now(), "expires_at": expires_at}
        token |= {"browser": True} if browser else {}
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
