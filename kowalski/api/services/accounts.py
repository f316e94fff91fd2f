"""Accounts: who has which password and which rights; the admin's password is the one in the settings."""

import asyncio
from contextlib import suppress
from typing import Any

from kowalski.api.errors import BadRequest, Unauthorized
from kowalski.api.models.users import Edit, NewUser
from kowalski.api.services.passwords import Hasher, is_old
from kowalski.api.services.throttle import Throttle
from kowalski.api.services.tokens import Tokens, version_of
from kowalski.api.shared import Shared
from kowalski.database.users import Known, Users
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger

log = get_logger(__name__)

#: s between tries to reach MongoDB at the start
RETRY_DELAY = 1.0


class Accounts:
    """Checks passwords and changes accounts; other processes know of a change at once."""

    def __init__(self, users: Users, tokens: Tokens, throttle: Throttle, shared: Shared, admin: "Admin", rounds: int):
        self.users = users
        self.tokens = tokens
        self.throttle = throttle
        self.shared = shared
        self.admin = admin
        self.ready = False
        self._hasher = Hasher(rounds)
        self._nobody = ""  # the hash that stands in for those of unknown users

    def close(self) -> None:
        """End the thread and the connections; what the thread does not do yet is not done."""
        self._hasher.close()
        self.users.close()
        self.throttle.logins.close()

    async def prepare(self) -> None:
        """Return when MongoDB knows the admin with his password of now, however long MongoDB takes to be there."""
        while not self.ready:
            try:
                await self.throttle.logins.ensure_indexes()
                await self.users.ensure_indexes()
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
        TooMany : too many logins are under way
        DatabaseUnavailable : accounts can't be read yet
        """
        if not self.ready:
            raise DatabaseUnavailable("accounts can't be read yet")
        async with self.throttle.turn(username, address):
            user = await self.users.get(username)
            known = str(user.get("password") or "") if user else ""
            right = await self._hasher.matches(password, known or self._nobody)
            if user is None or not known or not right:
                await self.throttle.failed(username, address)
                raise Unauthorized
        await self.throttle.succeeded(username, address)
        if is_old(known):
            hashed = await self._hasher.hash(password)
            await self.users.change_password(username, known, hashed, revoke=False)
        return self.tokens.issue(username, version_of(user))

    # users, by the admin -----------------------------------------------------------------------------------------

    async def add(self, user: NewUser) -> None:
        """A new user exists."""
        hashed = await self._hasher.hash(user.password)
        rights = {"permissions": user.permissions, "groups": user.groups}
        await self._add(user.username, {"email": user.email, "password": hashed, **rights})
        self.shared.accounts_changed()
        log.info("added user %r", user.username)

    async def edit(self, username: str, edit: Edit) -> None:
        """A user has what is given; a new password ends his tokens, the one that he has does not.

        A new name is a new account with the old one's rights: all of his tokens end. There is no moment at which he has
        none; where this process or MongoDB stops in between, he has both.
        """
        rename = edit.username is not None and edit.username != username
        if rename and username == self.admin.name:
            raise BadRequest("cannot rename the superuser!")
        user = await self.users.get(username)
        if user is None:
            raise BadRequest(f"user {username} not found")
        fields = edit.model_dump(exclude={"username", "password", "revoke_tokens"}, exclude_none=True)
        password = await self._changed(edit.password, user)
        if password is not None:
            if username == self.admin.name:
                raise BadRequest("the superuser's password is server.admin_password of the settings")
            fields["password"] = password
        if rename and edit.username is not None:
            await self._add(edit.username, {**user, **fields})
            await self.users.remove(username)
        elif not await self.users.edit(username, fields, revoke=edit.revoke_tokens or password is not None):
            raise BadRequest(f"user {username} not found")  # somebody else removed him meanwhile
        self.shared.accounts_changed()
        log.info("edited user %r%s", username, f", who is now {edit.username!r}" if rename else "")

    async def remove(self, username: str) -> None:
        """A user is gone, and his tokens with him."""
        if username == self.admin.name:
            raise BadRequest("cannot remove the superuser!")
        if not await self.users.remove(username):
            raise BadRequest(f"user {username} not found")
        self.shared.accounts_changed()
        log.info("removed user %r", username)

    async def show(self, username: str) -> dict[str, Any]:
        """A user, without his password's hash."""
        user = await self.users.get(username)
        if user is None:
            raise BadRequest(f"user {username} not found")
        return {key: value for key, value in user.items() if key != "password"}

    async def _add(self, username: str, fields: dict[str, Any]) -> None:
        try:
            await self.users.add(username, fields)
        except Known as error:
            raise BadRequest(str(error)) from None

    async def _changed(self, password: str | None, user: dict[str, Any]) -> str | None:
        """The hash of a new password; None where there is none or it is the one that the user has."""
        known = str(user.get("password") or "")
        if password is None or (not is_old(known) and await self._hasher.matches(password, known)):
            return None
        return await self._hasher.hash(password)

    # the admin ---------------------------------------------------------------------------------------------------

    async def _ensure_admin(self) -> str:
        """The hash of the admin's password, which is the one of the settings.

        Another password there than before ends his tokens, as for any user. A hash of version 3 tells nothing: its
        settings counted only when the account was made.
        """
        user = await self.users.get(self.admin.name)
        known = str(user.get("password") or "") if user else ""
        right = await self._hasher.matches(self.admin.password, known)
        if right and not is_old(known):
            return known
        hashed = await self._hasher.hash(self.admin.password)
        if user is None:
            fields = {"email": self.admin.email, "password": hashed, "permissions": {}, "groups": []}
            with suppress(Known):
                await self.users.add(self.admin.name, fields, token_version=0)
                log.info("made the admin's account")
        else:
            revoke = not right and not is_old(known)
            if await self.users.change_password(self.admin.name, user.get("password"), hashed, revoke):
                log.info("renewed the admin's account%s", ", whose tokens end" if revoke else "")
        self.shared.accounts_changed()
        return await self._ensure_admin()  # another process may have been faster


class Admin:
    """The administrator as the settings have him."""

    def __init__(self, name: str, password: str, email: str):
        self.name, self.password, self.email = name, password, email
