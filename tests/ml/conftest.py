"""Toy networks of the published ones' shape, settings that name them, the real weights and packets where there are."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from kowalski.config import build, settings_tree
from kowalski.ml.backends import import_tensorflow
from kowalski.settings import Config

CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
TOYS: dict[str, dict[str, Any]] = {
    "pictures": {"version": "v1", "triplet": True},
    "both": {"version": "v1", "triplet": True, "feature_names": ["drb", "fwhm", "age"]},
    "numbers": {"version": "v1", "triplet": False, "feature_names": ["drb", "fwhm"]},
}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Config]:
    """Settings with these networks and their weights under ``tmp_path``; ``ml`` changes the section's other keys."""

    def make(models: dict[str, Any] | None = None, **ml: Any) -> Config:
        if models is not None:
            ml["ZTF"] = {"allowed_features": ["drb", "fwhm", "age", "ra"], "models": models}
        return settings_with(**{"folder": str(tmp_path / "models")} | ml)

    return make


@pytest.fixture(scope="session")
def settings_of() -> Callable[..., Config]:
    """Settings whose section ``ml`` has these keys."""
    return settings_with


def settings_with(**ml: Any) -> Config:
    tree = settings_tree([], environment={})
    tree["ml"] = tree["ml"] | {"backend": "onnx"} | ml
    return build(tree)


@pytest.fixture(scope="session")
def specs() -> dict[str, dict[str, Any]]:
    """The settings of the toy networks."""
    return TOYS


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``ztf/`` with the weights of `TOYS`, untrained, made by Keras 2."""
    import_tensorflow()
    import tf_keras as keras

    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("toys") / "ztf"
    folder.mkdir()
    for name, spec in TOYS.items():
        inputs, parts = [], []
        if names := spec.get("feature_names"):
            inputs.append(keras.Input((len(names),), name="numbers_in"))
            parts.append(keras.layers.Dense(4, activation="relu")(inputs[-1]))
        if spec["triplet"]:
            inputs.append(keras.Input((63, 63, 3), name="pictures_in"))
            images = keras.layers.SeparableConv2D(4, 5, activation="relu")(inputs[-1])
            parts.append(keras.layers.Flatten()(keras.layers.MaxPooling2D(8)(images)))
        merged = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(merged)).save(folder / f"{name}.v1.h5")
    return folder


@pytest.fixture
def toy_models(toys: Path, tmp_path: Path) -> Path:
    """The toys copied to where `settings` looks for weights."""
    return Path(shutil.copytree(toys, tmp_path / "models" / "ztf"))


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """Per candid: the file of a real packet and the published networks' scores of it."""
    return json.loads((real_weights() / "reference_scores.json").read_text())["alerts"]


@pytest.fixture(scope="session")
def real_alerts(reference: dict[str, Any]) -> list[dict[str, Any]]:
    """The packets of `reference`, in its order."""
    folder = os.environ.get("KOWALSKI_TEST_DATA")
    if not folder:
        pytest.skip("needs real packets: KOWALSKI_TEST_DATA is unset")
    return [_read(Path(folder, "ztf_alerts", entry["file"])) for entry in reference.values()]


@pytest.fixture(scope="session")
def candidates(real_alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [alert["candidate"] for alert in real_alerts]


@pytest.fixture(scope="session")
def stamps(real_alerts: list[dict[str, Any]]) -> list[list[bytes]]:
    return [[alert[cutout]["stampData"] for cutout in CUTOUTS] for alert in real_alerts]


@pytest.fixture(scope="session")
def weights() -> Path:
    return real_weights()


def real_weights() -> Path:
    folder = os.environ.get("KOWALSKI_TEST_MODELS")
    if not folder:
        pytest.skip("needs the published weights: KOWALSKI_TEST_MODELS is unset")
    return Path(folder)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        alert: Any = next(iter(fastavro.reader(file)))
        return alert


@pytest.fixture
def random_inputs() -> Callable[[int], dict[str, np.ndarray]]:
    """Inputs of the toy ``both`` for any number of alerts."""

    def make(number: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(7)
        images = random.normal(0, 0.02, (number, 63, 63, 3)).astype(np.float32)
        return {"features": random.uniform(0, 5, (number, 3)).astype(np.float32), "triplet": images}

    return make
