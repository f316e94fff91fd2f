"""What of a catalogue lies within a credible region or volume of a sky map: exactly, cell by cell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kowalski.skymaps.cells import Cells, bound_of
from kowalski.skymaps.contours import cover
from kowalski.skymaps.volume import Volume

Document = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A position (deg), and a distance (Mpc; NaN: unknown)."""

    ra: float
    dec: float
    distance: float = float("nan")


def place_of(row: Document, distance: float | str | None = None) -> Place:
    """The place of a document with ``coordinates.radec_geojson``; its distance (Mpc) is given, or that of a field.

    A document without position lies nowhere, one without distance at none.
    """
    point = at_path(row, "coordinates.radec_geojson.coordinates")
    lon, lat = point if isinstance(point, list) and len(point) == 2 else (float("nan"), float("nan"))
    value = at_path(row, distance) if isinstance(distance, str) else distance
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return Place(lon + 180.0, lat, float(value) if known and value is not None else float("nan"))


def at_path(document: Any, path: str) -> Any:
    """What stands at a path of names with dots, or None."""
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


@dataclass(frozen=True)
class Found:
    """What the map says of a place.

    Attributes
    ----------
    density : the probability that it is ordered by: per Mpc^3 where a distance was asked for, else per sr
    told : ``credible_level``, ``probdensity`` and, with a distance, ``probdensity_volume``
    """

    density: float
    told: Document = field(compare=False)


@dataclass(frozen=True)
class Region:
    """A part of the sky, or of space, that an event may have been in.

    Attributes
    ----------
    level : percent of the probability on the sky
    volume : percent of the probability in space, or None
    deep : whether places have distances
    """

    cells: Cells
    level: float
    volume: float | None = None
    deep: bool = False

    @cached_property
    def _space(self) -> Volume | None:
        return Volume(self.cells) if self.deep else None

    @cached_property
    def _densest(self) -> float:
        """The density in space beyond which places are within."""
        return self._space.threshold(self.volume) if self._space and self.volume is not None else 0.0

    def geometry(self) -> Document | None:
        """A geometry that all of it lies in, as MongoDB takes it; None: it is more than half of the sky.

        Raises
        ------
        SkymapError : not all of its cells are kept, or it has no distances
        """
        first = slice(self.cells.region(self.level))
        order, ipix = self.cells.order[first], self.cells.ipix[first]
        if self._space is not None and self.volume is not None:
            within = self._space.peak[first] >= self._densest
            order, ipix = order[within], ipix[within]
        return cover(order, ipix)

    def look(self, places: Sequence[Place]) -> list[Found | None]:
        """What the map says of each place; None: it does not lie within."""
        ra, dec, distance = np.array([(p.ra, p.dec, p.distance) for p in places], dtype=float).reshape(-1, 3).T
        rows = np.full(ra.shape, -1)
        known = np.isfinite(ra) & np.isfinite(dec)
        rows[known] = self.cells.at(ra[known] % 360, dec[known])
        levels = np.where(rows >= 0, self.cells.levels[rows], np.inf)
        within = levels < bound_of(self.level)
        flat = self.cells.density[rows]
        space = None if self._space is None else self._space.density(rows, distance)
        if space is not None and self.volume is not None:
            within &= (space > 0) & (space >= self._densest)
        return [
            _found(float(levels[n]), float(flat[n]), None if space is None else float(space[n])) if within[n] else None
            for n in range(len(places))
        ]


def _found(level: float, flat: float, space: float | None) -> Found:
    told = {"credible_level": level, "probdensity": flat}
    return Found(flat, told) if space is None else Found(space, {**told, "probdensity_volume": space})
