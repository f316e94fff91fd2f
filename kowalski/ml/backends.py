"""What runs a network: ONNX Runtime or TensorFlow, behind one small interface."""

import importlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from kowalski.alerts.cutouts import STAMP_SIZE
from kowalski.errors import ModelError
from kowalski.ml.weights import Model

#: alerts that ONNX Runtime sees at once: their activations stay in the CPU's cache (six networks: 0.83 ms of CPU per
#: alert and 100 MB per worker; 1.06 ms and 630 MB with 128 at once)
ONNX_BATCH = 8

#: for TensorFlow, where the environment doesn't say otherwise: Keras 2, one thread per worker, no more GPU memory than
#: needed (workers share a GPU), warnings only
TENSORFLOW_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

Inputs = Mapping[str, np.ndarray]
"""float32 arrays that a network takes: ``features``, shape (N, number of names), ``triplet``, shape (N, 63, 63, 3)."""


class Backend(NamedTuple):
    """What runs networks, ``onnx`` or ``tensorflow``, and its own version."""

    name: str
    version: str


class Network(Protocol):
    """A loaded network."""

    def predict(self, inputs: Inputs) -> np.ndarray:
        """The scores of N alerts, shape (N,), float32; raises ModelError where the network fails."""
        ...


class OnnxNetwork:
    """A network run by ONNX Runtime on one CPU thread: there is a worker per core, more threads would only compete.

    Parameters
    ----------
    path : file made by `kowalski.ml.convert`; its inputs are named as in `Inputs`, any number of alerts goes in

    Raises
    ------
    ModelError : the file is absent or isn't a network
    """

    def __init__(self, path: Path):
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it tells its makers of each network that is loaded
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with _as_model_error(f"ONNX Runtime can't load {path}"):
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        shapes = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        self._channels_first = shapes.get("triplet", ())[1:2] == [3]

    def predict(self, inputs: Inputs) -> np.ndarray:
        """As `Network.predict`."""
        feeds = dict(inputs)
        if self._channels_first:
            feeds["triplet"] = np.ascontiguousarray(feeds["triplet"].transpose(0, 3, 1, 2))
        batches = range(0, len(next(iter(feeds.values()))), ONNX_BATCH)
        with _as_model_error("ONNX Runtime"):
            parts = [self._run({name: feed[at : at + ONNX_BATCH] for name, feed in feeds.items()}) for at in batches]
        return np.concatenate(parts)

    def _run(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        return self._session.run(None, feeds)[0].reshape(-1)


class TensorFlowNetwork:
    """A network run by TensorFlow, on a GPU where it sees one.

    Attributes
    ----------
    function : traced for any number of alerts; its arguments are ``specs``, in the order of ``model.inputs``

    Raises
    ------
    ModelError : TensorFlow is absent or not allowed, can't load the weights, or they take other inputs than configured
    """

    def __init__(self, model: Model):
        tf = import_tensorflow()
        shapes = {"features": (None, len(model.feature_names)), "triplet": (None, STAMP_SIZE, STAMP_SIZE, 3)}
        self.inputs = model.inputs
        self.specs = [tf.TensorSpec(shapes[name], tf.float32, name=name) for name in model.inputs]
        with _as_model_error(f"TensorFlow can't load {model.path}"):
            load = _saved_model if model.path.is_dir() else _keras_file
            network = load(model.path, model.inputs)
            self.function = tf.function(
                lambda *batch: _one_score_each(network(*batch)), input_signature=self.specs, autograph=False
            )
            self.function.get_concrete_function()

    def predict(self, inputs: Inputs) -> np.ndarray:
        """As `Network.predict`."""
        with _as_model_error("TensorFlow"):
            return self.function(*(inputs[name] for name in self.inputs)).numpy()


def choose_backend(setting: str) -> str:
    """``"onnx"`` or ``"tensorflow"``: what ``ml.backend`` says, or for ``auto`` TensorFlow where it sees a GPU."""
    if setting != "auto":
        return setting
    return "tensorflow" if tensorflow_allowed() and _sees_gpu() else "onnx"


def backend_of(name: str) -> Backend:
    """A backend with its version; its package is loaded, if it was not yet."""
    package = import_tensorflow() if name == "tensorflow" else importlib.import_module("onnxruntime")
    return Backend(name, package.__version__)


def tensorflow_allowed() -> bool:
    """Whether the environment variable ``USE_TENSORFLOW`` is unset or one of true, t and 1, in any case."""
    return os.environ.get("USE_TENSORFLOW", "true").strip().lower() in ("true", "t", "1")


@cache
def import_tensorflow() -> Any:
    """The module (3 to 4 s the first time), with `TENSORFLOW_ENVIRONMENT`; ModelError where it isn't to be had."""
    if not tensorflow_allowed():
        raise ModelError("TensorFlow is needed, and USE_TENSORFLOW forbids it")
    for name, value in TENSORFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        importlib.import_module("tf_keras")
        return importlib.import_module("tensorflow")
    except ImportError as error:
        raise ModelError(f"TensorFlow is needed, and can't be imported: {error}") from error


def _sees_gpu() -> bool:
    """Whether TensorFlow sees a GPU; it is imported only where the system has a device file of one."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    try:
        return bool(import_tensorflow().config.list_physical_devices("GPU"))
    except ModelError:
        return False


def _keras_file(path: Path, inputs: tuple[str, ...]) -> Callable[..., Any]:
    """The network of an HDF5 file as a function of its inputs; Keras keeps their order but not always their names."""
    import_tensorflow()
    network = importlib.import_module("tf_keras").models.load_model(path, compile=False)
    shapes = [tensor.shape for tensor in network.inputs]
    if [_input_kind(shape) for shape in shapes] != list(inputs):
        raise ModelError(f"it takes {[_input_kind(shape) for shape in shapes]}, the settings say {list(inputs)}")

    def call(*batch: Any) -> Any:
        shaped = [_shaped(values, shape) for values, shape in zip(batch, shapes, strict=True)]
        return network(shaped if len(shaped) > 1 else shaped[0], training=False)

    return call


def _saved_model(path: Path, inputs: tuple[str, ...]) -> Callable[..., Any]:
    """The serving function of a SavedModel; its inputs have names and no order, and are told apart by their shapes."""
    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(path))
    specs = loaded.signatures["serving_default"].structured_input_signature[1]
    arguments = {_input_kind(spec.shape): name for name, spec in specs.items()}
    if set(arguments) != set(inputs) or len(specs) != len(inputs):
        raise ModelError(f"it takes {sorted(specs)}, the settings say {list(inputs)}")

    def call(*batch: Any) -> Any:
        named = {arguments[kind]: values for kind, values in zip(inputs, batch, strict=True)}
        shaped = {name: _shaped(values, specs[name].shape) for name, values in named.items()}
        serve = loaded.signatures["serving_default"]  # only `loaded` keeps its variables alive
        return next(iter(serve(**shaped).values()))

    return call


def _shaped(values: Any, shape: Any) -> Any:
    """A batch in the shape that a network declares: features as (N, n, 1), say, instead of (N, n)."""
    given, wanted = tuple(values.shape[1:]), tuple(shape[1:])
    if given == wanted or None in wanted:
        return values
    if math.prod(given) != math.prod(wanted):
        raise ModelError(f"it takes inputs of shape {wanted}, the settings give {given}")
    return import_tensorflow().reshape(values, (-1, *wanted))


def _one_score_each(output: Any) -> Any:
    if math.prod(output.shape[1:]) != 1:
        raise ModelError(f"it gives {math.prod(output.shape[1:])} numbers per alert, not one score")
    return import_tensorflow().reshape(output, (-1,))


def _input_kind(shape: Any) -> str:
    return "triplet" if len(shape) == 4 else "features"


@contextmanager
def _as_model_error(what: str) -> Iterator[None]:
    """Name whatever a foreign library raises about one network: the others go on."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{what}: {error}") from error
    except Exception as error:  # TensorFlow, Keras, h5py and ONNX Runtime have no common root
        raise ModelError(f"{what}: {type(error).__name__}: {str(error).strip().splitlines()[0][:300]}") from error
