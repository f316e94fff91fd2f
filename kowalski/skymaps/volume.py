"""Credible volumes of maps with layers of distance: where in space an event may have been.

In each cell the probability per volume at a distance r is rho N exp(-(r - mu)^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), of the
cell's probability per sr rho and its layers mu, sigma and N (Singer et al. 2016, ApJ 829, L15, and supplement, ApJS 226, 10).
Along one cell, what is denser than a given density is an interval of r, and the probability in it is known in closed form: no
mesh of distances is needed.
"""

import math

import numpy as np

from kowalski.errors import SkymapError
from kowalski.skymaps.cells import Cells

#: cells of a map that volumes are computed of; multi-order maps have some 100,000
MOST = 500_000
#: halvings of the interval in which the logarithm of a density is looked for, and its width
HALVINGS, WIDEST = 48, 60.0

_erf = np.frompyfunc(math.erf, 1, 1)


class Volume:
    """The density of a map's probability in space; in ``cells`` that have no distance it is 0.

    Raises
    ------
    SkymapError : the map has no layers of distance, or too many cells
    """

    def __init__(self, cells: Cells):
        if cells.distance is None:
            raise SkymapError("the sky map has no layers of distance (DISTMU, DISTSIGMA, DISTNORM), or too many cells")
        if cells.uniq.size > MOST:
            raise SkymapError(f"volumes are computed of up to {MOST} cells: store the event's multi-order map")
        mean, width, norm = cells.distance.T
        self._known = np.isfinite(cells.distance).all(axis=1) & (width > 0) & (norm > 0)
        if not self._known.any():
            raise SkymapError("the sky map has no cell whose distance is known")
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = cells.density * norm / (math.sqrt(2 * math.pi) * width)
            nearest = np.maximum(mean, 0.0)
            at_nearest = scale * np.exp(-0.5 * ((nearest - mean) / width) ** 2)
        self._mean, self._width, self._norm = mean, width, norm
        self._scale = np.where(self._known, scale, 0.0)
        self.peak = np.where(self._known, at_nearest, 0.0)
        self._probability = cells.probability

    def density(self, rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Probability per Mpc^3 in some cells (their numbers, -1: none), each at a distance (Mpc; NaN: unknown), shape (N,)."""
        known = (rows >= 0) & (distance >= 0)
        known[known] = self._known[rows[known]]
        own = rows[known]
        found = np.zeros(rows.shape)
        found[known] = self._scale[own] * np.exp(-0.5 * ((distance[known] - self._mean[own]) / self._width[own]) ** 2)
        return found

    def threshold(self, level: float) -> float:
        """The density (per Mpc^3) beyond which the densest volume lies that holds ``level`` percent of the probability."""
        if level >= 100:
            return 0.0
        highest = math.log(self.peak.max())
        low, high = highest - WIDEST, highest
        wanted = level / 100 * self._beyond(0.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._beyond(math.exp(middle)) >= wanted else (low, middle)
        return math.exp(low)

    def _beyond(self, density: float) -> float:
        """The probability of all that is denser than this."""
        some = np.flatnonzero(self.peak > density)
        mean, width = self._mean[some], self._width[some]
        with np.errstate(divide="ignore"):
            reach = np.sqrt(2 * np.log(self._scale[some] / density)) if density else np.inf
        near, far = np.maximum(-reach, -mean / width), np.broadcast_to(reach, mean.shape)
        # the integral of r^2 times a normal distribution, r = mean + width x
        share = 0.5 * (_normal(far) - _normal(near)) * (mean**2 + width**2)
        share += width * (_edge(mean, width, near) - _edge(mean, width, far))
        return float(np.sum(self._probability[some] * self._norm[some] * share))


def _normal(x: np.ndarray) -> np.ndarray:
    """Twice the normal distribution's integral up to x, less 1."""
    return np.asarray(_erf(x / math.sqrt(2)), dtype=float)


def _edge(mean: np.ndarray, width: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(2 mean + width x) times the normal distribution's density at x; 0 at infinity."""
    finite = np.where(np.isfinite(x), x, 0.0)
    return np.where(
        np.isfinite(x), (2 * mean + width * finite) * np.exp(-0.5 * finite**2) / math.sqrt(2 * math.pi), 0.0
    )
