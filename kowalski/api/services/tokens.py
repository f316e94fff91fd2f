"""Tokens: signed claims that say who asks (JSON Web Tokens, RFC 7519)."""

import time
from datetime import UTC, datetime
from functools import lru_cache

import jwt

from kowalski.api.errors import BadRequest

#: tokens whose signature was found right and is not checked again (a sixth of a small query's time)
REMEMBERED = 1024


class Tokens:
    """Issues and reads tokens; ``lifetime`` in s, None for tokens that hold for good."""

    def __init__(self, secret: str, algorithm: str, lifetime: int | None):
        self.secret = secret
        self.algorithm = algorithm
        self.lifetime = lifetime
        self._remembered = lru_cache(REMEMBERED)(self._verify)

    def issue(self, username: str) -> str:
        """A token for a user, from now on."""
        now = datetime.now(UTC)
        claims: dict[str, str | int] = {"user_id": username, "created_at": now.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")}
        if self.lifetime is not None:
            claims["exp"] = int(now.timestamp()) + self.lifetime
        return jwt.encode(claims, self.secret, algorithm=self.algorithm)

    def read(self, token: str) -> str:
        """The user that a token was issued for.

        Raises
        ------
        BadRequest : it has expired, or is not one of ours
        """
        username, expiry = self._remembered(token)
        if expiry is not None and expiry <= time.time():
            raise BadRequest("token has expired")
        return username

    def _verify(self, token: str) -> tuple[str, float | None]:
        """User and expiry (Unix time) of a token with our signature."""
        try:
            claims = jwt.decode(token, self.secret, algorithms=[self.algorithm], options={"verify_exp": False})
        except jwt.InvalidTokenError:
            raise BadRequest("token is invalid") from None
        username, expiry = claims.get("user_id"), claims.get("exp")
        if not isinstance(username, str) or not isinstance(expiry, int | float | None):
            raise BadRequest("token is invalid")
        return username, expiry
