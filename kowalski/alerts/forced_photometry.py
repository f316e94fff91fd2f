"""Forced photometry of ZTF packets (``fp_hists``) as it is stored."""

import math
from collections.abc import Mapping
from typing import Any

Point = dict[str, Any]

MISSING = -99999


def format_forced(points: list[Point], candidate: Mapping[str, Any]) -> list[Point]:
    """Forced points of one packet, ascending and unique in jd, with magnitudes and the alert that brought them.

    Nulls and -99999 are dropped. Where flux, its error and the zero point are known, ``mag``, ``magerr`` (AB mag), ``snr`` and the 3
    and 5 sigma limits ``limmag3sig``, ``limmag5sig`` are added, as far as they are defined: a negative flux has no magnitude.
    """
    first_of_jd: dict[float, Point] = {}
    for point in sorted(points, key=lambda item: item["jd"]):
        first_of_jd.setdefault(point["jd"], point)
    return [
        {
            **(kept := {key: value for key, value in point.items() if value is not None and value != MISSING}),
            **magnitudes(kept),
            "alert_mag": candidate.get("magpsf"),
            "alert_ra": candidate.get("ra"),
            "alert_dec": candidate.get("dec"),
        }
        for point in first_of_jd.values()
    ]


def magnitudes(point: Mapping[str, Any]) -> dict[str, float]:
    """Magnitudes of one forced point, from ``forcediffimflux``, ``forcediffimfluxunc`` (DN) and ``magzpsci``."""
    flux = point.get("forcediffimflux")
    error = point.get("forcediffimfluxunc")
    zero_point = point.get("magzpsci")
    if flux is None or error is None or zero_point is None or not error or math.isnan(flux / error):
        return {}
    values = {
        "mag": _magnitude(flux, zero_point),
        "magerr": 1.0857 * error / flux if flux else math.nan,
        "snr": flux / error,
        "limmag3sig": _magnitude(3 * error, zero_point),
        "limmag5sig": _magnitude(5 * error, zero_point),
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _magnitude(flux: float, zero_point: float) -> float:
    return zero_point - 2.5 * math.log10(flux) if flux > 0 else math.nan
