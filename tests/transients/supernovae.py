"""Type Ia supernovae as a survey would see them: drawn from SALT2, sampled and given noise, the same in every process."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kowalski.config import settings_tree
from kowalski.transients.host import Host
from kowalski.transients.photometry import ZERO_POINT, Photometry
from kowalski.transients.salt2 import Salt2Fitter
from kowalski.transients_section import Salt2

MJD = 59_000.0
#: of each band
EPOCHS = 17
#: microjansky, of a limit of 20.5 mag at 5 sigma, and 24 of LSST
ZTF_NOISE, LSST_NOISE = (10 ** (-0.4 * (limit - ZERO_POINT)) / 5 for limit in (20.5, 24.0))


class Supernova(NamedTuple):
    """What it is, and what was measured of it."""

    truth: dict[str, float]
    host: Host
    photometry: Photometry


def salt2_settings(**changes: Any) -> Salt2:
    """The defaults, with changes."""
    return Salt2.model_validate(settings_tree([], {})["transients"]["salt2"] | changes)


@cache
def fitter(folder: Path) -> Salt2Fitter:
    """One for all tests of a process: reading the files takes a second."""
    return Salt2Fitter(folder, salt2_settings())


def supernovae(
    fitter: Salt2Fitter, number: int, seed: int, bands: tuple[str, ...] = ("ztfg", "ztfr", "ztfi"), noise: float = ZTF_NOISE, mwebv: float | None = None
) -> Iterator[Supernova]:  # fmt: skip
    """So many of redshifts 0.03 to 0.07, of the population's spread in x1 and c, seen every 3.5 to 5.5 d in each band."""
    chance = np.random.default_rng(seed)
    for _ in range(number):
        truth = {
            "z": chance.uniform(0.03, 0.07),
            "t0": MJD + chance.uniform(0, 300),
            "x1": chance.normal(0, 1),
            "c": chance.normal(0, 0.08),
        }
        model = fitter.model(mwebv)
        model.set(**truth)
        modulus = 5 * np.log10(299_792.458 * truth["z"] / 70 * (1 + truth["z"] / 2) * 1e5)
        model.set(x0=10 ** (-0.4 * (-19.3 + modulus - 0.14 * truth["x1"] + 3.1 * truth["c"] - 10.5)))
        truth["x0"] = model.get("x0")
        epochs = [truth["t0"] + np.cumsum(chance.uniform(3.5, 5.5, EPOCHS)) - 25 for _ in bands]
        mjd, band = np.concatenate(epochs), np.repeat(np.array(bands, object), EPOCHS)
        order = np.argsort(mjd)
        mjd, band = mjd[order], band[order]
        flux, spread = model.bandfluxcov(band.astype(str), mjd, ZERO_POINT, "ab")  # real ones scatter around the model
        # the model's scatter before the explosion is a hundred times its flux: where there is no light there is none of it
        share = np.clip(flux / np.maximum(np.sqrt(np.diag(spread)), 1e-9), 0, 1)
        error = np.hypot(noise, 0.02 * flux)
        # by Cholesky: eigenvectors, and so the points, would depend on the processor
        flux = chance.multivariate_normal(flux, spread * np.outer(share, share) + np.diag(error**2), method="cholesky")
        host = Host(truth["z"], "NED_BetaV3", mwebv, 3.0)
        yield Supernova(truth, host, Photometry(mjd, flux, error, band, np.ones(len(mjd), bool)))
