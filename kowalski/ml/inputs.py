"""The numbers that go into neural networks: feature matrices and triplets of a batch of alerts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.cutouts import readable_triplets, triplets

__all__ = ["FALLBACKS", "FeatureMatrix", "feature_matrix", "readable_triplets", "triplets"]

FALLBACKS = {"drb": "rb"}
"""What stands in for a feature that a candidate lacks: packets before schema 3.3 have no deep real-bogus score."""


class FeatureMatrix(NamedTuple):
    """The features of a batch of N alerts.

    Attributes
    ----------
    values : shape (N, number of names), float32; NaN where a feature is missing
    missing : the names that are missing, by the alert's place in the batch; empty when all are complete
    """

    values: np.ndarray
    missing: dict[int, list[str]]


def feature_matrix(
    candidates: Sequence[Mapping[str, Any]], names: Sequence[str], norms: Mapping[str, float] | None = None
) -> FeatureMatrix:
    """The named features of N candidates in the order of ``names``, each divided by its norm where ``norms`` has one.

    Nothing else is normalised: the published networks do that themselves. A feature that is absent, not a number or not
    finite (in float32) is missing; one alert's gap never touches the others.
    """
    rows = [[_feature(candidate, name) for name in names] for candidate in candidates]
    exact = np.array(rows, dtype=np.float64).reshape(len(candidates), len(names))  # None becomes NaN
    if norms:
        exact /= [norms.get(name, 1.0) for name in names]
    with np.errstate(over="ignore"):
        values = exact.astype(np.float32)
    gaps = ~np.isfinite(values)
    values[gaps] = np.nan
    missing: dict[int, list[str]] = {}
    for alert, at in zip(*np.nonzero(gaps), strict=True):
        missing.setdefault(int(alert), []).append(names[int(at)])
    return FeatureMatrix(values, missing)


def _feature(candidate: Mapping[str, Any], name: str) -> float | None:
    value = candidate.get(name)
    if value is None and name in FALLBACKS:
        value = candidate.get(FALLBACKS[name])
    return value if isinstance(value, int | float) else None
