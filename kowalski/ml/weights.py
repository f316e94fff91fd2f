"""Weights on disk: which file belongs to a configured network, and whether it is the one the settings name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kowalski.alerts.features import DERIVED_FEATURES
from kowalski.config import ROOT
from kowalski.errors import ModelError
from kowalski.settings import ML, ModelSettings

STAND_INS = ROOT / "models" / "stand-ins"
STAND_IN_VERSION = "sim-1"


@dataclass(frozen=True)
class Model:
    """One configured network whose weights are here and are what the settings say.

    Attributes
    ----------
    inputs : ``"features"``, ``"triplet"`` or both, in the order in which the network takes them
    feature_names, feature_norms : as `kowalski.ml.inputs.feature_matrix` takes them; empty where it takes no features
    path : HDF5 file of Keras 2, or folder of a SavedModel
    sha256 : digest of ``path`` (`digest`)
    """

    name: str
    version: str
    inputs: tuple[str, ...]
    feature_names: tuple[str, ...]
    feature_norms: Mapping[str, float]
    path: Path
    sha256: str

    @property
    def needs_history(self) -> bool:
        """Whether features come from the object's history."""
        return not DERIVED_FEATURES.isdisjoint(self.feature_names)


def find_models(ml: ML, survey: str, stand_ins: Path = STAND_INS) -> tuple[list[Model], dict[str, str]]:
    """The survey's networks that can be loaded, and for each of the others, by name, what is wrong with it.

    A stand-in (a toy trained on simulated packets, version ``sim-1``) takes the place of weights that are absent, never
    of wrong ones, and only where ``ml.allow_stand_ins`` says so.
    """
    section = ml.surveys.get(survey)
    models: list[Model] = []
    problems: dict[str, str] = {}
    for name, settings in section.models.items() if section else ():
        try:
            inputs, names = _declared_inputs(settings, section.allowed_features if section else ())
            path, version = _find_weights(ml, survey, name, settings, stand_ins)
            sha256 = digest(path)
            if version == settings.version and settings.sha256 not in (None, sha256):
                raise ModelError(f"{path} is not what the settings name: its sha256 is {sha256}, not {settings.sha256}")
            models.append(Model(name, version, inputs, names, settings.feature_norms or {}, path, sha256))
        except ModelError as error:
            problems[name] = str(error)
    return models, problems


def weights_path(ml: ML, survey: str, name: str, settings: ModelSettings) -> Path:
    """Where the published weights of a network belong: a file for ``h5``, a folder for ``pb``."""
    suffix = ".h5" if settings.format == "h5" else ""
    return ROOT / ml.folder / survey.lower() / f"{name}.{settings.version}{suffix}"


def onnx_path(ml: ML, model: Model) -> Path:
    """Where the ONNX form of a network is cached, by the digest of its weights."""
    return ROOT / ml.folder / "onnx" / f"{model.sha256}.onnx"


def digest(path: Path) -> str:
    """The sha256 of a weights file; of a folder, what this prints there: every file's own sha256, sorted by path.

    ``find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum``
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(item.relative_to(path).as_posix().encode() for item in path.rglob("*") if item.is_file())
    total = hashlib.sha256()
    for name in files:
        total.update(f"{digest(path / name.decode())}  ".encode() + name + b"\n")
    return total.hexdigest()


def _find_weights(ml: ML, survey: str, name: str, settings: ModelSettings, stand_ins: Path) -> tuple[Path, str]:
    published = weights_path(ml, survey, name, settings)
    if published.exists():
        return published, settings.version
    stand_in = stand_ins / survey.lower() / f"{name}.{STAND_IN_VERSION}.h5"
    if ml.allow_stand_ins and stand_in.exists():
        return stand_in, STAND_IN_VERSION
    raise ModelError(f"no weights at {published}: fetch them with ./kowalski.py models")


def _declared_inputs(settings: ModelSettings, allowed: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The inputs and feature names that a network's settings declare."""
    names = allowed if settings.feature_names is True else settings.feature_names
    wanted = {"features": bool(names), "triplet": settings.triplet}
    inputs = tuple(name for name in settings.order if wanted[name])
    if not any(wanted.values()):
        raise ModelError("neither triplet nor feature_names is set: the network would see nothing")
    if len(inputs) != sum(wanted.values()):
        raise ModelError(f"order {list(settings.order)} must name each input once")
    if unknown := sorted(set(names) - set(allowed)):
        raise ModelError(f"feature_names not among allowed_features: {', '.join(unknown)}")
    if unknown := sorted(set(settings.feature_norms or ()) - set(names)):
        raise ModelError(f"feature_norms not among feature_names: {', '.join(unknown)}")
    if any(norm == 0 for norm in (settings.feature_norms or {}).values()):
        raise ModelError("feature_norms: a norm is zero")
    return inputs, names
