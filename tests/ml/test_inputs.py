"""Feature matrices: order, fall-backs, norms, gaps."""

from typing import Any

import numpy as np
import pytest

from kowalski.ml.inputs import feature_matrix


def test_features_stand_in_the_order_of_their_names() -> None:
    candidates = [{"ra": 10.5, "fwhm": 2, "drb": 0.75}, {"drb": 0.5, "fwhm": 3.5, "ra": 200.25, "dec": -1}]
    values, missing = feature_matrix(candidates, ["drb", "ra", "fwhm"])
    np.testing.assert_array_equal(values, [[0.75, 10.5, 2], [0.5, 200.25, 3.5]])
    assert values.dtype == np.float32
    assert missing == {}


@pytest.mark.parametrize("candidate", [{"rb": 0.25}, {"rb": 0.25, "drb": None}])
def test_missing_drb_falls_back_to_rb(candidate: dict) -> None:
    assert feature_matrix([candidate], ["drb"]).values == np.float32(0.25)


def test_zero_drb_does_not_fall_back() -> None:
    assert feature_matrix([{"rb": 0.25, "drb": 0.0}], ["drb"]).values == 0


def test_norms_go_by_name() -> None:
    candidates = [{"fwhm": 4.0, "ra": 90.0, "drb": 0.5}]
    values, missing = feature_matrix(candidates, ["drb", "ra", "fwhm"], {"fwhm": 2.0, "ra": 360.0})
    np.testing.assert_array_equal(values, [[0.5, 0.25, 2.0]])
    assert missing == {}


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), 1e300, "t"])
def test_a_gap_is_named_and_stays_with_its_alert(value: Any) -> None:
    candidates: list[dict[str, Any]] = [{"fwhm": 2.0, "ra": 1.0}, {"fwhm": value}, {"fwhm": 3.0, "ra": 2.0}]
    values, missing = feature_matrix(candidates, ["fwhm", "ra"], {"fwhm": 1.0})
    assert missing == {1: ["fwhm", "ra"]}
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[[0, 2]], [[2, 1], [3, 2]])


def test_empty_batch() -> None:
    assert feature_matrix([], ["fwhm", "ra"]).values.shape == (0, 2)
