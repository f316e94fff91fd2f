"""Exports."""

from aiohttp import web

from kowalski.api.metrics import QUERIES
from kowalski.api.models.queries import AnyQuery
from kowalski.api.sending import send_file
from kowalski.api.services.exports import PARQUET
from kowalski.api.state import SERVICES, USER


async def run(request: web.Request, query: AnyQuery) -> web.StreamResponse:
    """What a query selects, as a Parquet file.

    The query is one of find, find_one, aggregate, cone_search, near and skymap, as for ``POST /api/queries``. Columns are typed by the
    documents: integers are int64, ObjectIds text, documents and lists nested. Rows of cone searches have ``catalog``, ``key`` and ``document``.
    """
    services, user = request.app[SERVICES], request[USER]
    QUERIES.labels(query.query_type).inc()
    async with services.limits.slot(user):
        return await send_file(request, services.exports.pieces(query, user), PARQUET, "kowalski.parquet")
