"""Contours of credible regions, as GeoJSON that MongoDB takes.

A region is made of HEALPix cells, most probable ones first, until they hold the probability asked for. It is cut along
the 48 cells of order 1, so that each part is far smaller than a hemisphere (MongoDB takes the smaller side of a ring),
and each part's boundary is walked around: its rings don't cross, and holes are holes. Longitudes are ra - 180, as in all
collections.
"""

from collections import defaultdict
from typing import Any

import numpy as np
from astropy_healpix import HEALPix

from kowalski.errors import SkymapError
from kowalski.skymaps.localization import Localization

#: order of the cells along which regions are cut
PARTS = 1
#: orders of the mesh that a region is drawn on, and how many of its cells a region should have
ORDERS = range(6, 20)
CELLS = (3_000, 400_000)
#: corners of all rings together; beyond it a coarser mesh is taken
MAX_CORNERS = 60_000


def contours(localization: Localization, levels: list[float]) -> dict[str, Any]:
    """``center`` and one ``contour<level>`` per credible level (percent), as they are stored.

    Raises
    ------
    SkymapError : a level is not between 0 and 100, or there is no probability anywhere
    """
    probability = localization.probability
    order, ipix = localization.levels
    densest = np.argsort(-localization.density, kind="stable")
    within = np.cumsum(probability[densest])
    found: dict[str, Any] = {"center": _center(localization)}
    for level in levels:
        if not 0 < level < 100:
            raise SkymapError(f"contours: {level:g} is not between 0 and 100")
        cells = densest[: int(np.searchsorted(within, level / 100 - 1e-12)) + 1]
        geometry = {"type": "MultiPolygon", "coordinates": _polygons(order[cells], ipix[cells])}
        found[key_of(level)] = {**geometry, "properties": {"credible_level": level}}
    return found


def key_of(level: float) -> str:
    """Under which key a level's contour is stored: ``contour90``, ``contour99.5``."""
    return f"contour{level:g}"


def _center(localization: Localization) -> dict[str, Any]:
    """The middle of the densest cell."""
    order, ipix = (int(values[np.argmax(localization.density)]) for values in localization.levels)
    lon, lat = HEALPix(nside=2**order, order="nested").healpix_to_lonlat(ipix)
    return {
        "type": "Point",
        "coordinates": [float(lon.deg) % 360 - 180, float(lat.deg)],
        "properties": {"credible_level": 0},
    }


def _polygons(order: np.ndarray, ipix: np.ndarray) -> list[Any]:
    """The cells of a region as polygons, on a mesh that is as fine as it needs to be."""
    area = (4.0 ** -order.astype(float)).sum()
    finest = next((each for each in ORDERS if area * 4**each >= CELLS[0]), ORDERS[-1])
    start = min(
        max(finest, int(order.max())), max(each for each in ORDERS if area * 4**each <= CELLS[1] or each == ORDERS[0])
    )
    for mesh in range(start, ORDERS[0] - 1, -1):
        region = _on_mesh(order, ipix, mesh)
        rings = [
            _rings(region[region >> 2 * (mesh - PARTS) == part], mesh)
            for part in np.unique(region >> 2 * (mesh - PARTS))
        ]
        if sum(len(ring) for part in rings for ring in part) <= MAX_CORNERS:
            break
    return [polygon for part in rings for polygon in _nested(part)]


def _on_mesh(order: np.ndarray, ipix: np.ndarray, mesh: int) -> np.ndarray:
    """Indices of the cells of one order that a region covers, at least to a half, sorted."""
    covered = []
    for each in np.unique(order):
        cells = ipix[order == each]
        if each <= mesh:
            children = 4 ** (mesh - each)
            covered.append((cells[:, None] * children + np.arange(children)).ravel())
    small = order > mesh
    if small.any():
        parents = ipix[small] >> 2 * (order[small] - mesh)
        unique, place = np.unique(parents, return_inverse=True)
        share = np.bincount(place, weights=4.0 ** -(order[small] - mesh).astype(float))
        covered.append(unique[share >= min(0.5, float(share.max()))])
    return np.unique(np.concatenate(covered))


def _rings(region: np.ndarray, mesh: int) -> list[np.ndarray]:
    """The boundary of a region: closed rings of unit vectors, shape (n, 3), the region to their left.

    Sides that two cells share run both ways and cancel; what remains is walked from corner to corner.
    """
    lon, lat = HEALPix(nside=2**mesh, order="nested").boundaries_lonlat(region, step=1)
    corners = np.stack([np.cos(lat.rad) * np.cos(lon.rad), np.cos(lat.rad) * np.sin(lon.rad), np.sin(lat.rad)], axis=-1)
    keys = np.rint(corners * 2.0**40).astype(np.int64)
    keys = (keys + 2**9) >> 10  # corners of neighbours agree to the last few bits only
    _, names = np.unique(keys.reshape(-1, 3), axis=0, return_inverse=True)
    names = names.reshape(-1, 4)
    points = np.empty((names.max() + 1, 3))
    points[names.ravel()] = corners.reshape(-1, 3)
    starts, ends = names.ravel(), np.roll(names, -1, axis=1).ravel()
    size = len(points)
    forward, backward = starts * size + ends, ends * size + starts
    border = ~np.isin(forward, backward)
    following: dict[int, list[int]] = defaultdict(list)
    for start, end in zip(starts[border].tolist(), ends[border].tolist(), strict=True):
        following[start].append(end)
    return [points[ring] for ring in _walk(following)]


def _walk(following: dict[int, list[int]]) -> list[list[int]]:
    """Closed walks along all sides, none of which visits a corner twice."""
    rings = []
    while following:
        start = next(iter(following))
        path, place = [start], {start: 0}
        while path:
            here = path[-1]
            after = following[here].pop()
            if not following[here]:
                del following[here]
            if after in place:  # a ring is closed: it leaves the walk
                ring = path[place[after] :]
                rings.append(ring)
                path = path[: place[after]]
                for corner in ring:
                    del place[corner]
                if not path and after in following:
                    path, place = [after], {after: 0}
                    continue
                if not path:
                    break
            path.append(after)
            place[after] = len(path) - 1
    return rings


def _nested(rings: list[np.ndarray]) -> list[Any]:
    """Rings as polygons: each outer one with the holes in it."""
    areas = [_signed_area(ring) for ring in rings]
    outer = [ring for ring, area in zip(rings, areas, strict=True) if area > 0]
    polygons = [[_coordinates(ring)] for ring in outer]
    for hole, area in zip(rings, areas, strict=True):
        if area > 0:
            continue
        around = [(_signed_area(ring), number) for number, ring in enumerate(outer) if _surrounds(ring, hole)]
        if around:
            polygons[min(around)[1]].append(_coordinates(hole))
    return polygons


def _plane(ring: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Gnomonic projection around a direction, counterclockwise as seen from outside, shape (n, 2)."""
    middle = middle / np.linalg.norm(middle)
    aside = np.cross([0.0, 0.0, 1.0] if abs(middle[2]) < 0.9 else [1.0, 0.0, 0.0], middle)
    aside /= np.linalg.norm(aside)
    return np.stack([ring @ aside, ring @ np.cross(middle, aside)], axis=-1) / np.maximum(ring @ middle, 1e-9)[:, None]


def _signed_area(ring: np.ndarray) -> float:
    """Area of a ring in projection; negative where its left side lies outside."""
    x, y = _plane(ring, ring.mean(axis=0)).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _surrounds(ring: np.ndarray, hole: np.ndarray) -> bool:
    """Whether a ring goes around another, which it may touch at corners."""
    middle = ring.mean(axis=0)
    corners = _plane(ring, middle)
    point = _plane((hole[0] + hole[1])[None], middle)[0] if len(hole) > 1 else _plane(hole[:1], middle)[0]
    x1, y1 = corners.T
    x2, y2 = np.roll(corners, -1, axis=0).T
    crosses = (y1 > point[1]) != (y2 > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        right = point[0] < (x2 - x1) * (point[1] - y1) / (y2 - y1) + x1
    return bool(np.count_nonzero(crosses & right) % 2)


def _coordinates(ring: np.ndarray) -> list[list[float]]:
    """A closed ring in GeoJSON, longitude ra - 180."""
    ra = np.degrees(np.arctan2(ring[:, 1], ring[:, 0])) % 360
    lonlat = np.stack([np.where(ra >= 360, 0.0, ra) - 180, np.degrees(np.arcsin(np.clip(ring[:, 2], -1, 1)))], axis=-1)
    closed: list[list[float]] = np.round(np.concatenate([lonlat, lonlat[:1]]), 9).tolist()
    return closed
