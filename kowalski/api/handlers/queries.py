"""Queries."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.metrics import QUERIES
from kowalski.api.models.queries import AnyQuery
from kowalski.api.state import SERVICES, USER


async def run(request: web.Request, query: AnyQuery) -> web.StreamResponse:
    """What a query finds."""
    services, user = request.app[SERVICES], request[USER]
    QUERIES.labels(query.query_type).inc()
    async with services.limits.slot(user):
        return await success(request, query.done, await services.queries.run(query, user))
