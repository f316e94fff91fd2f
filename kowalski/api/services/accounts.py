"""Accounts: who has which password, and who is behind a token; the admin's password is the one in the settings."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from kowalski.api.errors import BadRequest, Unauthorized
from kowalski.api.models.users import Edit, NewToken, NewUser
from kowalski.api.services.passwords import hash_password, is_old, matches
from kowalski.api.services.rights import User
from kowalski.api.services.throttle import Throttle
from kowalski.api.services.tokens import Claims, Tokens
from kowalski.api.shared import Shared
from kowalski.database.users import Known, Users
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger

log = get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: s between tries to reach MongoDB at the start
RETRY_DELAY = 1.0


class Accounts:
    """Checks passwords in one thread of its own, so that logins never hold up queries; changes accounts."""

    def __init__(self, users: Users, tokens: Tokens, throttle: Throttle, shared: Shared, admin: "Admin"):
        self.users = users
        self.tokens = tokens
        self.throttle = throttle
        self.shared = shared
        self.admin = admin
        self.ready = False
        self._thread = ThreadPoolExecutor(1, "bcrypt")
        self._nobody = ""  # the hash that stands in for those of unknown users

    def close(self) -> None:
        """End the thread; what it does not do yet is not done."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self.users.close()
        self.throttle.logins.close()

    async def prepare(self) -> None:
        """Return when MongoDB knows the admin with his password of now, however long MongoDB takes to be there."""
        while not self.ready:
            try:
                await self.throttle.logins.ensure_indexes()
                self._nobody = await self._ensure_admin()
                self.ready = True
            except DatabaseError as error:
                log.warning("the admin's account has to wait: %s", error)
                await asyncio.sleep(RETRY_DELAY)

    # who is it ---------------------------------------------------------------------------------------------------

    async def log_in(self, username: str, password: str, address: str) -> str:
        """A token for a user with this password; an unknown name takes as long as a wrong password.

        Raises
        ------
        Unauthorized : it is wrong, or there is no such user
        BadRequest : too many were wrong before
        DatabaseUnavailable : accounts can't be read yet
        """
        if not self.ready:
            raise DatabaseUnavailable("accounts can't be read yet")
        await self.throttle.require_free(username, address)
        user = await self.users.get(username)
        known = str(user.get("password") or "") if user else ""
        right = await self._aside(matches, password, known or self._nobody)
        if user is None or not known or not right:
            await self.throttle.failed(username, address)
            raise Unauthorized
        await self.throttle.succeeded(username, address)
        if is_old(known):
            await self.users.rehash(username, known, await self._aside(hash_password, password))
        return self.tokens.issue(username, version_of(user))

    # users, by the admin -----------------------------------------------------------------------------------------

    async def add(self, user: NewUser) -> None:
        """A new user exists."""
        fields = {"email": user.email, "permissions": user.permissions, "groups": user.groups}
        hashed = await self._aside(hash_password, user.password)
        try:
            await self.users.add(user.username, {**fields, "password": hashed})
        except Known as error:
            raise BadRequest(str(error)) from None
        self.shared.accounts_changed()

    async def edit(self, username: str, edit: Edit) -> None:
        """A user has what is given; a new password ends his tokens.

        A new name is a new account, with the old one's rights: his tokens end too. There is no moment at which he has none.
        """
        rename = edit.username is not None and edit.username != username
        if rename and username == self.admin.name:
            raise BadRequest("cannot rename the superuser!")
        if edit.password is not None and username == self.admin.name:
            raise BadRequest("the superuser's password is server.admin_password of the settings")
        user = await self.users.get(username)
        if user is None:
            raise BadRequest(f"user {username} not found")
        fields = edit.model_dump(exclude={"username", "password", "revoke_tokens"}, exclude_none=True)
        if edit.password is not None:
            fields["password"] = await self._aside(hash_password, edit.password)
        if rename and edit.username is not None:
            try:
                await self.users.add(edit.username, {**user, **fields})
            except Known as error:
                raise BadRequest(str(error)) from None
            await self.users.remove(username)
        else:
            await self.users.edit(username, fields, revoke=edit.revoke_tokens or edit.password is not None)
        self.shared.accounts_changed()

    async def remove(self, username: str) -> None:
        """A user is gone, and his tokens with him."""
        if username == self.admin.name:
            raise BadRequest("cannot remove the superuser!")
        if not await self.users.remove(username):
            raise BadRequest(f"user {username} not found")
        self.shared.accounts_changed()

    async def show(self, username: str) -> dict[str, Any]:
        """A user, without his password's hash."""
        user = await self.users.get(username)
        if user is None:
            raise BadRequest(f"user {username} not found")
        return {key: value for key, value in user.items() if key != "password"}

    # personal tokens ---------------------------------------------------------------------------------------------

    async def add_token(self, user: User, wanted: NewToken) -> dict[str, Any]:
        """A new personal token of a user, with its text, which is not kept."""
        stored = await self.users.get(user.name)
        if stored is None:
            raise BadRequest("token is invalid")
        expires = None if wanted.expires_in is None else int(datetime.now(UTC).timestamp()) + wanted.expires_in
        moment = None if expires is None else datetime.fromtimestamp(expires, UTC)
        token_id = secrets.token_hex(8)
        text = self.tokens.write(Claims(user.name, version_of(stored), expires, token_id))
        return shown(await self.users.add_token(token_id, user.name, wanted.name, moment)) | {"token": text}

    async def remove_token(self, user: User, token_id: str) -> None:
        """One of a user's personal tokens holds no more."""
        if not await self.users.remove_token(token_id, user.name):
            raise BadRequest(f"token {token_id} not found")
        self.shared.accounts_changed()

    async def tokens_of(self, user: User) -> list[dict[str, Any]]:
        """A user's personal tokens, without their texts."""
        return [shown(token) for token in await self.users.tokens_of(user.name)]

    # the admin ---------------------------------------------------------------------------------------------------

    async def _ensure_admin(self) -> str:
        user = await self.users.get(self.admin.name)
        known = str(user.get("password") or "") if user else ""
        if known and not is_old(known):
            unchanged = await self._aside(matches, self.admin.password, known)
            if unchanged:
                return known
        hashed = await self._aside(hash_password, self.admin.password)
        await self.users.put(self.admin.name, hashed, self.admin.email)
        self.shared.accounts_changed()
        log.info("%s the admin's account", "renewed" if known else "made")
        return hashed

    async def _aside(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments, **named))


class Admin:
    """The administrator as the settings have him."""

    def __init__(self, name: str, password: str, email: str):
        self.name, self.password, self.email = name, password, email


def version_of(user: dict[str, Any]) -> int:
    """The version that a user's tokens must have; users of version 3 have none, which counts as 0."""
    version = user.get("token_version")
    return version if isinstance(version, int) else 0


def shown(token: dict[str, Any]) -> dict[str, Any]:
    """A personal token as its owner sees it."""
    return {"id": token["_id"], **{key: token[key] for key in ("name", "created_at", "expires_at")}}
