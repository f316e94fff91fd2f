"""The fluxes of a light curve, for fits and pictures: detections and forced photometry of all surveys on one scale.

Fluxes are of the difference images, in microjansky (AB zero point 23.9). Where an exposure has both, the forced point counts, as it is
measured at one place and has a flux where nothing is seen. Left out: bands that have no name, points that their survey has withdrawn, and
forced ones that it finds bad.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kowalski.alerts.survey import Survey, get_survey

ZERO_POINT = 23.9
POSITIVE = (True, 1, "y", "Y", "t", "1", "T")
#: d within which two points of a band are of the same exposure
SAME_EXPOSURE = 1e-4
#: names of flux, its error and zero point in the forced photometry of packets that have magnitudes
FORCED = ("forcediffimflux", "forcediffimfluxunc", "magzpsci")

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Photometry:
    """N measurements, as arrays of shape (N,), by mjd.

    Attributes
    ----------
    flux, error : microjansky
    band : SkyPortal's name
    forced : whether it is forced photometry
    """

    mjd: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    band: np.ndarray
    forced: np.ndarray

    def __len__(self) -> int:
        return len(self.mjd)

    @property
    def snr(self) -> np.ndarray:
        """Flux over its error."""
        return np.asarray(self.flux / self.error)

    def of(self, chosen: np.ndarray) -> "Photometry":
        """Some of them."""
        return Photometry(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def magnitudes(self) -> tuple[np.ndarray, np.ndarray]:
        """AB magnitudes and their errors; NaN where the flux is not positive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            magnitude = ZERO_POINT - 2.5 * np.log10(self.flux)
        return magnitude, np.where(np.isnan(magnitude), np.nan, 2.5 / math.log(10) * self.error / np.abs(self.flux))


def photometry_of(curve: Iterable[Point]) -> Photometry:
    """The measurements in a light curve (`kowalski.alerts.curve`), of all surveys that it has points of."""
    rows: dict[tuple[str, str, int], tuple[float, float, float, str, bool]] = {}
    for point in sorted(curve, key=lambda point: (point["mjd"], point["kind"] != "forced")):
        survey, band = get_survey(point["survey"]), point.get("band")
        measured = measured_flux(point, survey) if band is not None else None
        if measured is None or not all(map(math.isfinite, measured)) or measured[1] <= 0:
            continue
        slot = round(point["mjd"] / SAME_EXPOSURE)
        keys = [(survey.name, str(band), slot + step) for step in (-1, 0, 1)]
        known = next((key for key in keys if key in rows), keys[1])
        if known not in rows or (point["kind"] == "forced" and not rows[known][4]):
            rows[known] = (point["mjd"], *measured, str(band), point["kind"] == "forced")
    ordered = sorted(rows.values())
    columns: list[Any] = [list(column) for column in zip(*ordered, strict=True)] or [[] for _ in fields(Photometry)]
    mjd, flux, error = (np.array(each, float) for each in columns[:3])
    return Photometry(mjd, flux, error, np.array(columns[3], object), np.array(columns[4], bool))


def limits_of(curve: Iterable[Point]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Band -> mjd and magnitude of the upper limits in a light curve."""
    found: dict[str, list[tuple[float, float]]] = {}
    for point in curve:
        limit = point.get("diffmaglim")
        if point["kind"] == "limit" and point.get("band") and limit is not None and 0 < limit < 50:
            found.setdefault(point["band"], []).append((point["mjd"], limit))
    return {band: (np.array([each[0] for each in pairs]), np.array([each[1] for each in pairs])) for band, pairs in found.items()}  # fmt: skip


def measured_flux(point: Point, survey: Survey) -> tuple[float, float] | None:
    """Flux and its error, microjansky; None: nothing was measured, or it does not count."""
    if point.get("withdrawn_jd") is not None or point["kind"] == "limit":
        return None
    if point["kind"] == "forced" and not survey.forced_ok(point):
        return None
    if survey.flux is not None and point.get(survey.flux.flux) is not None:
        return _scaled(point.get(survey.flux.flux), point.get(survey.flux.error), survey.flux.zero_point)
    if point["kind"] == "forced":
        return _scaled(*(point.get(name) for name in FORCED))
    magnitude, sigma = point.get("magpsf"), point.get("sigmapsf")
    if magnitude is None or sigma is None or not -10 < magnitude < 50:
        return None
    flux = 10 ** (-0.4 * (magnitude - ZERO_POINT))
    sign = 1.0 if point.get("isdiffpos", True) in POSITIVE else -1.0
    return sign * flux, sigma * flux * math.log(10) / 2.5


def _scaled(flux: Any, error: Any, zero_point: Any) -> tuple[float, float] | None:
    if None in (flux, error, zero_point):
        return None
    scale = 10 ** (-0.4 * (zero_point - ZERO_POINT))
    return flux * scale, error * scale
