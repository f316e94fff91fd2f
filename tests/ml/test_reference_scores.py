"""The published networks on real packets: the reference's scores on every backend, whatever the batch."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kowalski.ml.backends import import_tensorflow
from kowalski.ml.convert import convert_models
from kowalski.ml.registry import load_models
from kowalski.ml.scorer import Scorer
from kowalski.settings import Config

TOLERANCE = 1e-4
Alerts = list[dict[str, Any]]


@pytest.fixture(scope="module")
def shelf(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published weights where Kowalski expects them, one of them also as a SavedModel."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "ztf").mkdir()
    for path in weights.glob("*.h5"):
        shutil.copyfile(path, folder / "ztf" / path.name)
    import_tensorflow()
    import tf_keras

    network = tf_keras.models.load_model(weights / "acai_h.d1_dnn_20201130.h5", compile=False)
    network.save(folder / "ztf" / "acai_h.d1_dnn_20201130", save_format="tf")
    return folder


@pytest.fixture(scope="module")
def scorer(settings_of: Callable[..., Config], shelf: Path, request: pytest.FixtureRequest) -> Scorer:
    backend, file_format = request.param
    config = settings_of(folder=str(shelf), backend=backend)
    if file_format == "pb":
        declared = config.ml.surveys["ZTF"].models["acai_h"].model_dump() | {"format": "pb", "sha256": None}
        section = {"allowed_features": config.ml.surveys["ZTF"].allowed_features, "models": {"acai_h": declared}}
        config = settings_of(folder=str(shelf), backend=backend, ZTF=section)
    if backend == "onnx":
        assert convert_models(config.ml, "ZTF") == {}
    scorer = load_models(config, "ZTF")
    assert scorer.problems == {}
    return scorer


BACKENDS = pytest.mark.parametrize(
    "scorer",
    [(backend, file_format) for backend in ("onnx", "tensorflow") for file_format in ("h5", "pb")],
    indirect=True,
    ids="-".join,
)


@BACKENDS
def test_scores_equal_the_reference(scorer: Scorer, candidates: Alerts, stamps: list, reference: dict) -> None:
    results = scorer.score(candidates, stamps)
    for entry, result in zip(reference.values(), results, strict=True):
        expected = {name: score for name, score in entry["scores"].items() if name in scorer.versions}
        assert {name: result[name] for name in expected} == pytest.approx(expected, rel=0, abs=TOLERANCE)
        assert {name: result[f"{name}_version"] for name in expected} == scorer.versions
    assert not scorer.failures


@BACKENDS
def test_scores_do_not_depend_on_the_batch(scorer: Scorer, candidates: Alerts, stamps: list) -> None:
    together = scorer.score(candidates[:9], stamps[:9])
    for candidate, triplet, expected in zip(candidates, stamps, together, strict=False):
        (alone,) = scorer.score([candidate], [triplet])
        assert alone.keys() == expected.keys()
        for name in scorer.versions:
            assert alone[name] == pytest.approx(expected[name], rel=0, abs=1e-6)
