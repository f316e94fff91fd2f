"""Metrics for Prometheus."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from kowalski.api.credentials import token_of
from kowalski.api.metrics import own_figures
from kowalski.api.services.figures import system_figures
from kowalski.api.state import SERVICES
from kowalski.errors import KowalskiError


async def get(request: web.Request) -> web.StreamResponse:
    """Requests and their times, for everybody; brokers, outbox and quarantine too with the admin's token."""
    services = request.app[SERVICES]
    text = own_figures()
    if await _is_admins(request):
        text += await system_figures(services.database, services.quarantine_bytes)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _is_admins(request: web.Request) -> bool:
    """Whether the admin asks; a token that is not valid is as none."""
    try:
        session = await request.app[SERVICES].sessions.open(token_of(request))
    except KowalskiError:
        return False
    return session.user.is_admin
