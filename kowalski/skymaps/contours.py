"""Contours of credible regions, as GeoJSON that MongoDB takes.

A region is made of HEALPix cells, most probable ones first, until they hold the probability asked for. It is cut along
the 48 cells of order 1, so that each part is far smaller than a hemisphere (MongoDB takes the smaller side of a ring),
and each part's boundary is walked around: its rings don't cross, and holes are holes. Longitudes are ra - 180, as in all
collections.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy_healpix import HEALPix

from kowalski.errors import SkymapError
from kowalski.skymaps.localization import Localization

#: order of the cells along which regions are cut
PARTS = 1
#: orders of the mesh that a region is drawn on: the finest, the coarsest that is chosen at once, and the coarsest of all
FINEST, COARSE, COARSEST = 19, 6, 4
#: how many cells of the mesh a region should have
CELLS = (3_000, 400_000)
#: corners of all rings of one contour; beyond it a coarser mesh is taken, so that 20 contours fit a document of 16 MB
MAX_CORNERS = 20_000

#: orders of the meshes that covers are drawn on, and cells of one before it is widened
COVERS, COVER_CELLS = range(COARSEST, 11), 3_072

#: order and NESTED index of cells, and the probability in each, each of shape (n,)
Cells = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Ranking:
    """Cells of a map, densest first: order and NESTED index, and the probability in them and all before, each of shape (n,)."""

    order: np.ndarray
    ipix: np.ndarray
    within: np.ndarray

    @classmethod
    def of(cls, order: np.ndarray, ipix: np.ndarray, probability: np.ndarray) -> "_Ranking":
        """The ranking of cells; those without probability are left out."""
        some = probability > 0
        order, ipix, probability = order[some], ipix[some], probability[some]
        densest = np.argsort(-(probability * 4.0**order), kind="stable")
        return cls(order[densest], ipix[densest], np.cumsum(probability[densest]))

    def region(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Order and index of the densest cells that hold ``level`` percent."""
        kept = int(np.searchsorted(self.within, level / 100 - 1e-12)) + 1
        return self.order[:kept], self.ipix[:kept]


def contours(localization: Localization, levels: list[float]) -> dict[str, Any]:
    """``center`` and one ``contour<level>`` per credible level (percent), as they are stored.

    Raises
    ------
    SkymapError : a level is not between 0 and 100, or there is no probability anywhere
    """
    cells = (*localization.levels, localization.probability)
    rankings = {FINEST: _Ranking.of(*_rasterised(cells, FINEST))}
    found: dict[str, Any] = {"center": _center(localization)}
    for level in levels:
        if not 0 < level < 100:
            raise SkymapError(f"contours: {level:g} is not between 0 and 100")
        geometry = {"type": "MultiPolygon", "coordinates": _polygons(cells, rankings, level)}
        found[key_of(level)] = {**geometry, "properties": {"credible_level": level}}
    return found


def key_of(level: float) -> str:
    """Under which key a level's contour is stored: ``contour90``, ``contour99.5``."""
    return f"contour{level:g}"


def _center(localization: Localization) -> dict[str, Any]:
    """The middle of the densest cell."""
    order, ipix = (int(values[np.nanargmax(localization.density)]) for values in localization.levels)
    lon, lat = HEALPix(nside=2**order, order="nested").healpix_to_lonlat(ipix)
    return {
        "type": "Point",
        "coordinates": [float(lon.deg) % 360 - 180, float(lat.deg)],
        "properties": {"credible_level": 0},
    }


def _polygons(cells: Cells, rankings: dict[int, _Ranking], level: float) -> list[Any]:
    """The credible region as polygons, on the finest mesh that has not too many cells and corners.

    On a mesh coarser than the map's cells the region is found anew, from the probability in the mesh's own cells: a
    map that is noisy on small scales has its region at that of the mesh.
    """
    order, _ = rankings[FINEST].region(level)
    area = (4.0 ** -order.astype(float)).sum()
    enough = next((each for each in range(COARSE, FINEST) if area * 4**each >= CELLS[0]), FINEST)
    bearable = max(each for each in range(COARSE, FINEST + 1) if area * 4**each <= CELLS[1] or each == COARSE)
    for mesh in range(min(max(enough, int(order.max())), bearable), COARSEST - 1, -1):
        if mesh not in rankings:
            rankings[mesh] = _Ranking.of(*_rasterised(cells, mesh))
        order, ipix = rankings[mesh].region(level)
        if mesh > COARSEST and (4.0 ** (mesh - order.astype(float))).sum() > 2 * CELLS[1]:
            continue
        parts = _parts(_on_mesh(order, ipix, mesh), mesh)
        if sum(len(sides) for _, sides in parts) <= MAX_CORNERS:
            break
    return _drawn(parts)


def cover(order: np.ndarray, ipix: np.ndarray) -> dict[str, Any] | None:
    """A geometry that all of some cells lie in, drawn on a coarse mesh and a cell wider than these; None: more than half of the sky.

    MongoDB joins corners by arcs of great circles, which cells' sides are not: the wider margin makes up for that.
    """
    mesh = COVERS.stop
    covered = np.empty(0, np.int64)
    while mesh > COVERS.start and not 0 < covered.size <= COVER_CELLS:
        mesh -= 1
        fine = order >= mesh
        if (4.0 ** (mesh - order[~fine].astype(float))).sum() > COVER_CELLS:
            continue
        inside = ipix[fine] >> 2 * (order[fine] - mesh)
        covered = np.union1d(inside, _on_mesh(order[~fine], ipix[~fine], mesh) if not fine.all() else inside)
    with np.errstate(invalid="ignore"):  # of the corners where a neighbour is missing
        around = HEALPix(nside=2**mesh, order="nested").neighbours(covered).ravel()
    covered = np.union1d(covered, around[around >= 0])
    if covered.size > 6 * 4**mesh:
        return None
    return {"type": "MultiPolygon", "coordinates": _drawn(_parts(covered, mesh))}


def _parts(region: np.ndarray, mesh: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The borders of a region of cells of a mesh, in each part of the sky."""
    return [_sides(part, mesh) for part in np.split(region, np.flatnonzero(np.diff(_part(region, mesh))) + 1)]


def _drawn(parts: list[tuple[np.ndarray, np.ndarray]]) -> list[Any]:
    """Borders as polygons with holes."""
    return [
        polygon
        for points, sides in parts
        for polygon in _nested([_straightened(points[ring]) for ring in _walk(sides)])
    ]


def _rasterised(cells: Cells, mesh: int) -> Cells:
    """The cells of a map, those finer than a mesh summed into its cells."""
    order, ipix, probability = cells
    fine = order > mesh
    if not fine.any():
        return cells
    parents, place = np.unique(ipix[fine] >> 2 * (order[fine] - mesh), return_inverse=True)
    summed = np.bincount(place, weights=probability[fine])
    kept = ~fine
    return (
        np.concatenate([order[kept], np.full(len(parents), mesh)]),
        np.concatenate([ipix[kept], parents]),
        np.concatenate([probability[kept], summed]),
    )


def _part(region: np.ndarray, mesh: int) -> np.ndarray:
    """In which of the parts of the sky cells lie."""
    return region >> 2 * (mesh - PARTS)


def _on_mesh(order: np.ndarray, ipix: np.ndarray, mesh: int) -> np.ndarray:
    """Indices of a mesh's cells that a region of cells as large or larger covers, sorted."""
    covered = []
    for each in np.unique(order):
        children = 4 ** (mesh - int(each))
        covered.append((ipix[order == each][:, None] * children + np.arange(children)).ravel())
    return np.unique(np.concatenate(covered))


def _sides(region: np.ndarray, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """The border of a region: corners as unit vectors, shape (n, 3), and its sides, shape (m, 3).

    Of each side: at which corner it starts and ends, and which cell it is of. The region lies to the left. Sides that
    two cells share run both ways and cancel.
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
    border = ~np.isin(starts * size + ends, ends * size + starts)
    return points, np.stack([starts, ends, np.repeat(np.arange(len(region)), 4)], axis=-1)[border]


def _walk(sides: np.ndarray) -> list[list[int]]:
    """Sides walked from corner to corner, as closed rings of corners, none of which visits a corner twice.

    Where two cells touch at a corner only, the walk stays with its cell. So each ring is of one patch of cells that
    share sides, and touches another ring of the patch once at most; MongoDB refuses holes that touch the ring around
    them twice.
    """
    following: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, end, cell in sides.tolist():
        following[start].append((end, cell))
    rings = []
    while following:
        corner, cell = next(iter(following)), -1
        path: list[int] = []
        place: dict[int, int] = {}
        while path or corner in following:
            if corner in place:  # a ring is closed: it leaves the walk
                ring = path[place[corner] :]
                rings.append(ring)
                del path[place[corner] :]
                for each in ring:
                    del place[each]
                continue
            place[corner] = len(path)
            path.append(corner)
            onward = following[corner]
            own = next((number for number, (_, of) in enumerate(onward) if of == cell), -1)
            if len(onward) == 1:
                del following[corner]
            corner, cell = onward.pop(own)
    return rings


def _straightened(ring: np.ndarray) -> np.ndarray:
    """A ring without the corners at which it goes straight on.

    Along the meridians that end base cells at the poles there are many, and MongoDB takes some of these for crossings.
    """
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    turn = np.abs(np.einsum("ij,ij->i", before, np.cross(ring, after)))
    lengths = np.linalg.norm(ring - before, axis=1) * np.linalg.norm(after - ring, axis=1)
    return ring[turn > 1e-8 * lengths + 1e-15]  # the latter is what numbers of 64 bits leave of 0


def _nested(rings: list[np.ndarray]) -> list[Any]:
    """Rings of one part of the sky as polygons: each outer one with the holes in it."""
    middle = np.concatenate(rings).mean(axis=0)
    plane = [_plane(ring, middle) for ring in rings]
    areas = [_signed_area(ring) for ring in plane]
    outer = [number for number, area in enumerate(areas) if area > 0]
    polygons = {number: [_coordinates(rings[number])] for number in outer}
    lowest = np.array([plane[number].min(axis=0) for number in outer])
    highest = np.array([plane[number].max(axis=0) for number in outer])
    for hole, area in enumerate(areas):
        if area > 0:
            continue
        point = plane[hole][:2].mean(axis=0)  # on a side: rings touch at corners only
        near = np.flatnonzero(((lowest <= point) & (point <= highest)).all(axis=1))
        around = [outer[each] for each in near if _surrounds(plane[outer[each]], point)]
        polygons[min(around, key=areas.__getitem__)].append(_coordinates(rings[hole]))
    return list(polygons.values())


def _plane(ring: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Gnomonic projection around a direction, counterclockwise as seen from outside, shape (n, 2)."""
    middle = middle / np.linalg.norm(middle)
    aside = np.cross([0.0, 0.0, 1.0] if abs(middle[2]) < 0.9 else [1.0, 0.0, 0.0], middle)
    aside /= np.linalg.norm(aside)
    return np.stack([ring @ aside, ring @ np.cross(middle, aside)], axis=-1) / (ring @ middle)[:, None]


def _signed_area(ring: np.ndarray) -> float:
    """Area of a ring in projection; negative where its left side lies outside."""
    x, y = (ring - ring[0]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _surrounds(ring: np.ndarray, point: np.ndarray) -> bool:
    """Whether a ring goes around a point, both in projection."""
    x1, y1 = ring.T
    x2, y2 = np.roll(ring, -1, axis=0).T
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
