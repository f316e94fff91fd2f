"""The points of a light curve as they are drawn and listed: each with a magnitude or a limit, and a flux where it has one."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kowalski.alerts.survey import get_survey
from kowalski.transients.photometry import ZERO_POINT, measured_flux

#: sigma from which a flux is a magnitude; fainter ones are limits of so many
DETECTED = 3.0
#: sigma of upper limits (``diffmaglim``)
LIMIT = 5.0
#: what a row can be, in words
KINDS = {
    "detection": "detection",
    "negative": "negative detection",
    "forced": "forced photometry",
    "faint": f"forced, below {DETECTED:.0f} sigma",
    "limit": "upper limit",
}


class Row(NamedTuple):
    """One point.

    Attributes
    ----------
    kind : key of `KINDS`
    mag, mag_error : AB; of ``limit`` and ``faint`` the limit, without an error
    flux, flux_error : of the difference, microjansky; of ``limit`` the limit as a flux
    withdrawn : whether its survey has taken it back; such are listed, and not drawn
    """

    kind: str
    survey: str
    band: str
    jd: float
    mjd: float
    mag: float | None
    mag_error: float | None
    flux: float | None
    flux_error: float | None
    candid: int | None
    programme: int | None
    withdrawn: bool


def rows_of(points: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows of points (`kowalski.alerts.curve`) that say anything."""
    return [row for point in points if (row := _row(point)) is not None]


def _row(point: Mapping[str, Any]) -> Row | None:
    survey = get_survey(point["survey"])
    programme = point.get(survey.program_field) if survey.program_field else None
    band = point.get("band") or f"{survey.name} filter {survey.fid_of(point) or '?'}"
    withdrawn = point.get("withdrawn_jd") is not None
    flux, error = measured_flux({**point, "withdrawn_jd": None}, survey) or (None, None)
    if flux is not None and error is not None and not (math.isfinite(flux) and math.isfinite(error) and error > 0):
        flux = error = None
    values = _values(point, flux, error)
    if values is None:
        return None
    kind, mag, mag_error, flux, error = values
    numbers = (mag, mag_error, flux, error)
    return Row(
        kind, survey.name, str(band), point["jd"], point["mjd"], *numbers, point.get("candid"), programme, withdrawn
    )


def _values(point: Mapping[str, Any], flux: float | None, error: float | None) -> tuple[Any, ...] | None:
    """Kind, magnitude and flux with their errors; None where nothing was measured."""
    if point["kind"] == "limit":
        limit = _number(point.get("diffmaglim"))
        return None if limit is None or not 0 < limit < 50 else ("limit", limit, None, flux_of(limit), None)
    if point["kind"] == "detection":
        magnitude, sigma = _number(point.get("magpsf")), _number(point.get("sigmapsf"))
        if magnitude is None and flux is None:
            return None
        negative = point.get("isdiffpos") is not None and point["isdiffpos"] not in (True, 1, "y", "Y", "t", "1", "T")
        return "negative" if negative else "detection", magnitude, sigma, flux, error
    if flux is None or error is None:
        return None
    if flux < DETECTED * error:
        return "faint", magnitude_of(DETECTED * error), None, flux, error
    return "forced", magnitude_of(flux), 2.5 / math.log(10) * error / flux, flux, error


def magnitude_of(flux: float) -> float:
    """AB magnitude of a positive flux in microjansky."""
    return ZERO_POINT - 2.5 * math.log10(flux)


def flux_of(magnitude: float) -> float:
    """Microjansky of an AB magnitude."""
    return float(10 ** (-0.4 * (magnitude - ZERO_POINT)))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None  # fmt: skip
