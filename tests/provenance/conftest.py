"""A database with alerts of several surveys that came through the chain, their packets archived, and who verifies them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emptied import shared_settings
from packets import packet, real_files

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import build, merge, settings_tree
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase, connect
from kowalski.ml.convert import convert_models
from kowalski.provenance.comparing import Row
from kowalski.provenance.verification import Verification, Verifier
from kowalski.settings import Config, Database
from kowalski.simulation.catalogs import catalogs
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped

__all__ = ["shared_settings"]

SEED = 11
#: a filter that all pass, one that looks at scores, history and matches, and one that none passes
PIPELINES: dict[int, list[dict[str, Any]]] = {
    1: [{"$project": {"annotations": {"candid": "$candid"}}}],
    2: [
        {"$match": {"candidate.magpsf": {"$gt": 0}}},
        {"$project": {"annotations": {"jd": "$candidate.jd", "n": {"$size": "$prv_candidates"}, "matches": "$cross_matches.Gaia_EDR3"}}},
    ],
    3: [{"$match": {"candidate.magpsf": {"$gt": 99}}}],
}  # fmt: skip


class World:
    """The settings, the database, and what came through the chain."""

    def __init__(self, config: Config, database: MongoDatabase):
        self.config, self.database = config, database
        self.verifier = Verifier(config)

    def take(self, survey: Survey, packets: list[Packet]) -> list[int]:
        """Take packets through the chain; the candids of their alerts."""
        worker = AlertWorker(survey, self.config)
        worker.outbox.ensure_indexes()
        before = {each["candid"] for each in self.database[survey.alerts].find({}, {"candid": 1})}
        report = worker.process(packets)
        assert report.quarantined == {}
        recorder: Any = worker.filters.recorder
        recorder.flush()
        if worker.archive is not None:
            worker.archive.close()
        worker.alerts.collection.database.client.close()
        worker.filters.filters.reader.client.close()
        return [each["candid"] for each in self.database[survey.alerts].find().sort("_id", 1) if each["candid"] not in before]  # fmt: skip

    def put_filters(self, survey: Survey) -> None:
        """Filters of the survey's own, with numbers of its own."""
        begun = datetime.now(UTC) - timedelta(minutes=5)
        for number, pipeline in PIPELINES.items():
            filter_id = 100 * len(survey.name) + ord(survey.name[0]) * 1000 + number
            version = {"fid": f"v{number}", "pipeline": json.dumps(pipeline), "created_at": begun}
            document = {
                "filter_id": filter_id, "group_id": 7, "catalog": survey.alerts, "permissions": [1, 2, 3], "active": True,
                "active_fid": f"v{number}", "fv": [version], "last_modified": begun, "autosave": {"active": True, "comment": "saved"},
            }  # fmt: skip
            self.database["filters"].replace_one({"filter_id": filter_id}, document, upsert=True)

    def verify(self, candid: int, survey: Survey | None = None) -> Verification:
        return self.verifier.verify(candid, survey)

    def differing(self, candid: int) -> list[Row]:
        """The rows of an alert that are not the same."""
        return [each for each in self.verify(candid).rows if each.verdict != "same"]


@pytest.fixture(scope="module")
def world(shared_settings: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("provenance")
    tree = settings_tree([], {})
    models = tree["ml"]["ZTF"]["models"]
    tree["ml"] |= {"folder": str(folder / "models"), "backend": "onnx", "allow_stand_ins": True}
    tree["ml"]["ZTF"]["models"] = {name: models[name] for name in ("braai", "acai_h")}
    changes = {
        "misc": {"broker": True},
        "tables": {"enabled": True},
        "kafka": {"output": {"bootstrap.servers": "127.0.0.1:9"}},
        "filters": {"max_time_ms": 20_000},
        "archive": {"enabled": True, "folder": str(folder / "archive")},
    }
    config = build(merge(tree, changes))
    database_settings = shared_settings.model_copy(update={"xmatch": config.database.xmatch})
    config = config.model_copy(update={"database": database_settings})
    assert convert_models(config.ml, "ZTF") == {}
    database = connect(shared_settings)
    for name, rows in catalogs(SEED, 60).items():
        Catalogs(database).replace(name, rows)
    found = World(config, database)
    yield found
    found.verifier.close()
    database.client.close()


def real(data: Path, survey: Survey) -> list[Packet]:
    """A survey's real packets as messages of its stream."""
    files = real_files(data, survey.name.lower())
    return [packet(each.read_bytes(), place, f"night_of_{survey.name}") for place, each in enumerate(files)]


def simulated(number: int, survey: Survey | None = None, seed: int = SEED) -> list[Packet]:
    """Simulated packets, several of one object among them."""
    made = simulate(number, number // 3, seed=seed, night="20240301")
    chosen = made if survey is None or survey.name == "ZTF" else reshaped(made, survey)
    topic = "ztf_20240301_programid1" if survey is None or survey.name == "ZTF" else f"night_of_{survey.name}"
    return [packet(each.data, place, topic) for place, each in enumerate(chosen)]


ZTF = get_survey("ZTF")
