"""Networks on each backend: the same scores from HDF5, SavedModel and ONNX; wrong weights are named."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kowalski.config import ROOT
from kowalski.errors import ModelError
from kowalski.ml import backends, convert
from kowalski.ml.backends import OnnxNetwork, TensorFlowNetwork, choose_backend, import_tensorflow, tensorflow_allowed
from kowalski.ml.registry import load_models
from kowalski.ml.weights import Model, find_models, onnx_path
from kowalski.settings import Config

Settings = Callable[..., Config]
Specs = dict[str, dict[str, Any]]
MakeInputs = Callable[[int], dict[str, np.ndarray]]


@pytest.fixture
def both(settings: Settings, specs: Specs, toy_models: Path) -> Model:
    """The toy that takes features and triplet."""
    models, problems = find_models(settings(specs).ml, "ZTF")
    assert problems == {}
    return next(model for model in models if model.name == "both")


def saved_model(model: Model, *, keras: bool) -> Model:
    """The same network as a SavedModel, written by Keras or, as other tools do, with a serving function alone."""
    tf = import_tensorflow()
    import tf_keras

    folder = model.path.with_suffix("")
    network = tf_keras.models.load_model(model.path, compile=False)
    if keras:
        network.save(folder, save_format="tf")
    else:
        signature = [tf.TensorSpec((None, 63, 63, 3), name="zz_image"), tf.TensorSpec((None, 3, 1), name="meta")]
        module = tf.Module()
        module.network = network
        serve = tf.function(lambda image, meta: {"p": network([meta[..., 0], image])}, input_signature=signature)
        tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return dataclasses.replace(model, path=folder)


@pytest.mark.parametrize("keras", [True, False])
def test_saved_models_score_as_their_hdf5_file(
    both: Model, random_inputs: MakeInputs, tmp_path: Path, keras: bool
) -> None:
    inputs = random_inputs(5)
    expected = TensorFlowNetwork(both).predict(inputs)
    assert expected.shape == (5,)
    pb = saved_model(both, keras=keras)
    np.testing.assert_allclose(TensorFlowNetwork(pb).predict(inputs), expected, atol=1e-6)
    convert.convert(pb, tmp_path / "pb.onnx")
    np.testing.assert_allclose(OnnxNetwork(tmp_path / "pb.onnx").predict(inputs), expected, atol=1e-6)


def test_onnx_scores_equal_tensorflow_for_any_number_of_alerts(
    both: Model, random_inputs: MakeInputs, tmp_path: Path
) -> None:
    convert.convert(both, tmp_path / "both.onnx")
    network, original = OnnxNetwork(tmp_path / "both.onnx"), TensorFlowNetwork(both)
    for number in (1, backends.ONNX_BATCH, backends.ONNX_BATCH + 1, 33):
        inputs = random_inputs(number)
        scores = network.predict(inputs)
        np.testing.assert_allclose(scores, original.predict(inputs), atol=1e-6, err_msg=f"of {number}")
        last = {name: values[-1:] for name, values in inputs.items()}
        np.testing.assert_allclose(network.predict(last), scores[-1:], atol=1e-6, err_msg=f"the last of {number}")


@pytest.mark.parametrize("change", [{"inputs": ("triplet", "features")}, {"feature_names": ("drb",)}])
def test_weights_that_take_other_inputs_than_configured_are_refused(both: Model, change: dict) -> None:
    with pytest.raises(ModelError, match="both"):
        TensorFlowNetwork(dataclasses.replace(both, **change))


def test_network_with_several_outputs_is_refused(both: Model, tmp_path: Path) -> None:
    import tf_keras

    inputs = tf_keras.Input((63, 63, 3))
    classes = tf_keras.layers.Dense(5)(tf_keras.layers.Flatten()(inputs))
    tf_keras.Model(inputs, classes).save(tmp_path / "classes.h5")
    with pytest.raises(ModelError, match="5 numbers"):
        TensorFlowNetwork(dataclasses.replace(both, path=tmp_path / "classes.h5", inputs=("triplet",)))


def test_files_that_are_no_networks(both: Model, tmp_path: Path) -> None:
    (tmp_path / "empty.h5").write_bytes(b"nothing")
    (tmp_path / "folder").mkdir()
    for name in ("empty.h5", "folder"):
        with pytest.raises(ModelError, match=name):
            TensorFlowNetwork(dataclasses.replace(both, path=tmp_path / name))
    for name in ("empty.h5", "missing.onnx"):
        with pytest.raises(ModelError, match=name):
            OnnxNetwork(tmp_path / name)


def test_inputs_of_the_wrong_shape_are_a_model_error(both: Model, random_inputs: MakeInputs, tmp_path: Path) -> None:
    convert.convert(both, tmp_path / "both.onnx")
    inputs = random_inputs(2)
    inputs["features"] = inputs["features"][:, :2]
    for network in (OnnxNetwork(tmp_path / "both.onnx"), TensorFlowNetwork(both)):
        with pytest.raises(ModelError):
            network.predict(inputs)


def test_conversion_that_changes_scores_is_refused(
    both: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differ"):
        convert.convert(both, tmp_path / "both.onnx")
    assert not list(tmp_path.glob("both.*onnx")) + list(tmp_path.glob("*.part"))


def test_conversion_happens_once_and_in_another_process(
    settings: Settings, specs: Specs, toy_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = settings(specs)
    assert set(load_models(config, "ZTF").problems) == set(specs)
    settings_file = tmp_path / "config.yaml"
    monkeypatch.setenv("KOWALSKI_CONFIG", str(settings_file))
    settings_file.write_text(
        f"kowalski: {{ml: {{folder: {tmp_path}/models, ZTF: {{allowed_features: [drb, fwhm, age], models: {specs}}}}}}}"
    )
    models, _ = find_models(config.ml, "ZTF")

    convert.ensure_converted(config, "ZTF")

    files = [onnx_path(config.ml, model) for model in models]
    assert all(file.exists() for file in files)
    times = [file.stat().st_mtime_ns for file in files]
    assert convert.convert_models(config.ml, "ZTF") == {}
    assert [file.stat().st_mtime_ns for file in files] == times
    scorer = load_models(config, "ZTF")
    assert scorer.problems == {}
    assert scorer.versions == dict.fromkeys(specs, "v1")
    assert scorer.needs_history


def test_without_tensorflow_and_without_onnx_files_there_are_no_scores(
    settings: Settings, specs: Specs, toy_models: Path, tmp_path: Path
) -> None:
    """In a process where importing TensorFlow is impossible, as where it isn't installed."""
    program = """
import sys
sys.modules.update({"tensorflow": None, "tf_keras": None, "tf2onnx": None})
from kowalski.config import build, settings_tree
from kowalski.ml.convert import ensure_converted
from kowalski.ml.registry import load_models
tree = settings_tree([], {})
tree["ml"] |= {"folder": sys.argv[1], "backend": sys.argv[2], "ZTF": {"models": {"pictures": {"version": "v1"}}}}
config = build(tree)
ensure_converted(config, "ZTF")
scorer = load_models(config, "ZTF")
print(scorer.versions, scorer.problems, scorer.score([{}], [[None] * 3]))
"""

    def run(backend: str, allowed: str) -> str:
        environment = os.environ | {"USE_TENSORFLOW": allowed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", program, str(tmp_path / "models"), backend]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    answer = run("auto", "False")
    assert "USE_TENSORFLOW" in answer
    assert answer.endswith("[{}]\n")
    assert "USE_TENSORFLOW" in run("tensorflow", "False")
    assert "can't be imported" in run("tensorflow", "True")

    models, _ = find_models(settings({"pictures": specs["pictures"]}).ml, "ZTF")
    convert.convert_models(settings({"pictures": specs["pictures"]}).ml, "ZTF")
    assert len(models) == 1
    assert run("auto", "False").startswith("{'pictures': 'v1'} {}")


@pytest.mark.parametrize(
    ("value", "allowed"), [("True", True), ("t", True), ("1", True), ("true", True), ("False", False), ("0", False)]
)
def test_spellings_of_use_tensorflow(monkeypatch: pytest.MonkeyPatch, value: str, allowed: bool) -> None:
    monkeypatch.setenv("USE_TENSORFLOW", value)
    assert tensorflow_allowed() is allowed


def test_choice_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USE_TENSORFLOW", raising=False)
    monkeypatch.setattr(backends, "_sees_gpu", lambda: True)
    assert choose_backend("auto") == "tensorflow"
    assert choose_backend("onnx") == "onnx"
    monkeypatch.setenv("USE_TENSORFLOW", "False")
    assert choose_backend("auto") == "onnx"
    monkeypatch.setattr(backends, "_sees_gpu", lambda: False)
    monkeypatch.setenv("USE_TENSORFLOW", "True")
    assert choose_backend("auto") == "onnx"
    assert choose_backend("tensorflow") == "tensorflow"
