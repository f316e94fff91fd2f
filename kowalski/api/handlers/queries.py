"""Queries."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.queries import AnyQuery
from kowalski.api.state import SERVICES, USER


async def run(request: web.Request, query: AnyQuery) -> web.StreamResponse:
    """What a query finds."""
    data = await request.app[SERVICES].queries.run(query, request[USER])
    return await success(request, "Successfully executed query", data)
