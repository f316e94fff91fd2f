"""Image stamps of simulated detections: 63 x 63 float32 pixels as gzipped FITS, as in ZTF packets."""

import zlib

import numpy as np

from kowalski.simulation.scene import Scene
from kowalski.simulation.sky import PIXEL, Exposure

SIZE = 63
CENTRE = 31
GAIN = 6.2
"""Electrons per DN."""

REFERENCE_SIGMA = 1.1
"""Noise of the reference image per pixel, DN: it is a stack of some 15 exposures."""

_AXIS = np.arange(SIZE, dtype=np.float32)
_Y, _X = np.mgrid[:SIZE, :SIZE].astype(np.float32)
_CARDS = (
    "SIMPLE  =                    T",
    "BITPIX  =                  -32",
    "NAXIS   =                    2",
    f"NAXIS1  = {SIZE:20d}",
    f"NAXIS2  = {SIZE:20d}",
    "BUNIT   = 'DN      '",
    "END",
)
_HEADER = "".join(card.ljust(80) for card in _CARDS).ljust(2880).encode()
_PADDING = bytes(-4 * SIZE * SIZE % 2880)


def gzipped_fits(image: np.ndarray) -> bytes:
    """One image as a gzipped FITS file (BITPIX -32); the same bytes for the same pixels, as no time is written."""
    # Level 1: noise hardly compresses, higher levels cost twice the time for 1 % of the size.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(_HEADER + image.astype(">f4").tobytes() + _PADDING) + packer.flush()


def points(x: np.ndarray, y: np.ndarray, flux: np.ndarray, sigma: float) -> np.ndarray:
    """Point sources with fluxes in DN, as Gaussians of ``sigma`` pixels, shape (63, 63), float32."""
    across = np.exp(-0.5 * ((_AXIS - x[:, None]) / sigma) ** 2)
    up = np.exp(-0.5 * ((_AXIS - y[:, None]) / sigma) ** 2) * (flux / (2 * np.pi * sigma**2))[:, None]
    return (up.T @ across).astype(np.float32)


def point(flux: float, sigma: float, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """One point source near the centre."""
    return points(np.array([CENTRE + dx]), np.array([CENTRE + dy]), np.array([flux]), sigma)


def background(scene: Scene, exposure: Exposure) -> np.ndarray:
    """The catalogued sources of a scene in an exposure's band, zero point and seeing, DN; north is up, east left."""
    x, y = CENTRE - scene.east / PIXEL, CENTRE + scene.north / PIXEL
    flux = 10 ** (-0.4 * (scene.griz[:, exposure.fid - 1] - exposure.zero_point))
    extended = scene.size > 0.8
    image = points(x, y, np.where(extended, 0, flux), exposure.seeing)
    for place in np.flatnonzero(extended):
        image += _disc(
            x[place], y[place], flux[place], scene.size[place], scene.axis_ratio[place], scene.angle[place], exposure
        )
    return image


def _disc(
    x: float, y: float, flux: float, size: float, axis_ratio: float, angle: float, exposure: Exposure
) -> np.ndarray:
    """An exponential disc of half-light radius ``size`` arcsec, softened by the seeing."""
    scale = np.hypot(size / PIXEL / 1.68, exposure.seeing)
    along, across = -np.sin(np.radians(angle)), np.cos(np.radians(angle))
    u = (_X - x) * along + (_Y - y) * across
    v = ((_X - x) * across - (_Y - y) * along) / axis_ratio
    disc = np.exp(-np.sqrt(u * u + v * v + 1) / scale)
    return disc.astype(np.float32) * np.float32(flux / (2 * np.pi * scale**2 * axis_ratio))


def template(scene: Scene, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """The reference image: the scene without the object, hardly any noise."""
    noise = rng.standard_normal((SIZE, SIZE), dtype=np.float32) * np.float32(REFERENCE_SIGMA)
    return background(scene, exposure) + noise + np.float32(exposure.sky)


def science_and_difference(
    scene: Scene, exposure: Exposure, change: np.ndarray, positive: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The new image and its difference from the reference; the latter is reversed where the source has faded.

    ``change`` is what the object adds to the new image, DN, shape (63, 63); negative where it has faded.
    """
    scenery = background(scene, exposure)
    sigma = pixel_noise(exposure)
    noise = rng.standard_normal((2, SIZE, SIZE), dtype=np.float32)
    shot = np.sqrt(np.maximum(scenery + change, 0) / np.float32(GAIN) + np.float32(sigma**2)) * noise[0]
    science = scenery + change + shot + np.float32(exposure.sky)
    difference = change + shot + noise[1] * np.float32(REFERENCE_SIGMA)
    return science, difference if positive else -difference


def pixel_noise(exposure: Exposure) -> float:
    """Noise per pixel of an empty sky, DN, that gives the exposure its 5-sigma limit (Gaussian PSF, optimal fit)."""
    return flux_noise(exposure) / (2 * np.sqrt(np.pi) * exposure.seeing)


def flux_noise(exposure: Exposure) -> float:
    """1-sigma error of a PSF flux, DN."""
    return float(10 ** (-0.4 * (exposure.limit - exposure.zero_point)) / 5)
