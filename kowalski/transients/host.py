"""The host galaxy of an object, as far as its cross-matches know it: its redshift, and the Galaxy's dust before it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.coordinates import separation
from kowalski.transients_section import Redshift

#: of a redshift that is measured in a spectrum, not guessed of colours
LARGEST_ERROR = 0.005

Row = Mapping[str, Any]


class Host(NamedTuple):
    """A matched galaxy.

    Attributes
    ----------
    z, catalog : redshift, and the catalogue that has it
    mwebv : E(B-V) of the Galaxy, mag; None: not known
    arcsec : distance from the object
    """

    z: float
    catalog: str
    mwebv: float | None
    arcsec: float


def host_of(rows: Mapping[str, list[Row]], ra: float, dec: float, redshifts: Mapping[str, Redshift]) -> Host | None:
    """Of the matched galaxies that have a redshift the one nearest to the position (deg); None: there is none."""
    found = [
        Host(float(row[fields.z]), name, _dust(row, fields), _arcsec(row, ra, dec))
        for name, fields in redshifts.items()
        for row in rows.get(name) or ()
        if _is_measured(row, fields)
    ]
    return min(found, key=lambda host: host.arcsec, default=None)


def _is_measured(row: Row, fields: Redshift) -> bool:
    z, error = row.get(fields.z), row.get(fields.error or "")
    if not isinstance(z, int | float) or not 0 < z < 10:
        return False
    return not isinstance(error, int | float) or not error > LARGEST_ERROR


def _dust(row: Row, fields: Redshift) -> float | None:
    value = row.get(fields.mwebv or "")
    return float(value) if isinstance(value, int | float) and 0 <= value < 10 else None


def _arcsec(row: Row, ra: float, dec: float) -> float:
    """How far a row is from a position; of those that don't say where they are, nothing but that they are matched."""
    place = row.get("coordinates") or {}
    if isinstance(told := place.get("distance_arcsec"), int | float):
        return float(told)
    if geojson := place.get("radec_geojson"):
        lon, lat = geojson["coordinates"]
        return 3600 * float(separation(ra, dec, np.array([lon + 180.0]), np.array([lat]))[0])
    if isinstance(text := place.get("radec_str"), list | tuple) and len(text) == 2:
        hours, degrees = (_sexagesimal(str(each)) for each in text)
        return 3600 * float(separation(ra, dec, np.array([15 * hours]), np.array([degrees]))[0])
    return 0.0


def _sexagesimal(text: str) -> float:
    whole, minutes, seconds = (float(part) for part in text.lstrip("-").split(":"))
    return math.copysign(whole + minutes / 60 + seconds / 3600, -1.0 if text.startswith("-") else 1.0)
