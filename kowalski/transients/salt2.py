"""SALT2 fitted to one light curve by sncosmo, from files that are here: nothing is fetched.

Free are t0, x0, x1 and c, and z where no host tells it. Model errors are part of chi2 and covariance (`modelcov`); points of restframe
phases that the model has not are left out. The Galaxy's dust (Fitzpatrick 1999, R_V = 3.1) is in the model where a matched galaxy comes
with its E(B-V); otherwise it is not corrected for, and c has it. Guy et al. 2007, A&A 466, 11; Betoule et al. 2014, A&A 568, A22.
"""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import sncosmo
from astropy.table import Table

from kowalski.database.fits import NO_FIT
from kowalski.errors import FitError
from kowalski.transients.files import BANDPASSES, MODEL, SALT2, VERSION, require
from kowalski.transients.host import Host
from kowalski.transients.photometry import ZERO_POINT, Photometry
from kowalski.transients_section import Salt2

#: below which share of its maximum a transmission is taken for none, as in sncosmo
TRIM = 0.001
#: restframe d around the maximum that the model is trusted in (Betoule et al. 2014, section 5)
PHASES = (-15.0, 45.0)
#: restframe d around the brightest point that are looked at
WINDOW = (-30.0, 60.0)
DETECTED = 3.0
#: where between the bounds of z others are tried than that where the first fit, z free, ends, if its chi2 / ndof is larger than so much
STARTS, GOOD = (0.05, 0.15, 0.3, 0.5, 0.8), 2.0
#: share of the room between two bounds that counts as being at one
EDGE = 1e-3
#: points of the fitted curve that are kept for pictures
CURVE = 60

Bounds = dict[str, tuple[float, float]]
Fit = tuple[Any, sncosmo.Model]
"""What sncosmo says of a fit, and the fitted model."""


class Salt2Fitter:
    """The model and the bandpasses, read from a folder and checked.

    Raises
    ------
    FitError : a file is absent, or not what it should be
    """

    def __init__(self, folder: Path, settings: Salt2):
        require(folder)
        self._settings = settings
        sncosmo.conf.data_dir = str(folder)  # where sncosmo would put what it fetches
        for name, file in BANDPASSES.items():
            wave, transmission = np.loadtxt(folder / file.path, unpack=True)
            band = sncosmo.Bandpass(wave * file.angstrom, transmission, name=name, trim_level=TRIM)
            sncosmo.register(band, name, force=True)
        self._source = sncosmo.SALT2Source(modeldir=str(folder / SALT2.path), name=MODEL, version=VERSION)

    def fit(self, photometry: Photometry, host: Host | None) -> dict[str, Any]:
        """What a document says of the fit: parameters, chi2 and covariance; or ``reason``, why there is none."""
        try:
            found = self._fitted(photometry, host)
        except FitError as error:
            found = NO_FIT | {"reason": str(error)}
        return {"model": MODEL, "version": VERSION, **found}

    def model(self, mwebv: float | None) -> sncosmo.Model:
        """The model, with the Galaxy's dust where it is known."""
        if mwebv is None:
            return sncosmo.Model(self._source)
        model = sncosmo.Model(self._source, [sncosmo.F99Dust()], ["mw"], ["obs"])
        model.set(mwebv=mwebv)
        return model

    def _fitted(self, photometry: Photometry, host: Host | None) -> dict[str, Any]:
        chosen = self._chosen(photometry, host)
        settings, model = self._settings, self.model(host.mwebv if host else None)
        bounds = {"x1": settings.x1_bounds, "c": settings.c_bounds}
        if host is not None:
            result, fitted = _minimised(chosen, model, bounds, z=host.z)
        else:
            bounds["z"] = settings.z_bounds
            result, fitted = _best(chosen, model, bounds)
        _require_within(fitted, bounds)
        return _found(result, fitted, chosen, host)

    def _chosen(self, photometry: Photometry, host: Host | None) -> Photometry:
        """The points to fit: in bands of the model, around the brightest; raises `FitError` where they are too few."""
        settings = self._settings
        known = photometry.of(np.array([band in BANDPASSES for band in photometry.band], bool))
        detected = known.of(known.snr >= DETECTED)
        if len(detected) < settings.min_points:
            raise FitError(
                f"too few points: {len(detected)} of {DETECTED:g} sigma, and {settings.min_points} are needed"
            )
        stretch = 1 + (host.z if host else settings.z_bounds[1])
        since = (known.mjd - detected.mjd[int(np.argmax(detected.flux))]) / stretch
        near = known.of((since >= WINDOW[0]) & (since <= WINDOW[1]))
        detected = near.of(near.snr >= DETECTED)
        bands, days = set(detected.band.tolist()), float(np.ptp(detected.mjd))
        if len(detected) < settings.min_points:
            raise FitError(f"too few points: {len(detected)} of {DETECTED:g} sigma around the brightest, and {settings.min_points} are needed")  # fmt: skip
        if len(bands) < settings.min_bands:
            raise FitError(f"too few bands: {', '.join(sorted(bands))}, and {settings.min_bands} are needed")
        if days < settings.min_days:
            raise FitError(f"too short: {days:.1f} d from the first to the last detection, and {settings.min_days:g} are needed")  # fmt: skip
        return near


def _table(photometry: Photometry) -> Table:
    size = len(photometry)
    return Table(
        {
            "time": photometry.mjd,
            "band": photometry.band.astype(str),
            "flux": photometry.flux,
            "fluxerr": photometry.error,
            "zp": np.full(size, ZERO_POINT),
            "zpsys": np.full(size, "ab"),
        }
    )


def _best(chosen: Photometry, model: sncosmo.Model, bounds: Bounds) -> Fit:
    """A fit with z free. Chi2 has several minima in z: unless the first fit is good, it begins where one of several fixed z is best."""
    low, high = bounds["z"]
    found: list[Fit] = []
    with suppress(FitError):
        found.append(_minimised(chosen, model, bounds, z=(low + high) / 2))
    if not found or _reduced(found[0]) > GOOD:
        others = {name: each for name, each in bounds.items() if name != "z"}
        held: list[Fit] = []
        for share in STARTS:
            with suppress(FitError):
                held.append(_minimised(chosen, model, others, z=low + share * (high - low)))
        if held:
            begin = min(held, key=_reduced)[1]
            near = [low, *(fit[1].get("z") for fit in held), high]
            place = near.index(begin.get("z"))
            with suppress(FitError):
                found.append(_minimised(chosen, begin, bounds | {"z": (near[place - 1], near[place + 1])}))
    if not found:
        raise FitError("the minimiser failed wherever z began")
    return min(found, key=_reduced)


def _reduced(fit: Fit) -> float:
    """chi2 / ndof."""
    return float(fit[0].chisq / max(fit[0].ndof, 1))


def _minimised(chosen: Photometry, model: sncosmo.Model, bounds: Bounds, z: float | None = None) -> Fit:
    """One fit, z free where it has bounds; it begins at a ``z`` and a guess of the rest, or where the model is.

    Raises
    ------
    FitError : it does not go well
    """
    if z is not None:
        model.set(z=z)
    free = ["z", "t0", "x0", "x1", "c"] if "z" in bounds else ["t0", "x0", "x1", "c"]
    guess = {"guess_z": False, "guess_t0": z is not None, "guess_amplitude": z is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bands that the model has not, and steps to where it is zero
        try:
            result, fitted = sncosmo.fit_lc(
                _table(chosen), model, free, bounds, modelcov=True, phase_range=PHASES, **guess
            )
        except (sncosmo.fitting.DataQualityError, RuntimeError, ValueError, np.linalg.LinAlgError) as error:
            raise FitError(f"the minimiser failed: {error}") from error
    if not result.success:
        raise FitError(f"the minimiser failed: {result.message}")
    return result, fitted


def _require_within(model: sncosmo.Model, bounds: Bounds) -> None:
    """Raise `FitError` for a fit that a bound has stopped."""
    for name, (low, high) in bounds.items():
        value = model.get(name)
        if min(value - low, high - value) < EDGE * (high - low):
            raise FitError(f"no best fit within the bounds: {name} ends at {value:.4g}")


def _found(result: Any, model: sncosmo.Model, chosen: Photometry, host: Host | None) -> dict[str, Any]:
    """What a document says of a fit; raises `FitError` where it says nothing."""
    if result.covariance is None or not np.isfinite(result.covariance).all() or not np.isfinite(result.chisq):
        raise FitError("the minimiser failed: it gives no covariance")
    if result.ndof < 1:
        raise FitError(f"too few points: {int(result.data_mask.sum())} where the model is, for {len(result.vparam_names)} parameters")  # fmt: skip
    used = chosen.of(result.data_mask)
    return {
        **{name: float(model.get(name)) for name in ("z", "t0", "x0", "x1", "c")},
        "z_source": host.catalog if host else "fit",
        "chi2": float(result.chisq),
        "ndof": int(result.ndof),
        "parameters": list(result.vparam_names),
        "covariance": np.asarray(result.covariance).ravel().tolist(),
        "mwebv": host.mwebv if host else None,
        "points": len(used),
        "reason": None,
        "curve": _curve(model, used),
    }


def _curve(model: sncosmo.Model, used: Photometry) -> dict[str, Any]:
    """The fitted curve in each band: ``mjd``, and under the band microjansky."""
    first, last = model.get("t0") + np.array(PHASES) * (1 + model.get("z"))
    mjd = np.linspace(first, last, CURVE)
    bands = {band: model.bandflux(band, mjd, ZERO_POINT, "ab").tolist() for band in sorted(set(used.band.tolist()))}
    return {"mjd": mjd.tolist(), "bands": bands}
