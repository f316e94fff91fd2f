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
    address = services.proxies.client(request.remote, request.headers.getall("X-Forwarded-For", []))
    token = await services.accounts.log_in(login.username, login.password, address)
    return web.json_response({"status": "success", "token": token})
