"""Logging in."""

from aiohttp import web

from kowalski.api.errors import BadRequest
from kowalski.api.models.login import Login
from kowalski.api.state import SERVICES


async def log_in(request: web.Request, login: Login) -> web.StreamResponse:
    """A token for a name and its password."""
    services = request.app[SERVICES]
    if login.penquins is not None and str(login.penquins) not in services.penquins:
        raise BadRequest(f"unsupported version of penquins: {login.penquins!s:.100}")
    token = await services.accounts.log_in(login.username, login.password, _address(request, services.trusted_proxies))
    return web.json_response({"status": "success", "token": token})


def _address(request: web.Request, proxies: frozenset[str]) -> str:
    """Where a login comes from: the last address that no trusted proxy vouches for."""
    chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    address = request.remote or ""
    while chain and address in proxies:
        address = chain.pop()
    return address
