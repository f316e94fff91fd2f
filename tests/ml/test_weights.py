"""Which weights are taken, and which are refused; stand-ins only where allowed."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kowalski.ml.weights import STAND_IN_VERSION, digest, find_models
from kowalski.settings import Config

SPEC = {"version": "v1", "triplet": True}
Settings = Callable[..., Config]


def place(folder: Path, name: str, content: bytes = b"weights") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_right_weights_are_found(settings: Settings, tmp_path: Path) -> None:
    sha256 = place(tmp_path / "models" / "ztf", "braai.v1.h5")
    models, problems = find_models(settings({"braai": SPEC | {"sha256": sha256}}).ml, "ZTF")
    assert problems == {}
    assert [(model.name, model.version, model.inputs, model.sha256) for model in models] == [
        ("braai", "v1", ("triplet",), sha256)
    ]


def test_wrong_weights_are_refused_and_the_others_go_on(settings: Settings, tmp_path: Path) -> None:
    sha256 = place(tmp_path / "models" / "ztf", "braai.v1.h5")
    place(tmp_path / "models" / "ztf", "acai.v1.h5", b"tampered with")
    ml = settings({"acai": SPEC | {"sha256": sha256}, "braai": SPEC | {"sha256": sha256}, "gone": SPEC}).ml
    models, problems = find_models(ml, "ZTF")
    assert [model.name for model in models] == ["braai"]
    assert sha256 in problems["acai"]
    assert "gone.v1.h5" in problems["gone"]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"triplet": False}, "neither"),
        ({"feature_names": ["drb", "nonsense"]}, "nonsense"),
        ({"feature_names": ["drb"], "order": ["features"]}, "order"),
        ({"feature_names": ["drb"], "order": ["features", "features", "triplet"]}, "order"),
        ({"feature_names": ["drb"], "feature_norms": {"fwhm": 2.0}}, "fwhm"),
        ({"feature_names": ["drb"], "feature_norms": {"drb": 0}}, "zero"),
    ],
)
def test_contradictory_settings_are_a_problem_of_that_network(
    settings: Settings, tmp_path: Path, spec: dict, complaint: str
) -> None:
    place(tmp_path / "models" / "ztf", "odd.v1.h5")
    models, problems = find_models(settings({"odd": SPEC | spec}).ml, "ZTF")
    assert models == []
    assert complaint in problems["odd"]


def test_feature_names_true_means_all_allowed(settings: Settings, tmp_path: Path) -> None:
    place(tmp_path / "models" / "ztf", "all.v1.h5")
    (model,), _ = find_models(settings({"all": SPEC | {"feature_names": True}}).ml, "ZTF")
    assert model.feature_names == ("drb", "fwhm", "age", "ra")
    assert model.inputs == ("features", "triplet")
    assert model.needs_history


def test_stand_ins_are_used_only_where_allowed(settings: Settings, tmp_path: Path) -> None:
    stand_ins = tmp_path / "stand-ins"
    place(stand_ins / "ztf", "braai.sim-1.h5", b"a toy")
    spec = {"braai": SPEC | {"sha256": "0" * 64}}

    models, problems = find_models(settings(spec).ml, "ZTF", stand_ins)
    assert models == []
    assert "braai" in problems

    (model,), problems = find_models(settings(spec, allow_stand_ins=True).ml, "ZTF", stand_ins)
    assert model.version == STAND_IN_VERSION
    assert problems == {}


def test_stand_in_never_replaces_published_weights(settings: Settings, tmp_path: Path) -> None:
    stand_ins = tmp_path / "stand-ins"
    place(stand_ins / "ztf", "braai.sim-1.h5", b"a toy")
    sha256 = place(tmp_path / "models" / "ztf", "braai.v1.h5")
    right = settings({"braai": SPEC | {"sha256": sha256}}, allow_stand_ins=True).ml
    assert [model.version for model in find_models(right, "ZTF", stand_ins)[0]] == ["v1"]
    wrong = settings({"braai": SPEC | {"sha256": "0" * 64}}, allow_stand_ins=True).ml
    assert find_models(wrong, "ZTF", stand_ins)[0] == []


def test_survey_without_networks(settings: Settings) -> None:
    assert find_models(settings({}).ml, "PGIR") == ([], {})


def test_digest_of_a_folder_is_what_its_recipe_prints(tmp_path: Path) -> None:
    folder = tmp_path / "model.v1"
    for name in ("saved_model.pb", "variables/variables.index", "variables-2"):
        place((folder / name).parent, Path(name).name, name.encode())
    recipe = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(recipe, shell=True, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert digest(folder) == printed.split()[0]


def test_shipped_settings_name_the_published_weights(settings: Settings, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ztf").symlink_to(weights)
    models, problems = find_models(settings().ml, "ZTF")
    assert problems == {}
    assert {model.name for model in models} == {"braai", "acai_h", "acai_v", "acai_o", "acai_n", "acai_b"}
