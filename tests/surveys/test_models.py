"""A network runs on every survey whose packets have what it is fed, by settings alone."""

import shutil
from pathlib import Path

import pytest
from packets import packet
from surveys_harness import MakeWorker

from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT, build, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.ml.convert import convert_models
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped

ZTF, PGIR = get_survey("ZTF"), get_survey("PGIR")


def test_the_same_stamps_have_the_same_score_in_another_survey(
    make_worker: MakeWorker, mongo: MongoDatabase, tmp_path: Path
) -> None:
    """A network of triplets, and one that needs fields which this survey does not have: alerts go without its score."""
    for survey in ("ztf", "pgir"):
        shutil.copytree(ROOT / "models" / "stand-ins" / "ztf", tmp_path / survey)
    triplets = {"version": "sim-1", "triplet": True}
    fields = triplets | {"feature_names": settings_tree([], {})["ml"]["ZTF"]["models"]["acai_h"]["feature_names"]}
    changes = {
        "ml": {
            "folder": str(tmp_path),
            "PGIR": {
                "allowed_features": list(fields["feature_names"]),
                "models": {"braai": triplets, "acai_h": fields},
            },
            "ZTF": {"models": {"braai": triplets | {"sha256": None, "url": None}}},
        }
    }
    tree = settings_tree([], {})
    tree["ml"] |= {"backend": "onnx", **changes["ml"]}
    for name in ("ZTF", "PGIR"):
        assert convert_models(build(tree).ml, name) == {}
    night = list(simulate(12, objects=6, seed=8))
    for survey in (ZTF, PGIR):
        made = reshaped(night, survey)
        worker = make_worker(survey, changes)
        assert worker.process([packet(each.data, number) for number, each in enumerate(made)]).stored == 12
    scores = [
        {each["candid"]: each["classifications"] for each in mongo[survey.alerts].find()} for survey in (ZTF, PGIR)
    ]
    for candid, ours in scores[0].items():
        assert scores[1][candid]["braai"] == pytest.approx(ours["braai"], abs=1e-6)
        assert scores[1][candid].keys() == {"braai", "braai_version"}
