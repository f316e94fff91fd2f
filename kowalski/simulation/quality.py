"""How a detection looks to the pipeline: shape, PSF fit and real-bogus scores."""

from dataclasses import dataclass

import numpy as np

from kowalski.simulation.sky import Exposure


@dataclass(frozen=True)
class Looks:
    """Typical values of one sort of detection; widths are relative to the seeing.

    Attributes
    ----------
    width, spread : full width at half maximum / that of the PSF, and its scatter (natural logarithm)
    chi : reduced chi-square of the PSF fit
    elongation : mean excess over 1
    negative : mean number of negative pixels of 25
    pointlike : SExtractor's score
    rb, drb : mean real-bogus scores
    """

    width: float = 1.0
    spread: float = 0.08
    chi: float = 1.6
    elongation: float = 0.08
    negative: float = 0.3
    pointlike: float = 0.92
    rb: float = 0.72
    drb: float = 0.985


REAL = Looks()
BOGUS = {
    "dipole": Looks(width=0.7, spread=0.3, chi=15, elongation=0.5, negative=9, pointlike=0.7, rb=0.25, drb=0.12),
    "cosmic": Looks(width=0.5, spread=0.3, chi=6, elongation=0.6, negative=3, pointlike=0.5, rb=0.2, drb=0.08),
    "column": Looks(width=0.6, spread=0.4, chi=5, elongation=1.5, negative=4, pointlike=0.3, rb=0.15, drb=0.05),
    "ghost": Looks(width=2.5, spread=0.4, chi=3, elongation=0.4, negative=2, pointlike=0.1, rb=0.3, drb=0.1),
    "noise": Looks(width=0.6, spread=0.3, chi=3, elongation=0.3, negative=10, pointlike=0.5, rb=0.2, drb=0.1),
}


def quality(species: str, snr: float, exposure: Exposure, rng: np.random.Generator) -> dict[str, float | int]:
    """The shape fields, ``rb`` and ``drb`` of one detection."""
    looks = BOGUS.get(species, REAL)
    z = rng.standard_normal(6).tolist()
    fwhm = 2.3548 * exposure.seeing * looks.width * float(np.exp(looks.spread * z[0]))
    elong = 1.0 + float(rng.exponential(looks.elongation))
    aimage = fwhm / 3.4 * elong**0.5
    bimage = fwhm / 3.4 / elong**0.5
    nneg = min(int(rng.poisson(looks.negative)), 25)
    return {
        "chipsf": looks.chi * float(np.exp(0.5 * z[1])) * (1 + snr / 200),
        "sky": 0.4 * z[2],
        "magdiff": 0.05 * z[3] + 0.3 * (looks.width - 1),
        "fwhm": fwhm,
        "classtar": _score(looks.pointlike, 12, rng),
        "seeratio": 2.3548 * exposure.seeing / fwhm,
        "aimage": aimage,
        "bimage": bimage,
        "aimagerat": aimage / fwhm,
        "bimagerat": bimage / fwhm,
        "elong": elong,
        "nneg": nneg,
        "nbad": 0,
        "sumrat": 1.0 - nneg / 40,
        "rb": _score(looks.rb, 15, rng),
        "drb": _score(looks.drb, 8, rng),
    }


def _score(mean: float, concentration: float, rng: np.random.Generator) -> float:
    """A score in [0, 1] around ``mean`` (beta distribution)."""
    return float(rng.beta(mean * concentration, (1 - mean) * concentration))
