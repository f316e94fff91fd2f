"""One alert's gap, one bad stamp or one failing network never takes other scores with it."""

import gzip
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from kowalski.errors import ModelError
from kowalski.ml.scorer import Scorer
from kowalski.ml.weights import Model


class MeanFeature:
    """A network that scores the mean of its features, and breaks on a batch that holds the value 13."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if (inputs["features"] == 13).any():
            raise ModelError("unlucky")
        return inputs["features"].mean(axis=1)


class ScienceMaximum:
    """A network that scores the brightest pixel of the science image."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return inputs["triplet"][..., 0].max(axis=(1, 2))


def model(name: str, *names: str, triplet: bool = False, norms: dict[str, float] | None = None) -> Model:
    inputs = (("features",) if names else ()) + (("triplet",) if triplet else ())
    return Model(name, "v1", inputs, names, norms or {}, Path(name), "0" * 64)


def stamp(value: float) -> bytes:
    pixels = np.ones((63, 63), np.float32)
    pixels[31, 31] = value
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels).writeto(buffer)
    return gzip.compress(buffer.getvalue())


PLAIN = model("plain", "ra", "fwhm")
PICTURES = model("pictures", triplet=True)
TRIPLET = [stamp(1.0)] * 3


def test_scores_are_plain_and_carry_versions() -> None:
    scorer = Scorer([(PLAIN, MeanFeature()), (PICTURES, ScienceMaximum())], {"other": "not there"})
    (result,) = scorer.score([{"ra": 1.0, "fwhm": 3.0}], [TRIPLET])
    assert list(result) == ["plain", "plain_version", "pictures", "pictures_version"]
    assert result["plain"] == 2.0
    assert type(result["plain"]) is type(result["pictures"]) is float
    assert result["pictures"] == pytest.approx(1 / 63)
    assert scorer.versions == {"plain": "v1", "pictures": "v1"}
    assert scorer.problems == {"other": "not there"}
    assert not scorer.failures


def test_missing_feature_costs_one_alert_one_score() -> None:
    scorer = Scorer([(PLAIN, MeanFeature()), (PICTURES, ScienceMaximum())], {})
    results = scorer.score([{"ra": 1.0, "fwhm": 3.0}, {"ra": 1.0}, {"ra": 2.0, "fwhm": 2.0}], [TRIPLET] * 3)
    assert [result.get("plain") for result in results] == [2.0, None, 2.0]
    assert all("pictures" in result for result in results)
    assert scorer.failures == {("plain", "features"): 1}


def test_bad_stamp_costs_triplet_scores_only(caplog: pytest.LogCaptureFixture) -> None:
    scorer = Scorer([(PLAIN, MeanFeature()), (PICTURES, ScienceMaximum())], {})
    stamps: list[list[bytes | None]] = [[stamp(9.0)] * 3, [None, None, None], [stamp(99.0)] * 3]
    results = scorer.score([{"ra": 1.0, "fwhm": 3.0}] * 3, stamps)
    assert all(result["plain"] == 2.0 for result in results)
    assert "pictures" not in results[1]
    assert "pictures_version" not in results[1]
    assert results[0]["pictures"] == pytest.approx(9 / np.sqrt(3968 + 9**2)), "each score belongs to its own alert"
    assert results[2]["pictures"] == pytest.approx(99 / np.sqrt(3968 + 99**2))
    assert scorer.failures == {("pictures", "cutout"): 1}
    assert "1 of 3 alerts without score" in caplog.text


def test_network_that_fails_on_a_batch_goes_alert_by_alert() -> None:
    scorer = Scorer([(PLAIN, MeanFeature())], {})
    candidates = [{"ra": float(value), "fwhm": float(value)} for value in (1, 13, 3, 13)]
    results = scorer.score(candidates, [TRIPLET] * 4)
    assert [result.get("plain") for result in results] == [1.0, None, 3.0, None]
    assert scorer.failures == {("plain", "network"): 2}


def test_score_that_is_no_number_is_no_score() -> None:
    class NotANumber:
        def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            return np.where(inputs["features"][:, 0] > 1, np.nan, 0.5).astype(np.float32)

    scorer = Scorer([(PLAIN, NotANumber())], {})
    assert scorer.score([{"ra": 1, "fwhm": 1}, {"ra": 2, "fwhm": 1}], [TRIPLET] * 2) == [
        {"plain": 0.5, "plain_version": "v1"},
        {},
    ]
    assert scorer.failures == {("plain", "network"): 1}


def test_history_is_asked_for_only_where_a_network_needs_it() -> None:
    assert not Scorer([(PLAIN, MeanFeature())], {}).needs_history
    scorer = Scorer([(model("old", "age", "ra", norms={"age": 10.0}), MeanFeature())], {})
    assert scorer.needs_history
    candidates = [{"jd": 2460000.0, "ra": 1.0, "magpsf": 18.0}] * 2
    results = scorer.score(candidates, [TRIPLET] * 2, [[], [{"jd": 2459950.0, "magpsf": 19.0}]])
    assert [result["old"] for result in results] == [0.5, 3.0]
    assert candidates[0].keys() == {"jd", "ra", "magpsf"}, "candidates are stored as they came"


def test_no_networks_and_no_alerts() -> None:
    assert Scorer([], {}).score([{}, {}], [TRIPLET] * 2) == [{}, {}]
    assert Scorer([(PLAIN, MeanFeature()), (PICTURES, ScienceMaximum())], {}).score([], []) == []
