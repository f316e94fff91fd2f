"""Health: what supervisors and load balancers ask."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.errors import failure
from kowalski.api.state import SERVICES
from kowalski.errors import KowalskiError


async def live(request: web.Request) -> web.StreamResponse:
    """This process answers."""
    return await success(request, "live")


async def ready(request: web.Request) -> web.StreamResponse:
    """Logins and queries work now: 200, else 503 with the reason."""
    services = request.app[SERVICES]
    if not services.accounts.ready:
        return failure(503, "the admin's account is not ready")
    try:
        await services.database.ping()
    except KowalskiError as error:
        return failure(503, str(error))
    return await success(request, "ready")
