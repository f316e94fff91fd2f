"""Reads on behalf of one user: whatever the API reads of the archive for him goes through here, and shows what he may see."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from kowalski.api.services import guard, projections
from kowalski.api.services.guard import through
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, Queries, Reading

#: how the API's own short looks are read
PLAIN = Reading(max_time_ms=30_000, comment="kowalski")


class Reads:
    """The database as one user sees it: rows that he may not see do not exist, for counts and errors neither.

    All methods raise `BadRequest` for a collection that is closed to him or an operator that is not allowed, and
    `QueryError` for what MongoDB refuses.
    """

    def __init__(self, queries: Queries, user: User):
        self.queries = queries
        self.user = user

    def find(self, catalog: str, condition: Document, reading: Reading) -> AsyncIterator[Document]:
        """The documents that meet a condition, one by one."""
        self._check(catalog, condition, reading)
        window = self.user.window(catalog)
        if window.shape:
            plain = replace(reading, projection=None)
            pipeline = [*_as_stages(condition, plain), *projections.as_stages(reading.projection or {})]
            return self.queries.aggregate(catalog, guard.behind(window, pipeline), plain, True)
        return self.queries.find(catalog, through(window, condition), reading)

    async def find_one(self, catalog: str, condition: Document, reading: Reading) -> Document | None:
        """The first document that meets a condition, or None."""
        self._check(catalog, condition, reading)
        window = self.user.window(catalog)
        if window.shape:
            found = self.find(catalog, condition, replace(reading, limit=1))
            return await anext(found, None)
        return await self.queries.find_one(catalog, through(window, condition), reading)

    async def count(self, catalog: str, condition: Document, reading: Reading) -> int:
        """How many documents meet a condition, after skip and up to limit."""
        self._check(catalog, condition, reading)
        window = self.user.window(catalog)
        if not window.shape:
            return await self.queries.count(catalog, through(window, condition), reading)
        counted = replace(reading, projection=None, sort=None)
        pipeline = [*guard.behind(window, _as_stages(condition, counted)), {"$count": "n"}]
        found = await anext(self.queries.aggregate(catalog, pipeline, reading, True), None)
        return int(found["n"]) if found else 0

    def united(self, catalog: str, pipelines: list[guard.Pipeline], reading: Reading) -> AsyncIterator[Document]:
        """What the API's own pipelines make of a collection, one after the other; parts that users wrote are checked before."""
        self.user.require_open(catalog)
        window = self.user.window(catalog)
        first, *others = [guard.behind(window, pipeline) for pipeline in pipelines]
        joined = [{"$unionWith": {"coll": catalog, "pipeline": other}} for other in others]
        return self.queries.aggregate(catalog, [*first, *joined], reading, True)

    async def estimated_count(self, catalog: str, reading: Reading) -> int:
        """How many documents a collection has: by its metadata, and exactly where some are hidden."""
        self.user.require_open(catalog)
        if self.user.window(catalog).whole:
            return await self.queries.estimated_count(catalog, reading)
        return await self.count(catalog, {}, reading)

    def aggregate(
        self, catalog: str, pipeline: list[Document], reading: Reading, disk: bool = True
    ) -> AsyncIterator[Document]:
        """What a pipeline makes of a collection, and of those that it looks up, one by one; options as stages at its end."""
        narrowed = guard.narrow(catalog, pipeline, self.user)
        guard.check(reading.projection, reading.sort, reading.hint)
        return self.queries.aggregate(catalog, [*narrowed, *_as_stages({}, reading)], reading, disk)

    async def catalog_names(self) -> list[str]:
        """Names of the collections that are open to the user, in reverse order."""
        return [name for name in await self.queries.catalog_names() if self.user.may_read(name)]

    async def catalog_info(self, catalog: str) -> Document:
        """Size and storage of a collection; where documents are hidden, how many of the others there are."""
        self.user.require_open(catalog)
        info = await self.queries.catalog_info(catalog)
        if self.user.window(catalog).whole:
            return info
        return {"ns": info["ns"], "count": await self.count(catalog, {}, PLAIN), "nindexes": info["nindexes"]}

    async def index_info(self, catalog: str) -> Document:
        """A collection's indexes."""
        self.user.require_open(catalog)
        return await self.queries.index_info(catalog)

    async def database_info(self) -> Document:
        """Size and storage of the database for the admin; for others, of how many collections they may read."""
        info = await self.queries.database_info()
        if self.user.is_admin:
            return info
        return {"db": info["db"], "collections": len(await self.catalog_names())}

    def _check(self, catalog: str, condition: Document, reading: Reading) -> None:
        self.user.require_open(catalog)
        guard.check(condition, reading.projection, reading.sort, reading.hint)


def _as_stages(condition: Document, reading: Reading) -> list[dict[str, Any]]:
    """A find as a pipeline."""
    stages = {
        "$match": condition,
        "$sort": dict(reading.sort or ()),
        "$skip": reading.skip,
        "$limit": reading.limit,
        "$project": reading.projection,
    }
    return [{name: body} for name, body in stages.items() if body]
