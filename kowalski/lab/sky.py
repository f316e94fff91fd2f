"""The surroundings of an object: what catalogues have there, as tables and as a small picture with north up and east left."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kowalski.api.models.positions import read_position

#: arcsec that a picture may reach from its middle
REACHES = (2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600)
#: arcsec beyond which matches are in a picture of their own, in which those near the object would lie upon each other
NEAR = 10.0
#: kinds of signs that pictures have
SIGNS = 7
#: rows of a catalogue that are listed
LISTED = 20
#: what rows may call their names
NAMES = ("name", "Name", "objname", "_id", "objectId")
#: parts of rows that are told otherwise
APART = ("coordinates", "_id", "ra", "dec")

Place = tuple[float, float]


class Match(NamedTuple):
    """A row of a catalogue: arcsec from the object, and ``east`` and ``north`` of it (arcsec) where that is known."""

    name: str
    distance: float | None
    kpc: float | None
    east: float | None
    north: float | None
    values: dict[str, Any]


class Catalog(NamedTuple):
    """What a catalogue has; ``sign`` is the number of its sign in pictures."""

    name: str
    sign: int
    matches: list[Match]
    more: int


class Mark(NamedTuple):
    """A sign in a picture, in its units: 100 from the middle to the edge."""

    x: float
    y: float
    sign: int
    title: str


class Picture(NamedTuple):
    """A picture of so many arcsec from its middle to its edge; ``bar`` is the arcsec of its scale, and ``width`` that in its units."""

    reach: float
    bar: float
    width: float
    marks: list[Mark]
    alerts: list[tuple[float, float]]


def catalogs_of(matches: Mapping[str, Any], centre: Place | None) -> list[Catalog]:
    """The catalogues that have something, those with the nearest first."""
    found = []
    for name, rows in matches.items():
        own = [_match(row, centre) for row in rows or () if isinstance(row, Mapping)]
        own.sort(key=lambda each: math.inf if each.distance is None else each.distance)
        if own:
            found.append((name, own))
    found.sort(key=lambda each: math.inf if each[1][0].distance is None else each[1][0].distance)
    return [
        Catalog(name, number % SIGNS, own[:LISTED], max(0, len(own) - LISTED))
        for number, (name, own) in enumerate(found)
    ]


def pictures_of(catalogs: Sequence[Catalog], alerts: Sequence[Place], centre: Place) -> list[Picture]:
    """A picture of what is near, and one of all where more is farther away."""
    placed = [(catalog, match) for catalog in catalogs for match in catalog.matches if match.east is not None]
    near = [each for each in placed if (each[1].distance or 0.0) <= NEAR]
    offsets = [offset(centre, place) for place in alerts]
    groups = [near] if near else []
    groups += [placed] if len(placed) > len(near) else []
    return [_picture(group, offsets) for group in groups]


def offset(centre: Place, place: Place) -> tuple[float, float]:
    """Arcsec east and north of a place from another, less than 90 deg away: on the plane that touches the sky there (gnomonic projection)."""
    away, dec, dec0 = math.radians(place[0] - centre[0]), math.radians(place[1]), math.radians(centre[1])
    # by half angles, so that a milliarcsecond is not lost in differences of cosines
    east = math.cos(dec) * math.sin(away)
    north = math.sin(dec - dec0) + 2 * math.sin(dec0) * math.cos(dec) * math.sin(away / 2) ** 2
    depth = math.cos(dec - dec0) - 2 * math.cos(dec0) * math.cos(dec) * math.sin(away / 2) ** 2
    return math.degrees(east / depth) * 3600.0, math.degrees(north / depth) * 3600.0


def _picture(group: Sequence[tuple[Catalog, Match]], alerts: Sequence[tuple[float, float]]) -> Picture:
    farthest = max(math.hypot(match.east or 0.0, match.north or 0.0) for _, match in group)
    reach = float(next((each for each in REACHES if farthest <= 0.92 * each), math.ceil(farthest / 0.92)))
    scale = 100.0 / reach
    marks = [
        Mark(round(-(match.east or 0.0) * scale, 2), round(-(match.north or 0.0) * scale, 2), catalog.sign, f"{catalog.name} {match.name}")
        for catalog, match in group
    ]  # fmt: skip
    inside = [(round(-east * scale, 2), round(-north * scale, 2)) for east, north in alerts if math.hypot(east, north) < reach]  # fmt: skip
    return Picture(reach, reach / 2, 50.0, marks, inside)


def _match(row: Mapping[str, Any], centre: Place | None) -> Match:
    place = row.get("coordinates") if isinstance(row.get("coordinates"), Mapping) else {}
    where = _where(row, place or {})
    east, north = offset(centre, where) if centre and where else (None, None)
    told = (place or {}).get("distance_arcsec")
    distance = told if isinstance(told, int | float) else (math.hypot(east, north) if east is not None and north is not None else None)  # fmt: skip
    kpc = (place or {}).get("distance_kpc")
    named = next((key for key in NAMES if row.get(key)), "_id")
    values = {key: value for key, value in row.items() if key not in (*APART, named)}
    return Match(
        str(row.get(named, "")),
        distance,
        kpc if isinstance(kpc, int | float) and kpc >= 0 else None,
        east,
        north,
        values,
    )


def _where(row: Mapping[str, Any], place: Mapping[str, Any]) -> Place | None:
    """Where a row is (deg), however it says that."""
    geojson = place.get("radec_geojson")
    if (
        isinstance(geojson, Mapping)
        and isinstance(geojson.get("coordinates"), list)
        and len(geojson["coordinates"]) == 2
    ):
        lon, lat = geojson["coordinates"]
        return lon + 180.0, lat
    text = place.get("radec_str")
    if isinstance(text, list) and len(text) == 2:
        try:
            return read_position([str(part) for part in text])
        except ValueError:
            return None
    ra, dec = row.get("ra"), row.get("dec")
    return (ra, dec) if isinstance(ra, int | float) and isinstance(dec, int | float) else None
