"""Queries of users: checked, bounded in time, and read as the MongoDB user that can only read."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.queries import (
    Aggregate,
    AnyQuery,
    ConeSearch,
    CountDocuments,
    EstimatedDocumentCount,
    Find,
    FindOne,
    Info,
    Near,
    Options,
    Part,
    Question,
)
from kowalski.api.services import guard
from kowalski.api.services.cones import Cones
from kowalski.api.services.rights import User
from kowalski.database.queries import Queries, Reading

Data = AsyncIterator[dict[str, Any]] | dict[str, Any] | list[str] | int | None


class QueryService:
    """Answers the queries of ``POST /api/queries``; ``max_time_ms`` is what one may take at most."""

    def __init__(self, queries: Queries, max_time_ms: int):
        self.queries = queries
        self.cones = Cones(queries)
        self.max_time_ms = max_time_ms

    async def run(self, query: AnyQuery, user: User) -> Data:
        """The data of a query: documents one by one as they come, or a document, names, or a number.

        Raises
        ------
        BadRequest, Forbidden, QueryError : the query is wrong, not allowed, or refused by MongoDB
        """
        if isinstance(query, Info):
            return await self._inform(query.query, user)
        user.require_queries()
        _check(query, user)
        reading = self._reading(query.kwargs, user)
        match query:
            case Find(query=asked):
                return self.queries.find(asked.catalog, asked.filter, replace(reading, projection=asked.projection))
            case FindOne(query=asked):
                reading = replace(reading, projection=asked.projection)
                return await self.queries.find_one(asked.catalog, asked.filter, reading)
            case CountDocuments(query=asked):
                return await self.queries.count(asked.catalog, asked.filter, reading)
            case EstimatedDocumentCount(query=asked):
                return await self.queries.estimated_count(asked.catalog, reading)
            case Aggregate(query=asked, kwargs=options):
                return self.queries.aggregate(asked.catalog, asked.pipeline, reading, options.allow_disk_use)
            case ConeSearch(query=asked):
                cone = asked.object_coordinates
                return await self.cones.within(asked.catalogs, cone.radec, cone.radius, reading)
            case Near(query=asked):
                return await self.cones.nearest(asked.catalogs, asked.radec, asked.ring, reading)

    async def _inform(self, asked: Question, user: User) -> dict[str, Any] | list[str]:
        if asked.command == "catalog_names":
            return [name for name in await self.queries.catalog_names() if user.may_read(name)]
        if asked.command == "db_info":
            return await self.queries.database_info()
        if asked.catalog is None:
            raise BadRequest(f"{asked.command}: catalog is missing")
        user.require_open(asked.catalog)
        if asked.command == "catalog_info":
            return await self.queries.catalog_info(asked.catalog)
        return await self.queries.index_info(asked.catalog)

    def _reading(self, options: Options, user: User) -> Reading:
        if options.max_time_ms is not None and options.max_time_ms > self.max_time_ms:
            raise BadRequest(f"ValueError: max_time_ms must be int <= {self.max_time_ms}")
        return Reading(
            max_time_ms=options.max_time_ms or self.max_time_ms,
            comment=user.name,
            sort=options.sort,
            skip=options.skip or 0,
            limit=options.limit or 0,
            hint=options.hint,
        )


def _check(query: AnyQuery, user: User) -> None:
    """Every collection that a query names is open to the user, and every condition in it harmless."""
    match query:
        case Aggregate(query=asked):
            user.require_open(asked.catalog)
            guard.check(asked.pipeline, user.may_read)
        case ConeSearch(query=asked) | Near(query=asked):
            for catalog, part in asked.catalogs.items():
                _check_part(catalog, part, user)
        case EstimatedDocumentCount(query=asked):
            user.require_open(asked.catalog)
        case Find(query=asked) | FindOne(query=asked) | CountDocuments(query=asked):
            _check_part(asked.catalog, asked, user)
    guard.check([query.kwargs.sort, query.kwargs.hint], user.may_read)


def _check_part(catalog: str, part: Part, user: User) -> None:
    user.require_open(catalog)
    guard.check([part.filter, part.projection], user.may_read)
