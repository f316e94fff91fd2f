"""Nights, and what became of their messages."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.nights import NightPath
from kowalski.api.state import SERVICES, USER

#: what a browser may load for the page: nothing but what is in it
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


async def show_all(request: web.Request) -> web.StreamResponse:
    """The nights of which anything was read, latest first."""
    return await success(request, "retrieved nights", await request.app[SERVICES].nights.nights())


async def show(request: web.Request, path: NightPath) -> web.StreamResponse:
    """A night's ledger: what became of every message, by topic and partition, and whether nothing is missing."""
    services = request.app[SERVICES]
    async with services.limits.slot(request[USER]):
        books = await services.nights.books(path.date)
    return await success(request, f"retrieved night {path.date}", books)


async def report(request: web.Request, path: NightPath) -> web.StreamResponse:
    """The report of a night that is over: an HTML page with plots, which needs nothing beside itself."""
    page = await request.app[SERVICES].nights.report(path.date)
    return web.Response(
        body=page, content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": POLICY}
    )
