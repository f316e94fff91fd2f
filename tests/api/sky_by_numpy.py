"""What lies within a sky map, by plain numpy: no library of HEALPix, no search by cells, no closed form of distances."""

import io
import math
from functools import cached_property

import numpy as np
from astropy.io import fits

#: of the map's mesh; 49,152 pixels, RING
NSIDE = 64
#: deg^2 to Mpc: the simulated event's distance and its spread
MEAN, WIDTH = 120.0, 30.0


def pixel_of(ra: np.ndarray, dec: np.ndarray, nside: int = NSIDE) -> np.ndarray:
    """RING pixels of positions (deg): Górski et al. 2005, section 5.1 turned around."""
    z, phi = np.sin(np.radians(dec)), np.radians(ra) % (2 * np.pi)
    tt = phi / (np.pi / 2)
    # the belt
    up, down = nside * (0.5 + tt - 0.75 * z), nside * (0.5 + tt + 0.75 * z)
    jp, jm = np.floor(up).astype(int), np.floor(down).astype(int)
    ring = nside + 1 + jp - jm
    odd = 1 - (ring & 1)
    along = (jp + jm - nside + odd + 1) // 2 % (4 * nside)
    belt = 2 * nside * (nside - 1) + (ring - 1) * 4 * nside + along
    # the caps
    part = tt % 1
    size = nside * np.sqrt(3 * (1 - np.abs(z)))
    jp, jm = np.floor(part * size).astype(int), np.floor((1 - part) * size).astype(int)
    ring = jp + jm + 1
    along = np.floor(tt * ring).astype(int) % (4 * ring)
    north, south = 2 * ring * (ring - 1) + along, 12 * nside**2 - 2 * ring * (ring + 1) + along
    return np.where(np.abs(z) <= 2 / 3, belt, np.where(z > 0, north, south))


def centres(nside: int = NSIDE) -> np.ndarray:
    """Unit vectors of all RING pixels' centres, shape (n, 3)."""
    vectors = []
    for ring in range(1, 4 * nside):
        cap = min(ring, 4 * nside - ring)
        if cap < nside:
            z = (1 - cap**2 / (3 * nside**2)) * (1 if ring < 2 * nside else -1)
            phi = np.pi / (2 * cap) * (np.arange(1, 4 * cap + 1) - 0.5)
        else:
            z = 4 / 3 - 2 * ring / (3 * nside)
            phi = np.pi / (2 * nside) * (np.arange(1, 4 * nside + 1) - 1 + (ring - nside + 1) % 2 / 2)
        rim = math.sqrt(1 - z * z)
        vectors.append(np.stack([rim * np.cos(phi), rim * np.sin(phi), np.full(phi.shape, z)], axis=-1))
    return np.concatenate(vectors)


class Event:
    """A simulated event: two arcs with a hole between them, farther away in one than in the other."""

    def __init__(self, ra: float, dec: float):
        sky = centres()
        lon, lat = np.radians([ra, dec])
        axis = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        distance = np.degrees(np.arccos(np.clip(sky @ axis, -1, 1)))
        side = sky @ np.cross(axis, [0.0, 0.0, 1.0])
        mass = np.exp(-0.5 * ((distance - 12) / 2) ** 2) * (1.2 + np.tanh(3 * side)) + 1e-9
        self.probability = mass / mass.sum()
        self.mean = MEAN + 60 * side
        self.width = np.full(mass.shape, WIDTH)
        self.norm = 1 / (self.mean**2 + self.width**2)

    def file(self) -> bytes:
        """As observatories publish it: RING, with layers of distance."""
        columns = {"PROB": self.probability, "DISTMU": self.mean, "DISTSIGMA": self.width, "DISTNORM": self.norm}
        table = fits.BinTableHDU.from_columns([fits.Column(name, "D", array=each) for name, each in columns.items()])
        table.header["ORDERING"] = "RING"
        content = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(content)
        return content.getvalue()

    def levels(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Percent of the probability in pixels that are more probable than those of positions (deg)."""
        own = self.probability[pixel_of(ra, dec)]
        return np.array([100 * self.probability[self.probability > each].sum() for each in own])

    def densities(self, ra: np.ndarray, dec: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Probability per Mpc^3 at positions (deg) and distances (Mpc)."""
        return self._density(pixel_of(ra, dec), distance)

    def volumes(self, ra: np.ndarray, dec: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Percent of the probability in voxels that are denser than those of positions (deg) and distances (Mpc)."""
        voxels, before = self._voxels
        own = self.densities(ra, dec, distance)
        return np.where(own > 0, 100 * before[np.searchsorted(voxels, -own)], np.nan)

    @cached_property
    def _voxels(self) -> tuple[np.ndarray, np.ndarray]:
        """Densities of voxels of 2 Mpc, negative and in their order, and the probability of all before each."""
        step = 2.0
        shells = np.arange(step / 2, 400, step)
        voxels = self._density(np.arange(self.probability.size)[:, None], shells)
        mass = (voxels * shells**2).ravel()
        order = np.argsort(-voxels, axis=None)
        summed = np.cumsum(mass[order])
        return -voxels.ravel()[order], np.concatenate([[0.0], summed]) / summed[-1]

    def _density(self, pixels: np.ndarray, distance: np.ndarray) -> np.ndarray:
        area = 4 * np.pi / self.probability.size
        mean, width = self.mean[pixels], self.width[pixels]
        normal = np.exp(-0.5 * ((distance - mean) / width) ** 2) / (math.sqrt(2 * math.pi) * width)
        return np.asarray(self.probability[pixels] / area * self.norm[pixels] * normal)
