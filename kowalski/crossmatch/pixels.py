"""The HEALPix pixel that a row of a catalogue lies in: rows near many positions are found by one look at an ordinary index.

Nested scheme of Górski et al. 2005, ApJ 622, 759.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from bson.int64 import Int64

Row = dict[str, Any]


class Grid(NamedTuple):
    """Pixels of one order, and the radii (rad) of the cones that are looked for by them.

    The widest touches some 200 pixels; of one narrower than the narrowest, the pixels hold too much else.
    """

    order: int
    narrowest: float
    widest: float

    @property
    def name(self) -> str:
        """Of the index of its pixels."""
        return f"healpix_{self.order}"

    @property
    def field(self) -> str:
        """Where a catalogue's row has its pixel."""
        return f"coordinates.{self.name}"


#: pixels of 3.2 arcsec for stars, of which a cone of 2 arcsec touches 5, which hold one row of Gaia in 6 searches, and in the Galactic
#: plane 5 in one; pixels of 6.9 arcmin for nearby galaxies, of which a cone of 5 arcmin touches 5, which hold 3 of NED's
GRIDS = (Grid(16, 0.0, math.radians(24 / 3600)), Grid(9, math.radians(2 / 60), math.radians(50 / 60)))


def grid_for(radius: float) -> Grid | None:
    """The grid for cones of a radius (rad); None: there is none for it."""
    return next((grid for grid in GRIDS if grid.narrowest <= radius <= grid.widest), None)


def angles(ra: np.ndarray, dec: np.ndarray) -> tuple[Any, Any]:
    """Positions (deg) as cdshealpix takes them; like it, astropy is imported here, for it takes 27 MB of each process that has it."""
    from astropy.coordinates import Latitude, Longitude

    return Longitude(ra, "deg"), Latitude(dec, "deg")


def pixels(ra: np.ndarray, dec: np.ndarray, grid: Grid) -> np.ndarray:
    """The pixel of each of N positions (deg), shape (N,), int64."""
    from cdshealpix import lonlat_to_healpix

    return lonlat_to_healpix(*angles(ra, dec), grid.order).astype(np.int64)


@lru_cache(maxsize=4)  # a batch asks for the same in catalogue after catalogue
def pixels_around(positions: tuple[tuple[float, float], ...], radius: float, grid: Grid) -> Mapping[int, list[int]]:
    """Every pixel that a cone of a radius (rad) around one of the positions (ra, dec in deg) touches: pixel -> indices of these."""
    from astropy.units import rad
    from cdshealpix import cone_search

    around: dict[int, list[int]] = {}
    size, (ra, dec) = radius * rad, np.array(positions).reshape(-1, 2).T
    for index, place in enumerate(zip(*angles(ra, dec), strict=True)):
        touched, *_ = cone_search(*place, size, grid.order, flat=True)
        for pixel in touched.tolist():
            around.setdefault(pixel, []).append(index)
    return around


def with_pixels(rows: Iterable[Mapping[str, Any]], grids: Sequence[Grid] = GRIDS) -> list[Row]:
    """Rows of a catalogue, each with its pixels."""
    rows = list(rows)
    if not rows:
        return []
    ra, dec = np.array([row["coordinates"]["radec_geojson"]["coordinates"] for row in rows]).T
    columns = {grid.name: map(Int64, pixels(ra + 180.0, dec, grid).tolist()) for grid in grids}
    return [
        {**row, "coordinates": {**row["coordinates"], **dict(zip(columns, own, strict=True))}}
        for row, *own in zip(rows, *columns.values(), strict=True)
    ]
