"""Rows of a catalogue within a credible level of a sky map: exact, cell by cell, and in the order of their probability if asked for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.queries import WithinSkymap
from kowalski.api.services import guard
from kowalski.api.services.reads import Reads
from kowalski.api.services.skymaps import SkymapService
from kowalski.database.queries import POSITION, Document, Reading
from kowalski.gathering import gathered
from kowalski.skymaps.search import Found, Region, place_of

#: rows whose places are looked at together, and rows that are read together
LOOKED, READ = 5_000, 500
#: rows of which the most probable can be told
MOST = 500_000

Hit = tuple[Any, Found]


class Within:
    """Finds what lies within a part of a sky map; what is wrong with a search is raised as `BadRequest`, `SkymapError` or `QueryError`.

    MongoDB gives the rows around the region by their positions alone; those in its cells are then read in full. Each row has
    ``skymap``: its credible level (percent), and the probability per sr and, where a distance is given, per Mpc^3.
    """

    def __init__(self, reads: Reads, skymaps: SkymapService):
        self.reads = reads
        self.skymaps = skymaps

    async def rows(self, asked: WithinSkymap, reading: Reading) -> AsyncGenerator[Document]:
        """The rows, one by one; skip and limit count those within."""
        self.reads.user.require_open(asked.catalog)
        guard.check(asked.filter, asked.projection, reading.sort, reading.hint)
        which = asked.skymap
        level = 100.0 if which.credible_level is None else which.credible_level
        cells = await self.skymaps.cells(str(which.localization_name), which.event, level)
        region = Region(cells, level, which.credible_volume, which.distance is not None)
        geometry = await asyncio.to_thread(region.geometry)
        around = {POSITION: {"$geoWithin": {"$geometry": geometry}}} if geometry else {POSITION: {"$exists": True}}
        search = _Search(self.reads, asked, region, guard.both(around, asked.filter), reading)
        return search.rows()


@dataclass(frozen=True)
class _Search:
    reads: Reads
    asked: WithinSkymap
    region: Region
    condition: Document
    reading: Reading

    async def rows(self) -> AsyncGenerator[Document]:
        """The rows that are asked for, in their order."""
        first, last = self.reading.skip, self.reading.skip + self.reading.limit if self.reading.limit else None
        if self.asked.skymap.sort:
            for hits in _in_portions((await self._most_probable())[first:last]):
                for row in await self._read(hits):
                    yield row
            return
        number = 0
        async with aclosing(self._hits()) as found:
            async for hits in found:
                begin, end = max(first - number, 0), None if last is None else max(last - number, 0)
                number += len(hits)
                for portion in _in_portions(hits[begin:end]):
                    for row in await self._read(portion):
                        yield row
                if last is not None and number >= last:
                    return

    async def _most_probable(self) -> list[Hit]:
        """All that lies within, the most probable first."""
        hits: list[Hit] = []
        async with aclosing(self._hits()) as found:
            async for each in found:
                hits += each
                if len(hits) > MOST:
                    raise BadRequest(f"more than {MOST} rows lie within: give a filter, or a lower level")
        return sorted(hits, key=lambda hit: -hit[1].density)

    async def _hits(self) -> AsyncGenerator[list[Hit]]:
        """Ids of what lies within, in the order that MongoDB gives."""
        which = self.asked.skymap
        field = which.distance if isinstance(which.distance, str) else None
        projection = {"_id": 1, POSITION: 1, **({field: 1} if field else {})}
        plain = replace(
            self.reading, projection=projection, skip=0, limit=0, sort=None if which.sort else self.reading.sort
        )
        async for rows in gathered(self.reads.find(self.asked.catalog, self.condition, plain), LOOKED):
            found = await asyncio.to_thread(self.region.look, [place_of(row, which.distance) for row in rows])
            yield [(row["_id"], each) for row, each in zip(rows, found, strict=True) if each is not None]

    async def _read(self, hits: list[Hit]) -> list[Document]:
        """Rows in full, as their projection leaves them; those that were removed meanwhile are missing."""
        projection, hides_id = (
            dict(self.asked.projection),
            "_id" in self.asked.projection and not self.asked.projection["_id"],
        )
        if hides_id:
            del projection["_id"]
        plain = replace(self.reading, projection=projection, skip=0, limit=0, sort=None, hint=None)
        condition = {"_id": {"$in": [key for key, _ in hits]}}
        rows = {repr(row["_id"]): row async for row in self.reads.find(self.asked.catalog, condition, plain)}
        shown = [(rows[name], found) for key, found in hits if (name := repr(key)) in rows]
        if hides_id:
            for row in rows.values():
                del row["_id"]
        return [{**row, "skymap": found.told} for row, found in shown]


def _in_portions(hits: list[Hit]) -> list[list[Hit]]:
    return [hits[first : first + READ] for first in range(0, len(hits), READ)]
