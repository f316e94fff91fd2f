"""A simulated record in LSST's words: fluxes in nJy, times in TAI, sources in place of candidates, FITS files that aren't compressed."""

import gzip
import math
from collections.abc import Mapping
from typing import Any

from kowalski.alert_broker_lsst import ZERO_POINT
from kowalski.alert_broker_ztf import SURVEY as MODEL
from kowalski.alerts.times import MJD_ZERO, SECONDS

#: s that TAI is ahead of UTC since 2017
AHEAD = 37.0
#: the model's bands
BANDS = {1: "g", 2: "r", 3: "i"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"

Point = Mapping[str, Any]


def translated(record: Point) -> dict[str, Any]:
    """A ZTF record under the names of an LSST alert, and its ``objectId``."""
    object_id = number_of(record["objectId"])
    history = [point for point in record["prv_candidates"] or () if point["magpsf"] is not None]
    forced = [point for point in record["fp_hists"] or () if point["forcediffimfluxunc"] is not None]
    candidate = record["candidate"]
    cutouts = {name: gzip.decompress(MODEL.stamp(record, role)) for role, name in MODEL.cutouts.items()}
    return {
        "objectId": str(object_id),
        "diaSourceId": record["candid"],
        "diaSource": _source(candidate, object_id),
        "prvDiaSources": [_source(point, object_id) for point in history],
        "prvDiaForcedSources": [_forced(point, object_id, candidate) for point in forced],
        "diaObject": {"diaObjectId": object_id, "ra": candidate["ra"], "dec": candidate["dec"]},
        **cutouts,
    }


def number_of(object_id: str) -> int:
    """A number for a name such as ZTF23aacexiu, another one for each."""
    year, letters = object_id.removeprefix("ZTF")[:2], object_id.removeprefix("ZTF")[2:]
    number = int(year)
    for letter in letters:
        number = 26 * number + LETTERS.index(letter)
    return number


def _source(point: Point, object_id: int) -> dict[str, Any]:
    flux = 10 ** (0.4 * (ZERO_POINT - point["magpsf"]))
    error = flux * point["sigmapsf"] * math.log(10) / 2.5
    negative = point["isdiffpos"] not in ("t", "1")
    return _common(point, object_id) | {
        "diaSourceId": point["candid"],
        "ra": point["ra"],
        "dec": point["dec"],
        "psfFlux": -flux if negative else flux,
        "psfFluxErr": error,
        "snr": flux / error,
        "isNegative": negative,
        "reliability": point.get("drb", point["rb"]),
    }


def _forced(point: Point, object_id: int, candidate: Point) -> dict[str, Any]:
    flux, error = point["forcediffimflux"], point["forcediffimfluxunc"]
    scale = 10 ** (0.4 * (ZERO_POINT - point["magzpsci"]))
    return _common(point, object_id) | {
        "diaForcedSourceId": 10 * point["pid"] + point["fid"],
        "ra": candidate["ra"],
        "dec": candidate["dec"],
        "psfFlux": None if flux is None else flux * scale,
        "psfFluxErr": error * scale,
    }


def _common(point: Point, object_id: int) -> dict[str, Any]:
    return {
        "visit": point["pid"],
        "detector": point["rcid"],
        "diaObjectId": object_id,
        "midpointMjdTai": point["jd"] - MJD_ZERO + AHEAD / SECONDS,
        "band": BANDS[point["fid"]],
    }
