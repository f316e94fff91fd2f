"""Stand-ins for the published networks: small ones, trained on simulated packets whose truth is known.

They make a fresh clone score for real, with toy scores: `models/stand-ins/README.md`.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.decode import decode
from kowalski.config import load_config
from kowalski.errors import ConfigError
from kowalski.ml.backends import import_tensorflow
from kowalski.ml.inputs import feature_matrix, triplets
from kowalski.ml.weights import STAND_IN_VERSION, STAND_INS
from kowalski.simulation.night import simulate
from kowalski.simulation.packets import MISSING
from kowalski.simulation.species import Kind
from kowalski.simulation.tracking import SimulatedPacket

TRUTHS: dict[str, Callable[[Kind], bool]] = {
    "braai": lambda kind: kind != "bogus",
    "acai_h": lambda kind: kind == "supernova",
    "acai_v": lambda kind: kind == "variable",
    "acai_o": lambda kind: kind == "asteroid",
    "acai_n": lambda kind: kind == "nuclear",
    "acai_b": lambda kind: kind == "bogus",
}
"""What each network is to tell, from the kind of a packet: real, hosted, variable, orphan, nuclear, bogus."""

PLACES = ("ra", "dec")
"""Features that a network must not learn from, as it would learn the few fields by heart."""


@dataclass(frozen=True)
class Sample:
    """Simulated alerts as networks see them: triplets (N, 63, 63, 3), features (N, 25), and each one's kind."""

    triplets: np.ndarray
    features: np.ndarray
    kinds: list[Kind]

    def inputs(self, name: str) -> list[np.ndarray]:
        """What a network takes: braai the triplet alone, ACAI features and triplet."""
        return [self.triplets] if name == "braai" else [self.features, self.triplets]

    def truth(self, name: str) -> np.ndarray:
        """1 for the alerts that a network is to find, else 0."""
        return np.array([TRUTHS[name](kind) for kind in self.kinds], np.float32)


def train(folder: Path = STAND_INS, n: int = 3000, epochs: int = 20, seed: int = 1) -> dict[str, float]:
    """Train all stand-ins, write them as ``<folder>/ztf/<name>.sim-1.h5``; their AUC on packets of another seed."""
    import_tensorflow()
    keras = importlib.import_module("tf_keras")
    lessons, exam = sample(simulate(n, n * 3 // 4, seed)), sample(simulate(n // 3, n // 4, seed + 1))
    (folder / "ztf").mkdir(parents=True, exist_ok=True)
    scores = {}
    for name in TRUTHS:
        keras.utils.set_random_seed(seed)
        network = _network(keras, name, lessons)
        network.compile(keras.optimizers.Adam(2e-3), "binary_crossentropy")
        truth = lessons.truth(name)
        network.fit(
            lessons.inputs(name),
            truth,
            64,
            epochs,
            verbose=0,
            class_weight={0: 1.0, 1: (1 - truth).sum() / truth.sum()},
        )
        network.save(folder / "ztf" / f"{name}.{STAND_IN_VERSION}.h5", include_optimizer=False)
        scores[name] = area_under_curve(exam.truth(name), network.predict(exam.inputs(name), verbose=0)[:, 0])
        print(f"{name}: AUC {scores[name]:.4f} on {len(exam.kinds)} packets that it has not seen", flush=True)
    return scores


def sample(packets: Iterable[SimulatedPacket]) -> Sample:
    """The networks' inputs of simulated packets, by the rules of the alert chain."""
    records: list[dict[str, Any]] = []
    kinds: list[Kind] = []
    for packet in packets:
        records += decode(packet.data)
        kinds.append(packet.kind)
    features = feature_matrix([record["candidate"] for record in records], feature_names()).values
    return Sample(triplets([SURVEY.stamps(record) for record in records]), features, kinds)


def feature_names() -> tuple[str, ...]:
    """The features of the ACAI networks, in the order of the settings.

    Raises
    ------
    ConfigError : the settings have no ACAI network, or don't list its features
    """
    section = load_config().ml.surveys.get("ZTF")
    names = section.models["acai_h"].feature_names if section and "acai_h" in section.models else ()
    if names is True or not names:
        raise ConfigError("ml.ZTF.models.acai_h.feature_names must list the features that the stand-ins take")
    return names


def area_under_curve(truth: np.ndarray, score: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counted half (Mann-Whitney)."""
    values, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positive = truth > 0.5
    n, m = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def _network(keras: Any, name: str, lessons: Sample) -> Any:
    """A network of some ten thousand weights; raw features go in, as the published ones take them."""
    layers = keras.layers
    image = keras.Input((63, 63, 3), name="triplet")
    # A flat stamp of unit norm has pixels of 1/63.
    x = layers.Rescaling(63.0)(layers.Cropping2D(12)(image))
    for filters in (8, 16, 24):
        x = layers.MaxPooling2D(2)(layers.Conv2D(filters, 3, activation="relu")(x))
    x = layers.Dense(24, activation="relu")(layers.Flatten()(x))
    inputs = [image]
    if name != "braai":
        features = keras.Input((lessons.features.shape[1],), name="features")
        y = layers.Activation("tanh")(_normalised(keras, lessons.features)(features))
        x = layers.Concatenate()([layers.Dense(32, activation="relu")(y), x])
        inputs = [features, image]
    score = layers.Dense(1, activation="sigmoid", name="score")(layers.Dense(16, activation="relu")(x))
    return keras.Model(inputs, score, name=f"{name}_stand_in")


def _normalised(keras: Any, features: np.ndarray) -> Any:
    """A layer that brings raw features to about unity by their median and quartiles, which -999s don't spoil."""
    names = feature_names()
    known = np.where(features == MISSING, np.nan, features)
    low, middle, high = np.nanpercentile(known, (25, 50, 75), axis=0)
    width = np.maximum(high - low, 1e-3 * np.abs(middle) + 1e-6)
    width[[names.index(place) for place in PLACES]] = 1e9
    return keras.layers.Normalization(mean=middle, variance=width**2)
