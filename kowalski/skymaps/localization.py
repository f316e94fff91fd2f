"""Localizations: probability on a mesh of HEALPix cells of several sizes, from what observatories publish.

The mesh is Górski et al. 2005 (ApJ 622, 759); the UNIQ number of a cell of order k is ``4 ** (k + 1) + ipix``, NESTED
(IVOA MOC 2.0).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy_healpix import HEALPix, level_ipix_to_uniq, uniq_to_level_ipix

from kowalski.errors import SkymapError

#: cells across one standard deviation of a cone, or the smaller axis of a shape
FINENESS = 12
#: smallest and largest order of a mesh made here: cells of 1.8 deg and 0.4 arcsec
COARSEST, FINEST = 5, 19
#: deg, for which that is fine enough
NARROWEST = 3e-4
#: width of a cell of order 0, deg, and cells of a mesh made here at most
WIDTH, MOST_CELLS = 58.6, 2_000_000
#: standard deviations out to which a cone is drawn
CONE_EDGE = 4.0
#: cells of a sky map at most
MAX_CELLS = 12 * 1024**2
#: corners of a polygon at most, and cells that one should have
MAX_POLYGON, POLYGON_CELLS = 2_000, 5_000

#: right ascension, declination and radius of a circle on the sky, deg
Cap = tuple[float, float, float]


@dataclass(frozen=True)
class Localization:
    """Where an event may have been.

    Attributes
    ----------
    uniq : UNIQ numbers of cells, shape (n,), int64
    density : probability per sr in each, shape (n,), as published: its sum need not be 1
    distance : DISTMU and DISTSIGMA (Mpc) and DISTNORM (Mpc^-2) of each, shape (n, 3), where the map has them
        (Singer et al. 2016, ApJ 829, L15)
    """

    name: str
    uniq: np.ndarray
    density: np.ndarray
    distance: np.ndarray | None = None

    @property
    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Order and NESTED index of each cell, each of shape (n,)."""
        order, ipix = uniq_to_level_ipix(self.uniq)
        return order.astype(np.int8), ipix.astype(np.int64)

    @property
    def probability(self) -> np.ndarray:
        """Probability in each cell, shape (n,), in all 1.

        Raises
        ------
        SkymapError : it is nowhere above 0
        """
        mass = np.where(above_0(self.density), self.density, 0.0)
        mass /= mass.max(initial=0.0) or 1.0  # the sum of huge ones must not overflow
        mass /= 4.0 ** self.levels[0]
        if not mass.sum() > 0:
            raise SkymapError("the sky map's probability is nowhere above 0")
        return np.asarray(mass / mass.sum())


def from_cells(name: str, uniq: Any, density: Any, distance: np.ndarray | None = None) -> Localization:
    """A localization of given cells.

    Raises
    ------
    SkymapError : they are no cells, or overlap, or there are not as many densities
    """
    try:
        numbers, values = np.asarray(uniq, dtype=np.int64), np.asarray(density, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise SkymapError(f"uniq and probdensity must be lists of numbers: {error}") from None
    if numbers.ndim != 1 or numbers.shape != values.shape or not 0 < numbers.size <= MAX_CELLS:
        raise SkymapError(f"uniq and probdensity must be lists of the same length, up to {MAX_CELLS}")
    if numbers.min() < 4 or numbers.max() >= 4**31:
        raise SkymapError("uniq: these are no UNIQ numbers of HEALPix cells")
    some = above_0(values)
    made = Localization(name, numbers[some], values[some], None if distance is None else distance[some])
    order, ipix = made.levels
    size = 4 ** (29 - order.astype(np.int64))  # of a cell, in cells of the smallest kind
    start = ipix * size
    sky = np.argsort(start, kind="stable")
    if (start[sky][1:] < (start + size)[sky][:-1]).any():
        raise SkymapError("uniq: these cells overlap")
    return made


def without_earth(localization: Localization, earth: Cap | None) -> Localization:
    """The localization with nothing where the Earth hid the sky from the satellite, if it is known where."""
    if earth is None:
        return localization
    density = localization.density.copy()
    order, ipix = localization.levels
    for each in np.unique(order):
        cells = order == each
        density[cells] *= _distances(int(each), ipix[cells], earth[0], earth[1]) > earth[2]
    return replace(localization, density=density)


def from_cone(ra: float, dec: float, error: float, name: str | None = None) -> Localization:
    """A Gaussian of standard deviation ``error`` (deg) around a position (deg), out to 4 of them.

    Raises
    ------
    SkymapError : the error is not between 0 and 60 deg
    """
    if not 0 < error <= 60:
        raise SkymapError("error: a radius between 0 and 60 deg is expected")
    width = max(error, NARROWEST)
    order, ipix = _cells_around(ra, dec, CONE_EDGE * width, width / FINENESS)
    distance = _distances(order, ipix, ra, dec)
    density = np.where(distance <= CONE_EDGE * width, np.exp(-0.5 * (distance / width) ** 2), 0.0)
    return _uniform_mesh(name or cone_name(ra, dec, error), order, ipix, density)


def cone_name(ra: float, dec: float, error: float) -> str:
    """What a cone is called that has no name of its own: ``90.00000_30.00000_10.00000``."""
    return f"{ra:.5f}_{dec:.5f}_{error:.5f}"


def from_ellipse(name: str, ra: float, dec: float, amaj: float, amin: float, phi: float) -> Localization:
    """An ellipse of semi-axes ``amaj`` and ``amin`` (deg), the major one at ``phi`` deg from north to east, evenly filled.

    Raises
    ------
    SkymapError : the axes are not between 0 and 60 deg, or the wrong way round
    """
    if not 0 < amin <= amaj <= 60:
        raise SkymapError("amaj, amin: 0 < amin <= amaj <= 60 deg is expected")
    order, ipix = _cells_around(ra, dec, amaj, amin / FINENESS)
    east, north = _offsets(order, ipix, ra, dec)
    turn = math.radians(phi)
    along, across = north * math.cos(turn) + east * math.sin(turn), east * math.cos(turn) - north * math.sin(turn)
    inside = (along / amaj) ** 2 + (across / amin) ** 2 <= 1
    return _uniform_mesh(name, order, ipix, inside.astype(float))


def from_polygon(name: str, corners: list[tuple[float, float]]) -> Localization:
    """A polygon with corners (ra, dec) in deg, evenly filled; it must lie within 80 deg of its centre.

    Raises
    ------
    SkymapError : it has fewer than three corners, no area, or is too large
    """
    if not 3 <= len(corners) <= MAX_POLYGON:
        raise SkymapError(f"polygon: 3 to {MAX_POLYGON} corners are expected")
    if not all(-360 <= ra <= 360 and -90 <= dec <= 90 for ra, dec in corners):
        raise SkymapError("polygon: corners must be (ra, dec) with 0 <= ra <= 360 and -90 <= dec <= 90")
    vectors = _vectors(*np.radians(np.array(corners, dtype=float)).T)
    middle = vectors.mean(axis=0)
    if np.linalg.norm(middle) < 1e-6:
        raise SkymapError("polygon: it must lie within 80 deg of its centre")
    ra, dec = _angles(middle)
    radius = float(np.degrees(np.arccos(np.clip(vectors @ (middle / np.linalg.norm(middle)), -1, 1))).max())
    if not 0 < radius < 80:
        raise SkymapError("polygon: it must lie within 80 deg of its centre")
    flat = _project(vectors, ra, dec)
    x, y = flat.T
    area = abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2
    if not area > 1e-15:
        raise SkymapError("polygon: it has no area")
    size = min(radius / (5 * FINENESS), math.degrees(math.sqrt(area / POLYGON_CELLS)))
    order, ipix = _cells_around(ra, dec, radius, size)
    inside = _inside(_project(_vectors(*_positions(order, ipix)), ra, dec), flat)
    return _uniform_mesh(name, order, ipix, inside.astype(float))


def above_0(values: np.ndarray) -> np.ndarray:
    """Which values are numbers above 0."""
    return np.asarray(np.isfinite(values) & (values > 0))


def _uniform_mesh(name: str, order: int, ipix: np.ndarray, density: np.ndarray) -> Localization:
    uniq = np.asarray(level_ipix_to_uniq(order, ipix), dtype=np.int64)
    kept = density > 0
    if not kept.any():
        raise SkymapError(f"{name}: the shape is too narrow to be drawn")
    return Localization(name, uniq[kept], density[kept])


def _cells_around(ra: float, dec: float, radius: float, size: float) -> tuple[int, np.ndarray]:
    """Order and indices of the cells whose centres lie within a radius (deg) of a position (deg), ``size`` deg wide or less.

    Found by halving: a cell is kept as long as it may reach into the circle.
    """
    order = int(np.clip(math.ceil(math.log2(WIDTH / size)), COARSEST, FINEST))
    share = (1 - math.cos(math.radians(min(radius, 180)))) / 2
    while 12 * 4**order * share > MOST_CELLS and order > COARSEST:
        order -= 1
    ipix = np.arange(12, dtype=np.int64)
    for each in range(order + 1):
        if each:
            ipix = (4 * ipix[:, None] + np.arange(4)).ravel()
        reach = radius if each == order else radius + WIDTH / 2**each
        ipix = ipix[_distances(each, ipix, ra, dec) <= reach]
    return order, ipix


def _positions(order: int, ipix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of the centres of cells in rad, each of shape (n,)."""
    lon, lat = HEALPix(nside=2**order, order="nested").healpix_to_lonlat(ipix)
    return lon.rad, lat.rad


def _vectors(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Unit vectors, shape (n, 3), of angles in rad."""
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _angles(vector: np.ndarray) -> tuple[float, float]:
    """Right ascension and declination (deg) of a vector."""
    x, y, z = vector / np.linalg.norm(vector)
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.asin(max(-1.0, min(1.0, z))))


def _frame(ra: float, dec: float) -> np.ndarray:
    """Unit vectors towards a position (deg), and east and north of it, shape (3, 3)."""
    lon, lat = math.radians(ra), math.radians(dec)
    centre = [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
    north = [-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat)]
    return np.array([centre, [-math.sin(lon), math.cos(lon), 0.0], north])


def _distances(order: int, ipix: np.ndarray, ra: float, dec: float) -> np.ndarray:
    """Distance of cells from a position, deg."""
    cosines = _vectors(*_positions(order, ipix)) @ _frame(ra, dec)[0]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def _offsets(order: int, ipix: np.ndarray, ra: float, dec: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance of cells from a position, split into east and north by its direction (azimuthal equidistant), deg."""
    along, east, north = (_vectors(*_positions(order, ipix)) @ _frame(ra, dec).T).T
    distance = np.degrees(np.arccos(np.clip(along, -1, 1)))
    length = np.hypot(east, north)
    length[length == 0] = 1
    return distance * east / length, distance * north / length


def _project(vectors: np.ndarray, ra: float, dec: float) -> np.ndarray:
    """Gnomonic projection around a position (deg), in which great circles are straight, shape (n, 2)."""
    along, east, north = (vectors @ _frame(ra, dec).T).T
    return np.stack([east, north], axis=-1) / np.maximum(along, 1e-9)[:, None]


def _inside(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which points of a plane lie in a polygon, by the even-odd rule."""
    inside = np.zeros(len(points), bool)
    x, y = points.T
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside
