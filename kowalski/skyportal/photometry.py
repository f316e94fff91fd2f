"""Light curves in flux space, as SkyPortal's photometry takes them.

Detections and upper limits of the packets are in microjansky (AB zero point 23.9), forced photometry in the counts of
its difference image, with that image's own zero point; where a survey's points hold fluxes, both are those.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kowalski.alerts.survey import Flux, Survey
from kowalski.alerts.times import MJD_ZERO

MICROJANSKY_ZERO_POINT = 23.9
FORCED_ORIGIN = "alert_fp"

#: fluxes below this many sigma are sent as upper limits (forced photometry)
FORCED_SNR = 3.0
#: diffmaglim is a limit of this many sigma
LIMIT_SIGMA = 5.0
#: rows in one request: SkyPortal takes up to 8 s for these, of the 15 s that it has; it would refuse more than 10,000
MAX_ROWS = 2000

POSITIVE = (True, 1, "y", "Y", "t", "1", "T")

Point = dict[str, Any]
Columns = dict[str, np.ndarray]


def make_photometry(
    candidate: Point, prv_candidates: Sequence[Point], fp_hists: Sequence[Point], survey: Survey
) -> Columns:
    """The light curve of an object as columns of equal length: ordinary points by mjd, then forced ones by mjd.

    Columns: ``mjd`` (d); ``flux`` and ``fluxerr`` in units of the AB zero point ``zp`` (flux NaN: an upper limit, whose
    fluxerr is 1 sigma); ``filter``, SkyPortal's name of the band; ``ra``, ``dec`` (deg, NaN: unknown); ``origin``, None
    or ``alert_fp`` for forced points; ``programid``.

    Left out: points in bands that SkyPortal doesn't have, with diffmaglim <= 0, or neither detection nor limit, and those that their
    survey has withdrawn.
    Magnitudes become fluxes in float32, as Kowalski always did: SkyPortal recognises the points it has by equal flux.
    """
    ordinary, forced = (
        _valid([candidate, *prv_candidates]),
        [each for each in _valid(fp_hists) if survey.forced_ok(each)],
    )
    if survey.flux is not None:
        parts = [_fluxes(ordinary, survey, survey.flux, None), _fluxes(forced, survey, survey.flux, FORCED_ORIGIN)]
    else:
        parts = [_ordinary(ordinary, survey), _forced(forced, survey)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _valid(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.get("withdrawn_jd") is None]


def _fluxes(points: Sequence[Point], survey: Survey, fields: Flux, origin: str | None) -> Columns:
    """Points as they are, but for forced ones below `FORCED_SNR`, which are upper limits."""
    flux, error = _numbers(points, fields.flux), _numbers(points, fields.error)
    with np.errstate(divide="ignore", invalid="ignore"):
        significant = (np.abs(flux / error) > FORCED_SNR) | (origin is None)
    columns = _common(points, survey) | {
        "flux": np.where(significant, flux, np.nan),
        "fluxerr": error,
        "zp": np.full(len(points), fields.zero_point),
        "origin": np.full(len(points), origin, object),
    }
    return _tidy(columns, np.isfinite(flux) & np.isfinite(error), ("mjd", "filter", "flux"), {})


def _ordinary(points: Sequence[Point], survey: Survey) -> Columns:
    limit = _numbers(points, "diffmaglim")
    magnitude = _numbers(points, "magpsf").astype(np.float32)
    sigma = _numbers(points, "sigmapsf").astype(np.float32)
    detected = np.isfinite(magnitude)
    # WINTER's history has no diffmaglim at all: a detection stands without it, an upper limit can't
    usable = (limit > 0) | (np.isnan(limit) & detected)
    sign = np.array([1.0 if point.get("isdiffpos") in POSITIVE else -1.0 for point in points])
    flux = sign * 10 ** (-0.4 * (magnitude - MICROJANSKY_ZERO_POINT))
    error = np.abs(sigma * flux * np.log(10) / 2.5)
    columns = _common(points, survey) | {
        "flux": np.where(detected, flux, np.nan),
        "fluxerr": np.where(detected, error, _limit_sigma(limit, MICROJANSKY_ZERO_POINT)),
        "zp": np.full(len(points), MICROJANSKY_ZERO_POINT),
        "origin": np.full(len(points), None, object),
    }
    return _tidy(columns, usable, ("mjd", "magnitude", "filter"), {"magnitude": magnitude})


def _forced(points: Sequence[Point], survey: Survey) -> Columns:
    limit, zero_point = _numbers(points, "diffmaglim"), _numbers(points, "magzpsci")
    flux, error = _numbers(points, "forcediffimflux"), _numbers(points, "forcediffimfluxunc")
    with np.errstate(divide="ignore", invalid="ignore"):
        significant = np.abs(flux / error) > FORCED_SNR
    columns = _common(points, survey) | {
        "flux": np.where(significant, flux, np.nan),
        "fluxerr": np.where(np.isnan(flux), _limit_sigma(limit, zero_point), error),
        "zp": zero_point,
        "origin": np.full(len(points), FORCED_ORIGIN, object),
    }
    return _tidy(columns, limit > 0, ("mjd", "filter", "flux"), {})


def _common(points: Sequence[Point], survey: Survey) -> Columns:
    bands = [survey.bands.get(survey.fid_of(point)) for point in points]
    programs = [point.get(survey.program_field) if survey.program_field else None for point in points]
    return {
        "mjd": _numbers(points, "jd") - MJD_ZERO,
        "filter": np.array(bands, object),
        "ra": _numbers(points, "ra"),
        "dec": _numbers(points, "dec"),
        "programid": np.array(programs, object),
    }


def _numbers(points: Sequence[Point], name: str) -> np.ndarray:
    values = [point.get(name) for point in points]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _limit_sigma(limit: np.ndarray, zero_point: np.ndarray | float) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 10 ** (-0.4 * (limit - zero_point)) / LIMIT_SIGMA


def _tidy(columns: Columns, usable: np.ndarray, key: tuple[str, ...], extra: Columns) -> Columns:
    """The usable rows in bands that SkyPortal has, the first of those with an equal key, by mjd."""
    usable = usable & np.array([band is not None for band in columns["filter"]], bool)
    rows = _first_of_each([(columns | extra)[name] for name in key], np.flatnonzero(usable))
    rows = rows[np.argsort(columns["mjd"][rows], kind="stable")]
    return {name: column[rows] for name, column in columns.items()}


def _first_of_each(key: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Those of the rows whose key no earlier one has; NaN equals NaN."""
    first: dict[tuple[Any, ...], int] = {}
    for row, values in zip(rows.tolist(), zip(*(column[rows].tolist() for column in key), strict=True), strict=True):
        first.setdefault(tuple(None if value != value else value for value in values), row)
    return np.fromiter(first.values(), np.int64, len(first))


def acceptable(columns: Columns) -> np.ndarray:
    """Which rows SkyPortal takes: one bad row makes it refuse all the others of its request."""
    error = columns["fluxerr"]
    numbers = np.isfinite(columns["mjd"]) & np.isfinite(columns["zp"]) & np.isfinite(error) & ~np.isinf(columns["flux"])
    return numbers & (error > 0) & _within(columns["ra"], 0, 360) & _within(columns["dec"], -90, 90)


def _within(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.isnan(values) | ((values >= low) & (values <= high))


def photometry_requests(columns: Columns, survey: Survey) -> Iterator[tuple[str, bool, Columns]]:
    """What to send, request by request: (SkyPortal's name of the stream, whether forced, the rows).

    Every request holds rows of one stream and one origin, no row twice by SkyPortal's own keys (flux and its error at
    one mjd, whatever the filter; forced: one row per mjd) and at most `MAX_ROWS`. Rows of a programme that has no
    stream are never sent: they are nobody's to see.
    """
    good = acceptable(columns)
    forced = columns["origin"] == FORCED_ORIGIN
    stream = np.array([survey.stream_of(program) for program in columns["programid"]], object)
    for is_forced, key in ((False, ("mjd", "fluxerr", "flux")), (True, ("mjd",))):
        for name in dict.fromkeys(survey.streams.values()):
            chosen = np.flatnonzero(good & (forced == is_forced) & (stream == name))
            rows = _first_of_each([columns[column] for column in key], chosen)
            for start in range(0, len(rows), MAX_ROWS):
                chunk = rows[start : start + MAX_ROWS]
                yield name, is_forced, {column: values[chunk] for column, values in columns.items()}
