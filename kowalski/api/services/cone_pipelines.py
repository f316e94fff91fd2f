"""The pipelines of cone searches: what finds, orders and marks the rows around one position."""

import math
from collections.abc import Mapping
from typing import Any

from kowalski.api.models.positions import Position
from kowalski.api.models.queries import Part
from kowalski.database.queries import POSITION, Reading

#: rows of a position that are not ordered by MongoDB; one more tells that there are more
CROWD = 200
#: field that the pipelines add to each row: the ``number`` of its position, its ``lonlat`` in deg, its place in the ``order``
MARK = "_kowalski_cone"

Ring = tuple[float, float]
Stage = dict[str, Any]


def pipeline_around(
    centre: Position, ring: Ring, number: int, part: Part, reading: Reading, ordered: bool
) -> list[Stage]:
    """The pipeline that gives the marked rows in a ring (rad) around a position (deg).

    ``ordered``: by the reading's sort or else by distance, after its skip and up to its limit; if not, in any order and
    up to ``CROWD + 1`` of them.
    """
    lonlat = f"${POSITION}.coordinates"
    mark: dict[str, Any] = {"number": number, "lonlat": lonlat}
    stages: list[Stage] = [{"$match": _in_ring(centre, ring)}]
    if part.filter:
        stages.append({"$match": part.filter})
    cut = [{name: count} for name, count in (("$skip", reading.skip), ("$limit", reading.limit)) if count]
    if not ordered:
        stages += [{"$limit": CROWD + 1}, {"$set": {MARK: mark}}]
    elif reading.sort:
        stages += [{"$sort": dict(reading.sort)}, *cut, {"$set": {MARK: mark}}]
    else:
        mark["order"] = _haversine(centre, lonlat)
        stages += [{"$set": {MARK: mark}}, {"$sort": {f"{MARK}.order": 1}}, *cut]
    projection = {"_id": 1} if is_for_find(part.projection) else part.projection
    if projection:
        stages.append({"$project": {**projection, MARK: 1} if _names_what_stays(projection) else projection})
    return stages


def is_for_find(projection: Mapping[str, Any]) -> bool:
    """Whether only a find can do a projection, or would show more in a pipeline: the mark, as part of the whole."""
    text = str(projection)
    return any(name in text for name in ("$slice", "$elemMatch", ".$", "$$ROOT", "$$CURRENT"))


def distance_arcsec(centre: Position, lonlat: Any) -> float:
    """Great-circle distance of GeoJSON coordinates from a position; infinite where they are none, which come last."""
    if not isinstance(lonlat, list) or len(lonlat) != 2 or not all(isinstance(angle, int | float) for angle in lonlat):
        return math.inf
    lon, lat, lon0, lat0 = (math.radians(angle) for angle in (*lonlat, centre[0] - 180.0, centre[1]))
    half = math.sin((lat - lat0) / 2) ** 2 + math.cos(lat) * math.cos(lat0) * math.sin((lon - lon0) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(half, 1.0)))) * 3600.0


def _in_ring(centre: Position, ring: Ring) -> dict[str, Any]:
    """Takes half the time of ``$geoNear``, and no index must be there."""
    inner, outer = ({"$geoWithin": {"$centerSphere": [[centre[0] - 180.0, centre[1]], radius]}} for radius in ring)
    return {POSITION: outer, "$nor": [{POSITION: inner}]} if ring[0] else {POSITION: outer}


def _haversine(centre: Position, lonlat: str) -> dict[str, Any]:
    """An expression that grows with the distance from a position."""

    def half_sine_squared(angle: Any, of: float) -> dict[str, Any]:
        return {"$pow": [{"$sin": {"$multiply": [{"$subtract": [angle, of]}, math.pi / 360]}}, 2]}

    lon, lat = {"$first": lonlat}, {"$last": lonlat}
    across = half_sine_squared(lon, centre[0] - 180.0)
    shrunk = [math.cos(math.radians(centre[1])), {"$cos": {"$degreesToRadians": lat}}, across]
    return {"$add": [half_sine_squared(lat, centre[1]), {"$multiply": shrunk}]}


def _names_what_stays(projection: Mapping[str, Any]) -> bool:
    """Whether a projection names the fields that stay, rather than those that go."""
    others = [kept for path, kept in projection.items() if path != "_id"]
    return any(_stays(kept) for kept in others or projection.values())


def _stays(kept: Any) -> bool:
    if isinstance(kept, dict) and not any(str(key).startswith("$") for key in kept):
        return any(_stays(inner) for inner in kept.values())
    return not isinstance(kept, int | float) or bool(kept)
