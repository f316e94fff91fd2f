"""What lies around an object: the catalogued stars and galaxies within 30 arcsec."""

from dataclasses import dataclass

import numpy as np

from kowalski.simulation.species import SPECIES

RADIUS = 30.0
"""Reach of the neighbour fields of a ZTF packet, arcsec."""

LIGHT_SPEED = 299792.458
HUBBLE = 70.0


@dataclass(frozen=True)
class Scene:
    """The sources around an object, nearest first.

    Attributes
    ----------
    east, north, distance : from the object, arcsec, shape (N,)
    griz : magnitudes, shape (N, 4)
    sort : "star", "galaxy" or "quasar"
    starness : PS1 star-galaxy score, 1 is a star
    gaia : G, mag; NaN where Gaia doesn't have it
    size : half-light radius of galaxies, arcsec, 0 for points
    axis_ratio, angle : shape of galaxies; angle in deg east of north
    redshift : 0 for stars
    counterpart : place of the object's own source, None without one
    bright_distance, bright_gaia : the nearest star brighter than G = 14 within 90 arcsec; -999 without one
    """

    east: np.ndarray
    north: np.ndarray
    distance: np.ndarray
    griz: np.ndarray
    sort: list[str]
    starness: np.ndarray
    gaia: np.ndarray
    size: np.ndarray
    axis_ratio: np.ndarray
    angle: np.ndarray
    redshift: np.ndarray
    counterpart: int | None
    bright_distance: float
    bright_gaia: float


def make_scene(species: str, rng: np.random.Generator) -> Scene:
    """A scene that fits an object of that species: its counterpart and some unrelated field sources."""
    kind = SPECIES[species]
    own = kind.counterpart != "none"
    n = int(rng.poisson(4)) + own
    # Unrelated sources keep 3 arcsec away, so that an object's counterpart is never in doubt.
    distance = np.sqrt(rng.uniform(3.0**2, RADIUS**2, n))
    r = 23.0 - rng.exponential(1.6, n).clip(0, 8)
    sort = np.where(rng.random(n) < 0.6, "star", "galaxy").astype("<U6")
    if own:
        distance[0] = min(abs(kind.offset * rng.normal(1, 0.35)) + 0.02, RADIUS - 1)
        r[0] = rng.uniform(*kind.magnitude)
        sort[0] = kind.counterpart
    order = np.argsort(distance)
    own_place = int(np.flatnonzero(order == 0)[0]) if own else None
    distance, r, sort = distance[order], r[order], sort[order]
    direction = rng.uniform(0, 2 * np.pi, n)
    is_galaxy, is_star = sort == "galaxy", sort == "star"
    griz = _magnitudes(r, is_galaxy, rng)
    gaia = np.where(is_galaxy | (r > 20.5), np.nan, r + 0.1)
    bright_distance, bright_gaia = _bright_star(gaia, distance, rng)
    return Scene(
        distance * np.sin(direction),
        distance * np.cos(direction),
        distance,
        griz,
        sort.tolist(),
        _starness(r, is_star, rng),
        gaia,
        size=np.where(is_galaxy, rng.uniform(0.7, 1.3, n) * (0.8 + 4 * 10 ** (-(r - 15) / 6)), 0.0).clip(0, 12),
        axis_ratio=rng.uniform(0.35, 1.0, n),
        angle=rng.uniform(0, 180, n),
        redshift=_redshifts(r, sort, rng),
        counterpart=own_place,
        bright_distance=bright_distance,
        bright_gaia=bright_gaia,
    )


def _magnitudes(r: np.ndarray, is_galaxy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """griz along a stellar locus; galaxies are redder than most stars."""
    colour = np.where(is_galaxy, rng.normal(0.75, 0.15, r.size), rng.uniform(0.2, 1.4, r.size))
    return np.column_stack([r + colour, r, r - 0.4 * colour, r - 0.6 * colour])


def _starness(r: np.ndarray, is_star: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """PS1 scores: sure for bright sources, vague (near 0.5) for the faintest."""
    sure = rng.beta(1, 25, r.size)
    score = np.where(is_star, 1 - sure, sure)
    return np.where((r > 21.5) & (rng.random(r.size) < 0.4), 0.5, score)


def _redshifts(r: np.ndarray, sort: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bright galaxy is a near one; quasars lie far behind."""
    galaxy = (0.01 * 10 ** ((r - 14.5) / 5) * rng.uniform(0.5, 1.6, r.size)).clip(0.002, 0.5)
    return np.select([sort == "galaxy", sort == "quasar"], [galaxy, rng.uniform(0.1, 2.5, r.size)], 0.0)


def _bright_star(gaia: np.ndarray, distance: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Distance and G of the nearest star brighter than 14, in the scene or further out."""
    near = np.flatnonzero(gaia < 14)
    if near.size:
        return float(distance[near[0]]), float(gaia[near[0]])
    if rng.random() < 0.2:
        return float(rng.uniform(RADIUS, 90)), float(rng.uniform(10, 14))
    return -999.0, -999.0


def luminosity_distance(redshift: float) -> float:
    """Distance in Mpc for small redshifts (Hubble's law with its first correction)."""
    return LIGHT_SPEED * redshift / HUBBLE * (1 + redshift / 2)
