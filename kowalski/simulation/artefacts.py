"""What bogus detections look like: light that came from no source."""

import numpy as np

from kowalski.simulation.cutouts import CENTRE, SIZE, point, points
from kowalski.simulation.sky import Exposure

_Y, _X = np.mgrid[:SIZE, :SIZE].astype(np.float32)


def artefact(species: str, flux: float, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """What an artefact of some species adds to the new image, DN, shape (63, 63); ``flux`` is that of the detection."""
    return _SHAPES[species](flux, exposure, rng)


def _dipole(flux: float, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """A bright star that was subtracted at the wrong place: a positive and a negative lobe."""
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.3) * exposure.seeing
    dx, dy = shift * np.cos(angle), shift * np.sin(angle)
    return point(1.5 * flux, exposure.seeing, dx, dy) - point(1.4 * flux, exposure.seeing, -dx, -dy)


def _cosmic(flux: float, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """A cosmic ray: a short track, sharper than the point-spread function."""
    angle, length = rng.uniform(0, np.pi), rng.uniform(1, 6)
    along = np.linspace(-length / 2, length / 2, 9)
    share = rng.dirichlet(np.full(9, 3.0)) * flux
    return points(CENTRE + along * np.cos(angle), CENTRE + along * np.sin(angle), share, 0.35)


def _column(flux: float, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Part of a bad column or row."""
    image = np.zeros((SIZE, SIZE), np.float32)
    start, stop = CENTRE - int(rng.integers(2, CENTRE)), CENTRE + int(rng.integers(2, CENTRE))
    image[start:stop, CENTRE] = flux / 8
    return image if rng.random() < 0.7 else image.T.copy()


def _ghost(flux: float, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """A reflection of a bright star: a faint ring of many pixels."""
    radius, width = rng.uniform(6, 14), rng.uniform(1.5, 3)
    dx, dy = rng.normal(0, radius / 2, 2)
    ring = np.exp(-0.5 * ((np.hypot(_X - CENTRE - dx, _Y - CENTRE - dy) - radius) / width) ** 2)
    return ring * np.float32(flux / 10)


def _noise(flux: float, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """A lone hot pixel between dark ones."""
    image = np.zeros((SIZE, SIZE), np.float32)
    image[CENTRE - 1 : CENTRE + 2, CENTRE - 1 : CENTRE + 2] = -flux / 20
    image[CENTRE, CENTRE] = flux / 3
    return image


_SHAPES = {"dipole": _dipole, "cosmic": _cosmic, "column": _column, "ghost": _ghost, "noise": _noise}
