"""What can be in the simulated sky, and how its brightness changes."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Kind = Literal["supernova", "nuclear", "variable", "asteroid", "bogus"]


@dataclass(frozen=True)
class Species:
    """A sort of object.

    Attributes
    ----------
    kind : what it counts as; bogus are artefacts of several shapes
    share : of all objects
    repeats : seen more than once at its place
    counterpart : the catalogued source it belongs to: star, galaxy, quasar or none
    offset : typical distance from it, arcsec
    magnitude : brightest and faintest r of that source
    """

    kind: Kind
    share: float
    repeats: bool = True
    counterpart: Literal["star", "galaxy", "quasar", "none"] = "none"
    offset: float = 0.1
    magnitude: tuple[float, float] = (15.0, 19.5)


SPECIES = {
    "supernova": Species("supernova", 0.13, counterpart="galaxy", offset=3.0),
    "tde": Species("nuclear", 0.05, counterpart="galaxy"),
    "agn": Species("nuclear", 0.06, counterpart="quasar", magnitude=(16.5, 19.0)),
    "variable": Species("variable", 0.26, counterpart="star", magnitude=(14.0, 18.5)),
    "asteroid": Species("asteroid", 0.20, repeats=False),
    "dipole": Species("bogus", 0.10, counterpart="star", offset=0.5, magnitude=(12.5, 15.0)),
    "cosmic": Species("bogus", 0.08, repeats=False),
    "column": Species("bogus", 0.05, repeats=False),
    "ghost": Species("bogus", 0.04, counterpart="star", offset=15.0, magnitude=(10.5, 13.0)),
    "noise": Species("bogus", 0.03, repeats=False),
}


def microjansky(magnitude: float) -> float:
    """Flux in microjansky of an AB magnitude."""
    return float(10 ** (-0.4 * (magnitude - 23.9)))


class LightCurve(Protocol):
    """How an object differs from the reference image."""

    def flux(self, jd: np.ndarray, fid: np.ndarray) -> np.ndarray:
        """Difference flux in microjansky at each epoch."""


@dataclass(frozen=True)
class Burst:
    """Zero before ``start`` (JD); rises as t^2 for ``rise`` d to ``peak`` (microjansky), then fades.

    ``fade`` is the e-folding time, d; blue fades faster, as supernovae do.
    """

    start: float
    rise: float
    peak: float
    fade: float

    def flux(self, jd: np.ndarray, fid: np.ndarray) -> np.ndarray:
        t = (jd - self.start) / self.rise
        fade = self.fade * np.array([0.7, 1.0, 1.2])[fid - 1]
        return self.peak * np.where(t < 0, 0, np.where(t < 1, t**2, np.exp(-(t - 1) * self.rise / fade)))


@dataclass(frozen=True)
class Wave:
    """A source of flux ``mean`` (microjansky) whose magnitude swings by ``amplitude`` with ``period`` d.

    It swings less in redder bands.
    """

    mean: float
    amplitude: float
    period: float
    phase: float

    def flux(self, jd: np.ndarray, fid: np.ndarray) -> np.ndarray:
        swing = self.amplitude * np.array([1.2, 1.0, 0.8])[fid - 1]
        angle = 2 * np.pi * ((jd - 2458000.5) / self.period + self.phase)
        wave = np.sin(angle) + 0.3 * np.sin(2 * angle)
        return self.mean * (10 ** (-0.4 * swing * wave) - 1)


@dataclass(frozen=True)
class Flash:
    """Nothing before ``start`` (JD), then ``level`` (microjansky): what passes by, and artefacts."""

    start: float
    level: float

    def flux(self, jd: np.ndarray, fid: np.ndarray) -> np.ndarray:
        return np.where(jd < self.start, 0.0, self.level)


def light_curve(species: str, midnight: float, reference: float | None, rng: np.random.Generator) -> LightCurve:
    """A light curve of one object, observable in the night that begins at JD ``midnight``.

    ``reference`` is the r magnitude of its counterpart, None without one.
    """
    level = microjansky(rng.uniform(16.8, 19.4))
    match species:
        case "supernova":
            return Burst(midnight - rng.uniform(8, 45), rng.uniform(12, 20), 1.4 * level, rng.uniform(15, 30))
        case "tde":
            return Burst(midnight - rng.uniform(10, 80), rng.uniform(20, 35), 1.4 * level, rng.uniform(50, 100))
        case "agn" if reference is not None:
            return Wave(microjansky(reference), rng.uniform(0.15, 0.5), rng.uniform(40, 400), rng.random())
        case "variable" if reference is not None:
            return Wave(microjansky(reference), rng.uniform(0.1, 0.5), 10 ** rng.uniform(-0.9, 1.5), rng.random())
        case _:
            return Flash(midnight, level)
