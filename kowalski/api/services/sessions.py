"""Who is behind a token, looked up once for many requests."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from kowalski.api.errors import BadRequest
from kowalski.api.services.rights import User
from kowalski.api.services.tokens import Claims, Tokens, version_of
from kowalski.api.shared import Shared
from kowalski.database.users import Users

#: s after which an account is read anew: changes made on other hosts or by hand count by then, those of this one at once
FRESH = 0.5
#: accounts and tokens remembered
REMEMBERED = 10_000


class Session(NamedTuple):
    """A user, and what the token says by which he came."""

    user: User
    claims: Claims


class _Look(NamedTuple):
    """A look at the database, under way or done, and until when it counts."""

    found: asyncio.Task[Any]
    until: float
    accounts: int


class Sessions:
    """Finds the user of a token: he still exists, and neither his tokens nor this one were taken back.

    While MongoDB is away nobody is let in on what was known before: `DatabaseUnavailable` makes clients try again.
    """

    def __init__(self, tokens: Tokens, users: Users, shared: Shared, admin: str, public: dict[str, Any]):
        self.tokens = tokens
        self.users = users
        self.shared = shared
        self.admin = admin
        self.public = public
        self._looks: dict[tuple[str, str], _Look] = {}

    async def open(self, token: str) -> Session:
        """Who asks.

        Raises
        ------
        BadRequest : the token has expired or is not valid
        DatabaseUnavailable : that can't be known at the moment
        """
        claims = self.tokens.read(token)
        known = await self._look("user", claims.username, self._user)
        if known is None or known[1] != claims.version:
            raise BadRequest("token is invalid")
        if claims.token_id is not None and not await self._look("token", claims.token_id, self.users.token_is_known):
            raise BadRequest("token is invalid")
        return Session(known[0], claims)

    async def _user(self, username: str) -> tuple[User, int] | None:
        document = await self.users.get(username)
        if document is None:
            return None
        return User.of(document, self.admin, self.public), version_of(document)

    async def _look(self, kind: str, name: str, read: Callable[[str], Coroutine[Any, Any, Any]]) -> Any:
        """What a read of the database gives, or gave less than `FRESH` s ago; of many that ask at once one reads."""
        now, accounts = time.monotonic(), self.shared.accounts
        look = self._looks.get((kind, name))
        if look is None or look.until < now or look.accounts != accounts:
            if len(self._looks) >= REMEMBERED:
                self._looks.clear()
            look = self._looks[kind, name] = _Look(asyncio.create_task(read(name)), now + FRESH, accounts)
        if not look.found.done():
            await asyncio.wait([look.found])  # a client that leaves does not end it for the others
        return look.found.result()
