"""A map's cells as they are kept: densest first, so that a credible region is their beginning.

A cell's credible level is the probability, in percent, of all cells that are denser than it. The region of a level is made
of the cells below it: the densest ones that hold that probability, and those as dense as the last of them.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy_healpix import uniq_to_level_ipix

from kowalski.crossmatch.pixels import angles
from kowalski.errors import SkymapError
from kowalski.skymaps.localization import Localization

#: order of the positions that are looked for
FINEST = 29
#: cells that are kept of a map, the densest ones: all of one of nside 512; its layers of distance are kept where these are all
KEPT = 12 * 512**2
#: cells of one piece
PIECE = 65_536
#: what is left of a percentage by rounding
ROUNDING = 1e-10

Document = dict[str, Any]


@dataclass(frozen=True)
class Cells:
    """Cells of a map, densest first.

    Attributes
    ----------
    uniq : their UNIQ numbers, shape (n,), int64
    density : probability per sr, shape (n,); that of the whole map is 1
    distance : see `Localization`, shape (n, 3), or None
    whole_to : the level (percent) up to which no cell of a region is missing
    """

    uniq: np.ndarray
    density: np.ndarray
    distance: np.ndarray | None = None
    whole_to: float = 100.0

    @classmethod
    def of(cls, localization: Localization) -> "Cells":
        """The cells of a localization that are kept.

        Raises
        ------
        SkymapError : there is no probability anywhere
        """
        if localization.uniq.size > KEPT:
            localization = merged(localization)
        density = localization.probability / _areas(localization.uniq)
        densest = np.argsort(-density, kind="stable")
        densest = densest[density[densest] > 0]
        every = cls(localization.uniq[densest], density[densest])
        if densest.size > KEPT:
            return cls(every.uniq[:KEPT], every.density[:KEPT], None, float(every.levels[KEPT]))
        layers = localization.distance
        return every if layers is None else cls(every.uniq, every.density, layers[densest])

    @property
    def order(self) -> np.ndarray:
        """Their orders, shape (n,)."""
        return _orders(self.uniq)

    @property
    def ipix(self) -> np.ndarray:
        """Their NESTED indices, shape (n,)."""
        return np.asarray(self.uniq - 4 ** (self.order + 1))

    @cached_property
    def probability(self) -> np.ndarray:
        """Probability in each, shape (n,)."""
        return np.asarray(self.density * _areas(self.uniq))

    @cached_property
    def levels(self) -> np.ndarray:
        """Credible level of each, percent, shape (n,)."""
        before = np.concatenate([[0.0], np.cumsum(self.probability)[:-1]])
        falls = np.concatenate([[True], self.density[1:] < self.density[:-1]])
        return np.asarray(100 * before[np.flatnonzero(falls)][np.cumsum(falls) - 1])

    def region(self, level: float) -> int:
        """How many cells, from the first on, the region of a level (percent) has.

        Raises
        ------
        SkymapError : not all of them are kept
        """
        if level > self.whole_to:
            raise SkymapError(f"credible_level: of this map, cells are kept up to {self.whole_to:.4f} percent only")
        return int(np.searchsorted(self.levels, bound_of(level)))

    def at(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Which cell each of N positions (deg) lies in, shape (N,); -1: in none."""
        from cdshealpix import lonlat_to_healpix

        places = lonlat_to_healpix(*angles(ra, dec), FINEST).astype(np.int64)
        sorted_starts, cells, ends = self._sky
        found = np.searchsorted(sorted_starts, places, "right") - 1
        return np.where((found >= 0) & (places < ends[found]), cells[found], -1)

    @cached_property
    def _sky(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Along the sky: where each cell begins, in cells of the finest kind, which it is, and where it ends."""
        size = 4 ** (FINEST - self.order)
        starts = self.ipix * size
        along = np.argsort(starts, kind="stable")
        return starts[along], along, (starts + size)[along]

    def pieces(self) -> list[bytes]:
        """The cells in pieces, as `from_pieces` reads them."""
        columns = [self.uniq.astype("<i8"), self.density.astype("<f8")]
        if self.distance is not None:
            columns += list(self.distance.astype("<f8").T)
        return [
            zlib.compress(b"".join(column[first : first + PIECE].tobytes() for column in columns), 1)
            for first in range(0, self.uniq.size, PIECE)
        ]

    def summary(self) -> Document:
        """What is noted with a map of its cells; ``levels``: that of the first cell of each piece."""
        return {
            "count": int(self.uniq.size),
            "distance": self.distance is not None,
            "whole_to": self.whole_to,
            "levels": self.levels[::PIECE].tolist(),
        }

    @classmethod
    def from_pieces(cls, pieces: Sequence[bytes], summary: Document) -> "Cells":
        """The cells of the first pieces."""
        width = 5 if summary["distance"] else 2
        blocks = [np.frombuffer(zlib.decompress(piece), "<i8").reshape(width, -1) for piece in pieces]
        columns = np.concatenate(blocks, axis=1)
        numbers = columns[1:].view("<f8")
        whole_to = summary["whole_to"] if len(pieces) == len(summary["levels"]) else summary["levels"][len(pieces)]
        return cls(columns[0], numbers[0], numbers[1:].T if summary["distance"] else None, whole_to)


def merged(localization: Localization) -> Localization:
    """The same map with fewer cells: four that make up a larger one, and of which all is the same, are that one.

    Maps of several orders that were published as cells of one size are again what they were.
    """
    density, layers = localization.density, localization.distance
    order, ipix = (each.astype(np.int64) for each in localization.levels)
    source = np.arange(order.size)  # the cell of the map that tells of each
    done: list[tuple[np.ndarray, np.ndarray]] = []
    for level in range(int(order.max()), 0, -1):
        here = order == level
        cells, own = ipix[here], source[here]
        along = np.argsort(cells)
        cells, own = cells[along], own[along]
        first = np.flatnonzero((cells[:-3] % 4 == 0) & (cells[3:] == cells[:-3] + 3))
        for values in [density, *(() if layers is None else layers.T)]:
            for child in (1, 2, 3):
                first = first[values[own[first]] == values[own[first + child]]]
        alone = np.ones(cells.size, bool)
        alone[first[:, None] + np.arange(4)] = False
        done.append((4 ** (level + 1) + cells[alone], own[alone]))
        order = np.concatenate([order[~here], np.full(first.size, level - 1)])
        ipix = np.concatenate([ipix[~here], cells[first] >> 2])
        source = np.concatenate([source[~here], own[first]])
    done.append((4 ** (order + 1) + ipix, source))
    uniq, source = (np.concatenate(each) for each in zip(*done, strict=True))
    return Localization(localization.name, uniq, density[source], None if layers is None else layers[source])


def bound_of(level: float) -> float:
    """Below which levels of cells a region's lie."""
    return level - ROUNDING if level < 100 else math.inf


def pieces_for(summary: Document, level: float) -> int:
    """How many pieces the region of a level (percent) lies in."""
    return max(1, int(np.searchsorted(summary["levels"], level)))


def _orders(uniq: np.ndarray) -> np.ndarray:
    return np.asarray(uniq_to_level_ipix(uniq)[0], dtype=np.int64)


def _areas(uniq: np.ndarray) -> np.ndarray:
    """Areas of cells, sr."""
    return np.asarray(4 * np.pi / (12 * 4.0 ** _orders(uniq)))
