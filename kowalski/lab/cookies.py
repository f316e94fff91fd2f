"""What a browser keeps for the lab: who is logged in, and which theme he likes."""

import hashlib
import hmac
import secrets
from typing import Literal

from aiohttp import web

from kowalski.api.errors import Forbidden
from kowalski.api.state import SERVICES
from kowalski.lab.incoming import scheme_of

#: the token of who is logged in; scripts can't read it, and no other path gets it
SESSION_COOKIE = "kowalski_lab"
#: for those who are not logged in: what their form's proof is made of
VISITOR_COOKIE = "kowalski_visitor"
#: ``dark`` or ``light``, set by the page; none: as the system has it
THEME_COOKIE = "kowalski_theme"
PATH = "/lab"
#: the field of a form, and the header of a script's request, with the proof that the lab's own page sends it
PROOF_FIELD, PROOF_HEADER = "proof", "X-Kowalski-Proof"


def token_in(request: web.Request) -> str:
    """The token that a browser has kept; empty where there is none."""
    return request.cookies.get(SESSION_COOKIE, "")


def keep(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """The browser keeps a token until it is closed or the token expires, for the lab alone."""
    _set(request, response, SESSION_COOKIE, token, "Lax")
    response.del_cookie(VISITOR_COOKIE, path=PATH)


def forget(response: web.StreamResponse) -> None:
    """The browser keeps no token any more."""
    response.del_cookie(SESSION_COOKIE, path=PATH)


def theme_of(request: web.Request) -> str:
    """``dark``, ``light``, or empty for what the system has."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in ("dark", "light") else ""


def welcome(request: web.Request, response: web.StreamResponse) -> str:
    """The proof for a visitor's form; he gets the cookie that it is made of."""
    visitor = request.cookies.get(VISITOR_COOKIE) or secrets.token_urlsafe(16)
    _set(request, response, VISITOR_COOKIE, visitor, "Strict")
    return _proof(request, visitor)


def proof_of(request: web.Request) -> str:
    """What the forms and scripts of a page carry: only a page of the lab, shown to this browser, can know it."""
    return _proof(request, token_in(request))


def require_proof(request: web.Request, given: str | None, visitors: bool) -> None:
    """Raise `Forbidden` where a request that changes something does not come from one of the lab's pages.

    ``visitors``: the page is for those who are not logged in, too. Others' forms are not proved by the visitor's cookie, which another
    site of the same host may set.
    """
    kept = [token_in(request)]
    if visitors:  # a login may come beside a token that ended
        kept.append(request.cookies.get(VISITOR_COOKIE, ""))
    said = (given or "").encode(errors="replace")
    if not any(each and hmac.compare_digest(_proof(request, each).encode(), said) for each in kept):
        raise Forbidden("this form is too old, or not from here: load its page again")


def _proof(request: web.Request, kept: str) -> str:
    secret = request.app[SERVICES].accounts.tokens.secret
    return hmac.new(f"lab {secret}".encode(), kept.encode(errors="replace"), hashlib.sha256).hexdigest()


def _set(
    request: web.Request, response: web.StreamResponse, name: str, value: str, site: Literal["Lax", "Strict"]
) -> None:
    """A cookie that scripts can't read, that other sites' forms don't send, and that goes over TLS where the browser speaks it."""
    secure = scheme_of(request) == "https"
    response.set_cookie(name, value, path=PATH, httponly=True, samesite=site, secure=secure)
