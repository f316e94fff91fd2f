"""Accounts: who has which password; the admin's is the one in the settings."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from kowalski.api.errors import Unauthorized
from kowalski.api.services.passwords import hash_password, matches
from kowalski.database.users import Users
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger

log = get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: s between tries to reach MongoDB at the start
RETRY_DELAY = 1.0


class Accounts:
    """Checks passwords in one thread of its own, so that logins never hold up queries."""

    def __init__(self, users: Users, admin: str, password: str, email: str):
        self.users = users
        self.admin = admin
        self.password = password
        self.email = email
        self.ready = False
        self._thread = ThreadPoolExecutor(1, "bcrypt")
        self._nobody = ""  # the hash that stands in for those of unknown users

    def close(self) -> None:
        """End the thread; what it does not do yet is not done."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self.users.close()

    async def prepare(self) -> None:
        """Return when MongoDB knows the admin with his password of now, however long MongoDB takes to be there."""
        while not self.ready:
            try:
                self._nobody = await self._ensure_admin()
                self.ready = True
            except DatabaseError as error:
                log.warning("the admin's account has to wait: %s", error)
                await asyncio.sleep(RETRY_DELAY)

    async def log_in(self, username: str, password: str) -> None:
        """Return when the password is this user's; an unknown name takes as long as a wrong password.

        Raises
        ------
        Unauthorized : it isn't, or there is no such user
        DatabaseUnavailable : accounts can't be read yet
        """
        if not self.ready:
            raise DatabaseUnavailable("accounts can't be read yet")
        known = await self.users.password_of(username)
        right = await self._aside(matches, password, known or self._nobody)
        if known is None or not right:
            raise Unauthorized

    async def _ensure_admin(self) -> str:
        known = await self.users.password_of(self.admin)
        if known is not None:
            unchanged = await self._aside(matches, self.password, known)
            if unchanged:
                return known
        hashed = await self._aside(hash_password, self.password)
        await self.users.put(self.admin, hashed, self.email)
        log.info("%s the admin's account", "renewed" if known else "made")
        return hashed

    async def _aside(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments, **named))
