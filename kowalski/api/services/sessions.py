"""Who is behind a token, looked up once for many requests."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from kowalski.api.errors import BadRequest
from kowalski.api.services.accounts import version_of
from kowalski.api.services.rights import User
from kowalski.api.services.tokens import Claims, Tokens
from kowalski.api.shared import Shared
from kowalski.database.users import Users

#: s after which an account is read anew: changes made on other hosts or by hand count by then, those of this one at once
FRESH = 0.5
#: accounts and tokens remembered
REMEMBERED = 10_000


class _Seen(NamedTuple):
    """Something read of the database, and when."""

    value: Any
    until: float
    accounts: int


class Sessions:
    """Finds the user of a token: he still exists, and neither his tokens nor this one were taken back."""

    def __init__(self, tokens: Tokens, users: Users, shared: Shared, admin: str, public: dict[str, Any]):
        self.tokens = tokens
        self.users = users
        self.shared = shared
        self.admin = admin
        self.public = public
        self._seen: dict[tuple[str, str], _Seen] = {}

    async def user(self, token: str) -> User:
        """Who asks.

        Raises
        ------
        BadRequest : the token has expired or is not valid
        """
        claims = self.tokens.read(token)
        user = await self._remembered("user", claims.username, self._user)
        if user is None or user[1] != claims.version or not await self._stands(claims):
            raise BadRequest("token is invalid")
        found: User = user[0]
        return found

    async def _user(self, username: str) -> tuple[User, int] | None:
        document = await self.users.get(username)
        return (User.of(document, self.admin, self.public), version_of(document)) if document else None

    async def _stands(self, claims: Claims) -> bool:
        """Whether a personal token was not taken back."""
        if claims.token_id is None:
            return True
        return bool(await self._remembered("token", claims.token_id, self.users.token_is_known))

    async def _remembered(self, kind: str, name: str, read: Callable[[str], Awaitable[Any]]) -> Any:
        now, accounts = time.monotonic(), self.shared.accounts
        seen = self._seen.get((kind, name))
        if seen is None or seen.until < now or seen.accounts != accounts:
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            seen = self._seen[kind, name] = _Seen(await read(name), now + FRESH, accounts)
        return seen.value
