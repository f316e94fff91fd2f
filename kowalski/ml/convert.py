"""From TensorFlow to ONNX, once per weights: ``python -m kowalski.ml.convert SURVEY``, before the workers start."""

import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kowalski.alerts.cutouts import STAMP_SIZE
from kowalski.config import ROOT, load_config
from kowalski.errors import ModelError
from kowalski.log import get_logger, setup_logging
from kowalski.ml.backends import (
    ONNX_BATCH,
    Inputs,
    OnnxNetwork,
    TensorFlowNetwork,
    choose_backend,
    tensorflow_allowed,
)
from kowalski.ml.weights import STAND_INS, Model, find_models, onnx_path
from kowalski.settings import ML, Config

log = get_logger(__name__)

OPSET = 17
#: largest difference of a score from TensorFlow's on `_check_batch`; the published networks stay below 2e-6
TOLERANCE = 1e-5


def ensure_converted(config: Config, survey: str) -> None:
    """Every network of a survey that can be has its ONNX form, made in a process of its own where it is missing.

    The caller never imports TensorFlow (400 MB that forked workers would keep). Nothing is raised: what couldn't be
    converted is in the log and in the ``problems`` of the scorer.
    """
    if choose_backend(config.ml.backend) == "onnx" and tensorflow_allowed() and _unconverted(config.ml, survey):
        log.info("%s: converting networks to ONNX, once", survey)
        environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": "-1",  # nothing here is worth waking a GPU for
            "KOWALSKI__ML__ALLOW_STAND_INS": str(config.ml.allow_stand_ins).lower(),
        }
        subprocess.run([sys.executable, "-m", "kowalski.ml.convert", survey], check=False, cwd=ROOT, env=environment)


def convert_models(ml: ML, survey: str, stand_ins: Path = STAND_INS) -> dict[str, str]:
    """Make the missing ONNX forms of a survey's networks; what went wrong, by the network's name."""
    _, problems = find_models(ml, survey, stand_ins)
    with _alone(ROOT / ml.folder / "onnx"):
        for model in _unconverted(ml, survey, stand_ins):
            try:
                convert(model, onnx_path(ml, model))
            except ModelError as error:
                problems[model.name] = str(error)
    return problems


def convert(model: Model, path: Path) -> None:
    """Write the ONNX form of a network to ``path``, whole or not at all, once it is seen to score as TensorFlow does.

    Raises
    ------
    ModelError : TensorFlow can't be used or can't load it, it can't be converted, or its scores differ
    """
    reference = TensorFlowNetwork(model)
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        _write(reference, partial)
        batch = _check_batch(model)
        difference = float(np.max(np.abs(OnnxNetwork(partial).predict(batch) - reference.predict(batch))))
        if not difference <= TOLERANCE:
            raise ModelError(f"scores of the ONNX form differ from TensorFlow's by {difference:.1e}")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    log.info("%s %s converted to ONNX; largest difference from TensorFlow %.1e", model.name, model.version, difference)


def _unconverted(ml: ML, survey: str, stand_ins: Path = STAND_INS) -> list[Model]:
    models, _ = find_models(ml, survey, stand_ins)
    return [model for model in models if not onnx_path(ml, model).exists()]


def _write(network: TensorFlowNetwork, path: Path) -> None:
    for talker in ("tf2onnx", "tensorflow"):  # each conversion brings the same notices
        logging.getLogger(talker).setLevel(logging.ERROR)
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Channels first is the order of ONNX Runtime's kernels: saves a transposition per network, 5 % of their time.
    images = [name for name in network.inputs if name == "triplet"]
    try:
        with tf.device("/cpu:0"):
            # frozen before tf2onnx sees it, which takes tensors held by a layer (means of a normalisation) for inputs
            frozen = convert_variables_to_constants_v2(network.function.get_concrete_function())
        tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[f"{name}:0" for name in network.inputs],
            output_names=[frozen.outputs[0].name],
            tensors_to_rename={f"{name}:0": name for name in network.inputs} | {frozen.outputs[0].name: "score"},
            inputs_as_nchw=[f"{name}:0" for name in images],
            opset=OPSET,
            output_path=str(path),
        )
    except Exception as error:  # tf2onnx raises what the graph's operations bring
        raise ModelError(f"tf2onnx: {type(error).__name__}: {error}") from error


def _check_batch(model: Model) -> Inputs:
    """Twice as many random alerts as ONNX Runtime takes at once, the same each time.

    The stamps go from noise to a star in noise, of norm 1 as real ones; the features from small to large: many kinds of
    alerts, since a network's score saturates on most of them, which would hide differences.
    """
    random = np.random.default_rng(20201130)
    number = 2 * ONNX_BATCH
    y, x = np.mgrid[:STAMP_SIZE, :STAMP_SIZE] - STAMP_SIZE // 2
    star = np.exp(-(x**2 + y**2) / 4)[:, :, None]
    images = random.normal(size=(number, STAMP_SIZE, STAMP_SIZE, 3))
    images += star * np.linspace(0, 50, number)[:, None, None, None]
    images /= np.linalg.norm(images, axis=(1, 2), keepdims=True)
    features = random.uniform(-0.1, 1, (number, len(model.feature_names))) * np.geomspace(0.01, 20, number)[:, None]  # nosec B311  # no secret
    batch = {"triplet": images, "features": features}
    return {name: batch[name].astype(np.float32) for name in model.inputs}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time converts into a folder; others wait, and find the work done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(survey: str) -> int:
    """Convert a survey's networks; 1 if one of them couldn't be."""
    setup_logging("convert")
    try:
        problems = convert_models(load_config().ml, survey)
    except OSError as error:
        log.error("ONNX files can't be written: %s", error)
        return 1
    for name, problem in problems.items():
        log.error("%s: %s", name, problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
