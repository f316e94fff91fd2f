"""Searches around many positions in many catalogues."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.positions import Position
from kowalski.api.models.queries import Part
from kowalski.api.services import guard
from kowalski.api.services.cone_pipelines import CROWD, MARK, Ring, distance_arcsec, is_for_find, pipeline_around
from kowalski.api.services.reads import Reads
from kowalski.database.queries import POSITION, Document, Reading
from kowalski.errors import DatabaseError

#: positions of one aggregation at most; MongoDB takes 1000 stages
CHUNK = 100
#: and characters of their filters and projections; MongoDB takes 16 MB
CHUNK_TEXT = 4_000_000
#: aggregations under way at the same time for one request
AT_ONCE = 4

Row = tuple[str, str, Document]


@dataclass(frozen=True)
class Found:
    """Rows by catalogue and position.

    Attributes
    ----------
    rows : (catalogue, key of the position, row), in the order of ``catalogs`` and therein of ``keys``, found as they are taken
    """

    catalogs: tuple[str, ...]
    keys: tuple[str, ...]
    rows: AsyncGenerator[Row]


class Cones:
    """Finds what lies near positions, the nearest first unless a ``sort`` says otherwise.

    Rows that carry their position get ``coordinates.distance_arcsec``. Filter, projection, sort, skip, limit and hint hold
    for each position, the time limit for all of them together. What is wrong with a search is raised as `BadRequest` or
    `QueryError`, now or when its rows are taken.
    """

    def __init__(self, reads: Reads):
        self.reads = reads

    async def within(
        self, parts: Mapping[str, Part], positions: Mapping[str, Position], radius: float, reading: Reading
    ) -> Found:
        """Rows within a radius (rad) of each position (deg)."""
        if radius > math.pi:
            raise BadRequest("cone_search_radius: no two positions are more than 180 deg apart")
        return self._search(parts, positions, (0.0, radius), reading)

    async def nearest(
        self, parts: Mapping[str, Part], positions: Mapping[str, Position], ring: Ring, reading: Reading
    ) -> Found:
        """Rows whose distance to each position (deg) lies in a ring (inner and outer radius in rad)."""
        if ring[1] > math.pi:
            raise BadRequest("max_distance: no two positions are more than 180 deg apart")
        if ring[0] > ring[1]:
            raise BadRequest("min_distance is larger than max_distance, which is 1 arcmin unless given")
        return self._search(parts, positions, ring, reading)

    def _search(
        self, parts: Mapping[str, Part], positions: Mapping[str, Position], ring: Ring, reading: Reading
    ) -> Found:
        for catalog, part in parts.items():
            self.reads.user.require_open(catalog)
            guard.check(part.filter, part.projection, reading.sort, reading.hint)
        return Found(tuple(parts), tuple(positions), _Search(self.reads, positions, ring, reading).rows(parts))


@dataclass(frozen=True)
class _Chunk:
    """Positions that are searched together in one catalogue, and whether MongoDB orders what it finds."""

    catalog: str
    part: Part
    keys: tuple[str, ...]
    ordered: bool


@dataclass(frozen=True)
class _Begun:
    """A chunk whose search is under way: ``first`` becomes its first row, ``rows`` are the others."""

    chunk: _Chunk
    first: asyncio.Future[Document | None]
    rows: AsyncIterator[Document]

    async def close(self) -> None:
        """Give up what was not taken."""
        self.first.cancel()
        await asyncio.gather(self.first, return_exceptions=True)
        await self.rows.aclose()  # type: ignore[attr-defined]


class _Search:
    """The search of one request: `CHUNK` positions in one aggregation (a quarter of the time of a query each).

    Up to `CROWD` rows of a position are ordered here, which saves MongoDB a third of its work; of crowded positions, and
    where not all rows are to come, they are ordered by MongoDB, and none are held here.
    """

    def __init__(self, reads: Reads, positions: Mapping[str, Position], ring: Ring, reading: Reading):
        self.reads = reads
        self.positions = positions
        self.ring = ring
        self.reading = reading
        self.left = reading.max_time_ms / 1000  # s that may still be spent on waiting for MongoDB

    async def rows(self, parts: Mapping[str, Part]) -> AsyncGenerator[Row]:
        """All rows in order; while those of one chunk are taken, the next chunks are searched."""
        chunks = self._chunks(parts)
        ahead: deque[_Begun] = deque()
        try:
            while True:
                while len(ahead) < AT_ONCE and (chunk := next(chunks, None)):
                    ahead.append(self._begin(chunk))
                if not ahead:
                    return
                async with aclosing(self._of_chunk(ahead[0])) as rows:
                    async for row in rows:
                        yield row
                await ahead.popleft().close()
        finally:
            for begun in ahead:
                await begun.close()

    def _chunks(self, parts: Mapping[str, Part]) -> Iterator[_Chunk]:
        keys, asked = tuple(self.positions), self.reading
        for catalog, part in parts.items():
            size = max(1, min(CHUNK, CHUNK_TEXT // len(f"{part.filter}{part.projection}")))
            size = 1 if asked.hint else size  # of several it would hold for the first only
            for first in range(0, len(keys), size):
                yield _Chunk(catalog, part, keys[first : first + size], bool(asked.sort or asked.skip or asked.limit))

    def _begin(self, chunk: _Chunk) -> _Begun:
        pipelines = [
            pipeline_around(self.positions[key], self.ring, number, chunk.part, self.reading, chunk.ordered)
            for number, key in enumerate(chunk.keys)
        ]
        rows = self.reads.united(chunk.catalog, pipelines, self._in_time_left())
        return _Begun(chunk, asyncio.ensure_future(anext(rows, None)), rows)

    async def _of_chunk(self, begun: _Begun) -> AsyncGenerator[Row]:
        chunk = begun.chunk
        async for rows in self._by_position(begun):
            key = chunk.keys[rows[0][MARK]["number"]]
            if len(rows) <= CROWD:
                for row in _nearest_first(rows, self.positions[key]):
                    if (shown := await self._shown(chunk, row)) is not None:
                        yield chunk.catalog, key, shown
                continue
            crowded = self._begin(replace(chunk, keys=(key,), ordered=True))
            try:
                async for each in self._of_chunk(crowded):
                    yield each
            finally:
                await crowded.close()

    async def _by_position(self, begun: _Begun) -> AsyncIterator[list[Document]]:
        """The rows of a chunk, those of one position together, or singly where they are ordered."""
        together: list[Document] = []
        row = await self._first_of(begun)
        while row is not None:
            step = row[MARK]["number"] - together[-1][MARK]["number"] if together else 0
            if step < 0:  # MongoDB does it, but doesn't promise it
                raise DatabaseError("MongoDB has not joined the positions in their order")
            if together and (step or begun.chunk.ordered):
                yield together
                together = []
            together.append(row)
            row = await anext(begun.rows, None)
        if together:
            yield together

    async def _first_of(self, begun: _Begun) -> Document | None:
        """The first row of a chunk; waiting for it is what a search spends its time on, not a slow client."""
        start = monotonic()
        try:
            async with asyncio.timeout(max(self.left, 0)):
                return await begun.first
        except TimeoutError:
            raise BadRequest("operation exceeded time limit") from None
        finally:
            self.left -= monotonic() - start

    async def _shown(self, chunk: _Chunk, row: Document) -> Document | None:
        """A row as its projection leaves it, with its distance where it has its position; None: it was removed meanwhile."""
        distance, shown = row.pop(MARK)["arcsec"], row
        if is_for_find(chunk.part.projection):
            plain = replace(self._in_time_left(), sort=None, skip=0, hint=None, projection=chunk.part.projection)
            found = await self.reads.find_one(chunk.catalog, {"_id": row["_id"]}, plain)
            if found is None:
                return None
            shown = found
        if _has_position(shown):
            shown["coordinates"]["distance_arcsec"] = distance
        return shown

    def _in_time_left(self) -> Reading:
        return replace(self.reading, max_time_ms=max(1, round(self.left * 1000)))


def _nearest_first(rows: list[Document], centre: Position) -> list[Document]:
    """Rows of one position with their distances; one that was ordered by MongoDB comes alone."""
    for row in rows:
        row[MARK]["arcsec"] = distance_arcsec(centre, row[MARK].get("lonlat"))
    return sorted(rows, key=lambda row: float(row[MARK]["arcsec"])) if len(rows) > 1 else rows


def _has_position(row: Mapping[str, Any]) -> bool:
    """Whether a row shows the GeoJSON coordinates of its position."""
    node: Any = row
    for part in (*POSITION.split("."), "coordinates"):
        node = node.get(part) if isinstance(node, dict) else None
    return isinstance(node, list) and len(node) == 2
