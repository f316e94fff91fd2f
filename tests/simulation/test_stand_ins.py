"""The stand-in networks on simulated packets; and what the published ones make of those."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from kowalski.ml.backends import import_tensorflow
from kowalski.ml.weights import STAND_IN_VERSION, STAND_INS
from kowalski.simulation.night import simulate
from kowalski.simulation.training import TRUTHS, Sample, area_under_curve, feature_names, sample


@pytest.fixture(scope="module")
def exam() -> Sample:
    return sample(simulate(300, 250, seed=77))


def scores(weights: Path, name: str, exam: Sample) -> np.ndarray:
    import_tensorflow()
    network = importlib.import_module("tf_keras").models.load_model(weights, compile=False)
    return network.predict(exam.inputs(name), verbose=0)[:, 0]


@pytest.mark.parametrize("name", TRUTHS)
def test_stand_ins_know_the_simulated_sky(name: str, exam: Sample) -> None:
    weights = STAND_INS / "ztf" / f"{name}.{STAND_IN_VERSION}.h5"
    assert weights.stat().st_size < 150_000
    assert area_under_curve(exam.truth(name), scores(weights, name, exam)) > 0.95


@pytest.mark.parametrize(
    ("name", "least"), [("braai.d6_m9", 0.97), *((f"acai_{c}.d1_dnn_20201130", 0.85) for c in "hvonb")]
)
def test_published_networks_see_what_was_simulated(name: str, least: float, exam: Sample, test_models: Path) -> None:
    short = name.split(".")[0]
    assert area_under_curve(exam.truth(short), scores(test_models / f"{name}.h5", short, exam)) > least


def test_stand_ins_take_any_features(exam: Sample) -> None:
    weights = STAND_INS / "ztf" / f"acai_h.{STAND_IN_VERSION}.h5"
    wild = Sample(exam.triplets[:3], np.array([[-999.0], [0.0], [1e9]], np.float32).repeat(25, axis=1), exam.kinds[:3])
    assert np.isfinite(scores(weights, "acai_h", wild)).all()


def test_features_are_those_of_acai() -> None:
    assert len(feature_names()) == 25
    assert feature_names()[:3] == ("drb", "diffmaglim", "ra")


def test_area_under_curve_counts_ties_half() -> None:
    truth = np.array([1, 1, 0, 0], np.float32)
    assert area_under_curve(truth, np.array([0.9, 0.8, 0.2, 0.1])) == 1
    assert area_under_curve(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert area_under_curve(truth, np.array([0.9, 0.3, 0.3, 0.1])) == 0.875
