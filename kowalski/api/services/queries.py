"""Queries of users: bounded in time, and answered with what they may see."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.queries import (
    Aggregate,
    AnyQuery,
    ConeSearch,
    CountDocuments,
    Drop,
    EstimatedDocumentCount,
    Find,
    FindOne,
    Info,
    Near,
    Options,
    Question,
    Skymap,
    ToDrop,
)
from kowalski.api.services.cones import Cones, Found
from kowalski.api.services.guard import both
from kowalski.api.services.reads import Reads
from kowalski.api.services.rights import User, is_closed
from kowalski.api.services.skymaps import SkymapService
from kowalski.api.services.within import Within
from kowalski.database.catalog_admin import CatalogAdmin
from kowalski.database.queries import POSITION, Queries, Reading

Data = AsyncIterator[dict[str, Any]] | Found | dict[str, Any] | list[str] | int | None


class QueryService:
    """Answers the queries of ``POST /api/queries``; ``max_time_ms`` is what one may take at most."""

    def __init__(self, queries: Queries, catalogs: CatalogAdmin, skymaps: SkymapService, max_time_ms: int):
        self.queries = queries
        self.catalogs = catalogs
        self.skymaps = skymaps
        self.max_time_ms = max_time_ms

    async def run(self, query: AnyQuery, user: User) -> Data:
        """The data of a query: documents one by one as they come, or a document, names, or a number.

        Raises
        ------
        BadRequest, Forbidden, QueryError : the query is wrong, not allowed, or refused by MongoDB
        """
        reads = Reads(self.queries, user)
        reading = self._reading(query.kwargs, user)
        match query:
            case Find(query=asked):
                return reads.find(asked.catalog, asked.filter, replace(reading, projection=asked.projection))
            case FindOne(query=asked):
                return await reads.find_one(asked.catalog, asked.filter, replace(reading, projection=asked.projection))
            case CountDocuments(query=asked):
                return await reads.count(asked.catalog, asked.filter, reading)
            case EstimatedDocumentCount(query=asked):
                return await reads.estimated_count(asked.catalog, reading)
            case Aggregate(query=asked, kwargs=options):
                shown = replace(reading, projection=asked.projection)
                return reads.aggregate(asked.catalog, asked.pipeline, shown, options.allow_disk_use)
            case ConeSearch(query=asked):
                cone = asked.object_coordinates
                return await Cones(reads).within(asked.catalogs, cone.radec, cone.radius, reading)
            case Near(query=asked):
                return await Cones(reads).nearest(asked.catalogs, asked.radec, asked.ring, reading)
            case Info(query=asked):
                return await self._inform(asked, reads)
            case Skymap(query=asked):
                which = asked.skymap
                if which.is_exact:
                    return await Within(reads, self.skymaps).rows(asked, reading)
                contour = await self.skymaps.contour(str(which.localization_name), which.event, which.contour)
                within = both({POSITION: {"$geoWithin": {"$geometry": contour}}}, asked.filter)
                return reads.find(asked.catalog, within, replace(reading, projection=asked.projection))
            case Drop(query=asked):
                await self._drop(asked, user)
                return None

    async def _inform(self, asked: Question, reads: Reads) -> dict[str, Any] | list[str]:
        if asked.command == "catalog_names":
            return await reads.catalog_names()
        if asked.command == "db_info":
            return await reads.database_info()
        if asked.catalog is None:
            raise BadRequest(f"{asked.command}: catalog is missing")
        if asked.command == "catalog_info":
            return await reads.catalog_info(asked.catalog)
        return await reads.index_info(asked.catalog)

    async def _drop(self, asked: ToDrop, user: User) -> None:
        """A catalogue is gone: for the admin who says its name twice."""
        user.require_admin()
        if asked.confirm != asked.catalog:
            raise BadRequest(f"drop: query.confirm must be the catalogue's name, {asked.catalog}")
        if is_closed(asked.catalog):
            raise BadRequest(f"Protected collection: {asked.catalog}")
        if not await self.catalogs.drop(asked.catalog):
            raise BadRequest(f"drop: there is no collection {asked.catalog}")

    def _reading(self, options: Options, user: User) -> Reading:
        if options.max_time_ms is not None and options.max_time_ms > self.max_time_ms:
            raise BadRequest(f"ValueError: max_time_ms must be int <= {self.max_time_ms}")
        return Reading(
            max_time_ms=options.max_time_ms or self.max_time_ms,
            comment=f"{user.name}: {options.comment}" if options.comment else user.name,
            sort=options.sort,
            skip=options.skip or 0,
            limit=options.limit or 0,
            hint=options.hint,
        )
