"""Which nearby galaxies an alert belongs to: the match radius follows from the galaxy's distance."""

import math
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.coordinates import position, separation
from kowalski.log import get_logger
from kowalski.settings import Recipe

log = get_logger(__name__)

Row = dict[str, Any]


class Ellipse(NamedTuple):
    """Outline of a galaxy: semi-major axis in deg, axis ratio, position angle of the major axis in deg east of north."""

    semi_major: float
    ratio: float
    angle: float


#: the two galaxies whose extent on the sky no distance rule covers
M31: Row = {
    "_id": 596900, "name": "PGC2557", "ra": 10.6847, "dec": 41.26901, "z": -0.00100100006, "DistMpc": 0.778,
    "mstar": 253816876.412914, "a": 6.35156, "b2a": 0.32, "pa": 35,
}  # fmt: skip
M33: Row = {
    "_id": 597543, "name": "PGC5818", "ra": 23.46204, "dec": 30.66022, "z": -0.000597000006, "DistMpc": 0.869,
    "mstar": 4502777.420493, "a": 2.35983, "b2a": 0.59, "pa": 23,
}  # fmt: skip
OUTLINES = {596900: (M31, Ellipse(1.624875, 0.331283, 35.0)), 597543: (M33, Ellipse(0.603694, 0.602964, 23.0))}


def near_galaxies(rows: list[Row], ra: float, dec: float, recipe: Recipe) -> list[Row]:
    """Of some galaxies, M31 and M33, those whose match region holds the position (deg), with their distance.

    Each row kept carries ``coordinates.distance_arcsec`` and ``coordinates.distance_kpc`` (-1 where unknown). A row without the
    field that the recipe takes the distance from can't be matched: it is left out and logged.
    """
    matches = []
    for row in rows:
        if row.get("_id") in OUTLINES:
            continue
        radius = match_radius(row, recipe)
        if radius is None:
            log.warning("galaxy %s has no %s: not matched", row.get("_id"), recipe.distance_value)
        elif (distance := _distance(row, ra, dec)) <= radius:
            matches.append(_with_distance(row, distance))
    for galaxy, outline in OUTLINES.values():
        if inside(ra, dec, galaxy["ra"], galaxy["dec"], outline):
            row = {**galaxy, "coordinates": position(galaxy["ra"], galaxy["dec"])}
            matches.append(_with_distance(row, _distance(row, ra, dec)))
    return matches


def match_radius(row: Row, recipe: Recipe) -> float | None:
    """The radius in deg within which an alert belongs to a galaxy; None where its distance is unknown.

    Near galaxies have a fixed radius, farther ones ``cm_at_distance`` kpc at their distance, 1 arcsec being 1 kpc at z = 0.05.
    """
    value = row.get(recipe.distance_value or "")
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    low, size = recipe.cm_low_distance or 0.0, recipe.cm_at_distance or 0.0
    if recipe.distance_value == "z" or recipe.distance_method in ("redshift", "z"):
        return (low if value < 0.01 else size * 0.05 / value) / 3600.0
    return low / 3600.0 if value < 40 else math.degrees(math.atan(size / (value * 1000.0)))


def inside(ra: float, dec: float, ra0: float, dec0: float, outline: Ellipse) -> bool:
    """Whether a position lies in an ellipse on the sky around (ra0, dec0); all in deg."""
    distance = float(separation(ra0, dec0, np.array([ra]), np.array([dec]))[0])
    if distance > outline.semi_major:
        return False
    lat, lat0, lon = math.radians(dec), math.radians(dec0), math.radians(ra - ra0)
    north = math.cos(lat0) * math.sin(lat) - math.sin(lat0) * math.cos(lat) * math.cos(lon)
    angle = math.atan2(math.sin(lon) * math.cos(lat), north) - math.radians(outline.angle)
    return distance * math.hypot(math.cos(angle), math.sin(angle) / outline.ratio) <= outline.semi_major


def _distance(row: Row, ra: float, dec: float) -> float:
    lon, lat = row["coordinates"]["radec_geojson"]["coordinates"]
    return float(separation(ra, dec, np.array([lon + 180.0]), np.array([lat]))[0])


def _with_distance(row: Row, distance: float) -> Row:
    """The row with its distance from the alert, given in deg."""
    arcsec = distance * 3600.0
    z, mpc = row.get("z"), row.get("DistMpc")
    if z is not None and z > 0.005:
        kpc = arcsec * (z / 0.05)
    elif mpc is not None and mpc > 0.005:
        kpc = math.radians(distance) * mpc * 1000.0
    else:
        kpc = -1.0
    place = {**row["coordinates"], "distance_arcsec": round(arcsec, 2), "distance_kpc": round(kpc, 2)}
    return {**row, "coordinates": place}
