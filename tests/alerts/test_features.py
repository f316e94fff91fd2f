"""Derived features: what the history says at the candidate's own time."""

from typing import Any

import pytest

from kowalski.alerts.features import DERIVED_FEATURES, derived_features

CANDIDATE = {"jd": 2460000.0, "magpsf": 18.5, "jdstarthist": 2459990.0, "ndethist": 3, "ncovhist": 10}


def test_a_rise_and_fall() -> None:
    history: list[dict[str, Any]] = [
        {"jd": 2459995.0, "magpsf": 17.0},
        {"jd": 2459992.0, "magpsf": 19.5},
        {"jd": 2459994.0, "magpsf": None},
        {"jd": 2459993.0},
    ]
    features = derived_features(CANDIDATE, history)
    assert set(features) == DERIVED_FEATURES
    assert features == {
        "peakmag_so_far": 17.0,
        "maxmag_so_far": 19.5,
        "days_since_peak": 5.0,
        "days_to_peak": 5.0,
        "age": 10.0,
        "nnondet": 7,
    }


def test_the_future_is_not_known() -> None:
    later = [{"jd": 2460001.0, "magpsf": 12.0}]
    assert derived_features(CANDIDATE, later) == derived_features(CANDIDATE, [])


def test_order_and_repetition_do_not_matter() -> None:
    history = [{"jd": 2459990.0 + day, "magpsf": 20.0 - day % 3} for day in range(8)]
    assert derived_features(CANDIDATE, history) == derived_features(CANDIDATE, [*reversed(history), *history])


def test_the_first_of_equal_peaks_counts() -> None:
    history = [{"jd": 2459998.0, "magpsf": 17.0}, {"jd": 2459996.0, "magpsf": 17.0}]
    assert derived_features(CANDIDATE, history)["days_since_peak"] == 4.0


def test_history_older_than_jdstarthist_sets_the_age() -> None:
    assert derived_features(CANDIDATE, [{"jd": 2459980.0, "magpsf": 19.0}])["age"] == 20.0


def test_a_candidate_alone() -> None:
    features = derived_features({"jd": 2460000.0, "magpsf": 18.5, "jdstarthist": None}, iter([]))
    assert features["peakmag_so_far"] == features["maxmag_so_far"] == 18.5
    assert features["age"] == features["days_to_peak"] == features["days_since_peak"] == 0
    assert features["nnondet"] is None


def test_no_magnitude_at_all() -> None:
    features = derived_features({"jd": 2460000.0, "magpsf": None}, [])
    assert (features["peakmag_so_far"], features["maxmag_so_far"]) == (30.0, 0.0)


@pytest.mark.parametrize("missing", ["ncovhist", "ndethist"])
def test_visits_without_detection_need_both_counts(missing: str) -> None:
    assert derived_features({**CANDIDATE, missing: None}, [])["nnondet"] is None
