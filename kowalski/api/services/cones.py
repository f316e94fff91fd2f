"""Searches around many positions in many catalogues at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kowalski.alerts.coordinates import separation
from kowalski.api.errors import BadRequest
from kowalski.api.models.positions import Position
from kowalski.api.models.queries import Part
from kowalski.api.services.reads import Reads
from kowalski.database.queries import POSITION, Reading

#: searches under way at the same time for one request
AT_ONCE = 16

Rows = list[dict[str, Any]]
Search = Callable[[str, Position, Part, Reading], Awaitable[Rows]]


class Cones:
    """Finds what lies near positions: ``{catalog: {key of the position: rows}}``, the nearest row first.

    Rows that carry their position get ``coordinates.distance_arcsec``. Each position is one query, `AT_ONCE` at a time;
    the time limit holds for all together.
    """

    def __init__(self, reads: Reads):
        self.reads = reads

    async def within(
        self, parts: Mapping[str, Part], positions: Mapping[str, Position], radius: float, reading: Reading
    ) -> dict[str, dict[str, Rows]]:
        """Rows within a radius (rad) of each position (deg)."""

        async def search(catalog: str, centre: Position, part: Part, asked: Reading) -> Rows:
            # $geoWithin takes half the time of $nearSphere and needs no index, but leaves the order to us: we can order
            # only what we see, all of it and with its position
            whole = not (asked.skip or asked.limit) and _shows_position(part.projection)
            if asked.sort or asked.hint or whole:
                return await self.reads.within(catalog, centre, radius, part.filter, asked)
            return await self.reads.nearest(catalog, centre, (0.0, radius), part.filter, asked)

        return await self._each(parts, positions, search, reading)

    async def nearest(
        self, parts: Mapping[str, Part], positions: Mapping[str, Position], ring: tuple[float, float], reading: Reading
    ) -> dict[str, dict[str, Rows]]:
        """Rows whose distance to each position (deg) lies in a ring (inner and outer radius in rad)."""

        async def search(catalog: str, centre: Position, part: Part, asked: Reading) -> Rows:
            return await self.reads.nearest(catalog, centre, ring, part.filter, asked)

        return await self._each(parts, positions, search, reading)

    async def _each(
        self, parts: Mapping[str, Part], positions: Mapping[str, Position], search: Search, reading: Reading
    ) -> dict[str, dict[str, Rows]]:
        found: dict[str, dict[str, Rows]] = {catalog: {key: [] for key in positions} for catalog in parts}
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(catalog: str, key: str) -> None:
            asked = replace(reading, projection=parts[catalog].projection)
            async with gate:
                rows = await search(catalog, positions[key], parts[catalog], asked)
            _add_distances(rows, positions[key])
            found[catalog][key] = rows if reading.sort else sorted(rows, key=_distance)

        try:
            async with asyncio.timeout(reading.max_time_ms / 1000), asyncio.TaskGroup() as group:
                for catalog in parts:
                    for key in positions:
                        group.create_task(one(catalog, key))
        except TimeoutError:
            raise BadRequest("operation exceeded time limit") from None
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return found


def _shows_position(projection: Mapping[str, Any]) -> bool:
    """Whether documents keep their position under a projection, which either names what stays or what goes."""
    named = [bool(kept) for path, kept in projection.items() if f"{POSITION}.coordinates.".startswith(f"{path}.")]
    others = [bool(kept) for path, kept in projection.items() if path != "_id"]
    if named:
        return all(named)
    return not any(others) if others else not projection.get("_id")  # {"_id": 1} alone leaves nothing else


def _add_distances(rows: Rows, centre: Position) -> None:
    placed = [row for row in rows if _lonlat(row)]
    if placed:
        lon, lat = np.array([_lonlat(row) for row in placed], dtype=float).T
        for row, distance in zip(placed, separation(*centre, lon + 180.0, lat).tolist(), strict=True):
            row["coordinates"]["distance_arcsec"] = distance * 3600.0


def _lonlat(row: Mapping[str, Any]) -> list[float] | None:
    """The GeoJSON coordinates of a row's position, where it has one."""
    node: Any = row
    for part in (*POSITION.split("."), "coordinates"):
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, list) and len(node) == 2 else None


def _distance(row: Mapping[str, Any]) -> float:
    """By which rows are ordered; those without a position keep their order, behind the others."""
    place = row.get("coordinates")
    return place.get("distance_arcsec", np.inf) if isinstance(place, dict) else np.inf
