"""Personal tokens: a user's own, for his programs and his browsers; each can be taken back by itself."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from kowalski.api.errors import BadRequest, Forbidden
from kowalski.api.models.tokens import NewToken
from kowalski.api.services.sessions import Session
from kowalski.api.services.tokens import Claims, Tokens
from kowalski.api.shared import Shared
from kowalski.database.users import Users

#: tokens that a user may have
AT_MOST = 100
#: of those by which browsers are logged in: name, s that one holds at most, and how many of a user's are kept, the newest
LAB, LAB_HOLDS, LAB_MOST = "lab", 14 * 86400, 20


class PersonalTokens:
    """Makes, lists and removes them. They end with all others of the user, too."""

    def __init__(self, users: Users, tokens: Tokens, shared: Shared):
        self.users = users
        self.tokens = tokens
        self.shared = shared

    async def add(self, session: Session, wanted: NewToken) -> dict[str, Any]:
        """A new token that acts as the user, with its text, which is not kept.

        Raises
        ------
        Forbidden : he came by such a token; who finds one must not be able to make others that outlive it
        BadRequest : he has too many
        """
        claims = session.claims
        if claims.token_id is not None:
            raise Forbidden("a personal token can't make others: use the token of a login")
        if len([token for token in await self.users.tokens_of(claims.username) if not token.get("browser")]) >= AT_MOST:
            raise BadRequest(f"you have {AT_MOST} tokens: remove some")
        expires = None if wanted.expires_in is None else int(time.time()) + wanted.expires_in
        stored, text = await self._new(claims, wanted.name, expires)
        return _shown(stored) | {"token": text}

    async def for_lab(self, token: str) -> str:
        """A token that a browser keeps in the place of that of a login; it ends by itself, and when the user logs out."""
        claims = self.tokens.read(token)
        expires = int(time.time()) + LAB_HOLDS
        if claims.expires is not None:
            expires = min(expires, int(claims.expires))
        _, text = await self._new(claims, LAB, expires, browser=True)
        known = [token for token in await self.users.tokens_of(claims.username) if token.get("browser")]
        for old in known[LAB_MOST:]:
            await self.users.remove_token(old["_id"], claims.username)
        return text

    async def end(self, claims: Claims) -> None:
        """The token by which somebody came holds no more, if it can be taken back."""
        if claims.token_id is not None and await self.users.remove_token(claims.token_id, claims.username):
            self.shared.accounts_changed()

    async def of(self, username: str) -> list[dict[str, Any]]:
        """A user's tokens, the newest first, without their texts."""
        return [_shown(token) for token in await self.users.tokens_of(username)]

    async def remove(self, username: str, token_id: str) -> None:
        """One of a user's tokens holds no more; raises `BadRequest` where he has none of this id."""
        if not await self.users.remove_token(token_id, username):
            raise BadRequest(f"token {token_id} not found")
        self.shared.accounts_changed()

    async def _new(
        self, claims: Claims, name: str, expires: int | None, browser: bool = False
    ) -> tuple[dict[str, Any], str]:
        """What is stored of a new token for the user of another, and its text."""
        moment = None if expires is None else datetime.fromtimestamp(expires, UTC)
        token_id = secrets.token_hex(8)
        stored = await self.users.add_token(token_id, claims.username, name, moment, browser)
        return stored, self.tokens.write(Claims(claims.username, claims.version, expires, token_id))


def _shown(token: dict[str, Any]) -> dict[str, Any]:
    """A token as its owner sees it."""
    return {"id": token["_id"], **{key: token[key] for key in ("name", "created_at", "expires_at")}}
