"""An ingestion by several processes, killed half way and resumed: nothing is lost, nothing doubled, nothing half there without a mark."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kowalski.database.client import MongoDatabase
from kowalski.database.ingests import INCOMING
from kowalski.ingesters import catalog
from kowalski.settings import Database

from .tables import simulated, write

Run = Callable[..., tuple[int, dict[str, Any]]]
NUMBER = 20_000
PROGRAM = """
import argparse, sys
from pathlib import Path
from kowalski.ingesters import catalog
from kowalski.local import ingest
from kowalski.settings import Database

if __name__ == "__main__":
    class Config:
        database = Database.model_validate_json(sys.argv[1])

    catalog.STRETCH = 5_000
    ingest.load_config = Config
    ingest.compose.is_meant = lambda local: False
    ingest.REJECTS = Path(sys.argv[2])
    parser = argparse.ArgumentParser()
    ingest.add_arguments(parser)
    sys.exit(ingest.run(parser.parse_args(sys.argv[3:])))
"""


@pytest.mark.parametrize("ending", ["fits", "csv"])
def test_it_is_killed_and_resumed(
    ending: str,
    mongo_settings: Database,
    mongo: MongoDatabase,
    run_ingest: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "STRETCH", 5_000)
    (tmp_path / "in").mkdir()
    for part in range(2):
        columns = simulated(NUMBER // 2, seed=part)
        columns["id"] = columns["id"] + part * NUMBER
        write(tmp_path / "in" / f"sky{part}.{ending}", columns)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    arguments = ["catalog", str(tmp_path / "in"), "--collection", "sky", "--id", "id", "--processes", "2", "--json"]
    command = [sys.executable, str(program), mongo_settings.model_dump_json(), str(tmp_path), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        while (
            mongo[INCOMING + "sky"].estimated_document_count() < NUMBER / 4 or not mongo["ingest_stretches"].find_one()
        ):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = mongo[INCOMING + "sky"].count_documents({})
    assert NUMBER / 4 <= left < NUMBER
    assert "sky" not in mongo.list_collection_names()
    status, figures = run_ingest(*arguments[:-3], "--resume")
    assert (status, figures["collections"]) == (0, {"sky": NUMBER})
    # what the killed processes had sent, mongod may have stored after they were counted
    assert 0 < figures["stored"] <= NUMBER - left, "what was there was not stored again"
    assert figures["read"] < NUMBER, "what was marked as done was not read again"
    status, figures = run_ingest(*arguments[:-3], "--verify", processes=2)
    assert (status, figures["read"], figures["lacking"], figures["differing"]) == (0, NUMBER, 0, 0)
