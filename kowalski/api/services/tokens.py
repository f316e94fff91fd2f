"""Tokens: signed claims that say who asks (JSON Web Tokens, RFC 7519)."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jwt

from kowalski.api.errors import BadRequest

#: tokens whose signature was found right and is not checked again (a sixth of a small query's time)
REMEMBERED = 1024
#: the version of a user whose version is no number, so that no token of before holds
NO_VERSION = -1


@dataclass(frozen=True)
class Claims:
    """What a token says.

    Attributes
    ----------
    version : the user's token version when it was issued; tokens of version 3 have none, which counts as 0
    expires : Unix time; None: never
    token_id : of a personal token, which can be taken back by itself
    """

    username: str
    version: int = 0
    expires: float | None = None
    token_id: str | None = None


class Tokens:
    """Issues and reads tokens; ``lifetime`` in s, None for tokens that hold for good."""

    def __init__(self, secret: str, algorithm: str, lifetime: int | None):
        self.secret = secret
        self.algorithm = algorithm
        self.lifetime = lifetime
        self._remembered = lru_cache(REMEMBERED)(self._verify)

    def issue(self, username: str, version: int) -> str:
        """A token for a user, from now on."""
        expires = None if self.lifetime is None else int(time.time()) + self.lifetime
        return self.write(Claims(username, version, expires))

    def write(self, claims: Claims) -> str:
        """The token that says this."""
        said: dict[str, Any] = {
            "user_id": claims.username,
            "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"),
            "version": claims.version,
            "exp": claims.expires,
            "jti": claims.token_id,
        }
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.secret, algorithm=self.algorithm)

    def read(self, token: str) -> Claims:
        """What a token says.

        Raises
        ------
        BadRequest : it has expired, or is not one of ours
        """
        claims = self._remembered(token)
        if claims.expires is not None and claims.expires <= time.time():
            raise BadRequest("token has expired")
        return claims

    def _verify(self, token: str) -> Claims:
        """What a token with our signature says."""
        try:
            said = jwt.decode(token, self.secret, algorithms=[self.algorithm], options={"verify_exp": False})
        except (jwt.InvalidTokenError, UnicodeError, RecursionError):  # half a character, or a head of brackets
            raise BadRequest("token is invalid") from None
        values = [said.get("user_id"), said.get("version", 0), said.get("exp"), said.get("jti")]
        types = (str, int, int | float | None, str | None)
        if not all(isinstance(value, kind) for value, kind in zip(values, types, strict=True)):
            raise BadRequest("token is invalid")
        return Claims(*values)


def version_of(user: Mapping[str, Any]) -> int:
    """The version that a user's tokens must have; users of version 3 have none, which counts as 0."""
    version = user.get("token_version") or 0  # set by hand it may be 1.0
    return int(version) if isinstance(version, int | float) and math.isfinite(version) else NO_VERSION
