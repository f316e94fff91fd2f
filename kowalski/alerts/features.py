"""Features that neural networks want and a candidate doesn't carry: what its object's history says at its own time."""

from collections.abc import Iterable, Mapping
from typing import Any

DERIVED_FEATURES = frozenset({"peakmag_so_far", "maxmag_so_far", "days_since_peak", "days_to_peak", "age", "nnondet"})

FAINTEST, BRIGHTEST = 30.0, 0.0
"""Magnitudes where the search for the brightest and faintest detection starts, as when the networks were trained."""


def derived_features(candidate: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """The `DERIVED_FEATURES` of a candidate, from the detections known when it was made; None where it can't be told.

    The sign of a detection is ignored, as when the networks were trained.

    Parameters
    ----------
    candidate : with ``jd`` and, where known, ``magpsf`` (mag), ``jdstarthist``, ``ndethist``, ``ncovhist``
    history : points of the same object with ``jd`` and ``magpsf``, in any order, the candidate itself among them or
        not; points without magpsf (upper limits) and those later than the candidate are left out

    Returns
    -------
    magnitudes ``peakmag_so_far`` (brightest), ``maxmag_so_far`` (faintest); days ``days_since_peak``, ``days_to_peak``,
    ``age``; ``nnondet``, the number of visits without detection
    """
    now = candidate["jd"]
    detections = sorted(_detections(candidate, history))
    peak_jd, peakmag, maxmag = now, FAINTEST, BRIGHTEST
    for jd, magpsf in detections:
        if magpsf < peakmag:
            peak_jd, peakmag = jd, magpsf
        maxmag = max(maxmag, magpsf)
    starts = [jd for jd in (candidate.get("jdstarthist"), now) if jd is not None]
    first_jd = min([*starts, *(jd for jd, _ in detections)])
    ncovhist, ndethist = candidate.get("ncovhist"), candidate.get("ndethist")
    return {
        "peakmag_so_far": peakmag,
        "maxmag_so_far": maxmag,
        "days_since_peak": now - peak_jd,
        "days_to_peak": peak_jd - first_jd,
        "age": now - first_jd,
        "nnondet": None if ncovhist is None or ndethist is None else ncovhist - ndethist,
    }


def _detections(candidate: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> Iterable[tuple[float, float]]:
    """The (jd, magpsf) of every detection up to the candidate, itself included."""
    now = candidate["jd"]
    for point in (*history, candidate):
        if point.get("magpsf") is not None and point["jd"] <= now:
            yield point["jd"], point["magpsf"]
