"""The first page: where one looks for an object."""

from aiohttp import web

from kowalski.lab.rendering import page


async def show(request: web.Request) -> web.StreamResponse:
    """The search, and what the surveys have."""
    return page(request, "home.html")
