"""The HEALPix pixels by which rows of watchlists are found: coarser ones for rows that are looked for in wider cones.

All are in one field, numbered as NUNIQ (order and pixel in one number; IVOA's MOC 1.0), so that one index serves every list.
"""

import math

import numpy as np

from kowalski.crossmatch.pixels import Grid, pixels

ARCSEC = math.radians(1 / 3600)
#: radius (arcsec) of a list that names none, and the largest that there may be
RADIUS, WIDEST = 2.0, 3600.0

#: of pixels of 3.2, 26 and 206 arcsec and 27 arcmin the widest cone of each touches some 30
GRIDS = tuple(
    Grid(order, narrowest * ARCSEC, widest * ARCSEC)
    for order, narrowest, widest in ((16, 0.0, 8.0), (13, 8.0, 64.0), (10, 64.0, 512.0), (7, 512.0, WIDEST))
)
BY_ORDER = {grid.order: grid for grid in GRIDS}


def grid_of(radius: float) -> Grid:
    """The grid for rows that are looked for within a radius (arcsec, `WIDEST` at most)."""
    return next(grid for grid in GRIDS if radius * ARCSEC <= grid.widest)


def first_of(grid: Grid) -> int:
    """The number of a grid's first pixel among those of all grids."""
    return int(4 ** (grid.order + 1))


def numbered_pixels(ra: np.ndarray, dec: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, dict[int, float]]:
    """The pixel of each of N rows (deg) of the grid for its radius (arcsec), shape (N,), int64; and by order the largest radius."""
    found, largest = np.zeros(len(ra), np.int64), {}
    orders = np.array([grid_of(radius).order for radius in radii.tolist()], np.int64)
    for order in np.unique(orders).tolist():
        own, grid = orders == order, BY_ORDER[order]
        found[own] = pixels(ra[own], dec[own], grid) + first_of(grid)
        largest[order] = float(radii[own].max())
    return found, largest
