"""The command as a user gives it, against a database of the tests; the tests of a module share one, emptied before each."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emptied import mongo_settings, shared_settings

from kowalski.local import ingest
from kowalski.settings import Database

__all__ = ["mongo_settings", "shared_settings"]

Run = Callable[..., tuple[int, dict[str, Any]]]


class _Server:
    version = "4.0.0"


class _Config:
    server = _Server()

    def __init__(self, database: Database):
        self.database = database


@pytest.fixture
def run_ingest(
    mongo_settings: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs the command with ``--json`` in one process: its status and its figures."""
    monkeypatch.setattr(ingest, "load_config", lambda: _Config(mongo_settings))
    monkeypatch.setattr(ingest.compose, "is_meant", lambda local: False)
    monkeypatch.setattr(ingest, "REJECTS", tmp_path / "rejects")

    def run(*arguments: Any, processes: int = 1) -> tuple[int, dict[str, Any]]:
        parser = argparse.ArgumentParser()
        ingest.add_arguments(parser)
        capsys.readouterr()
        status = ingest.run(parser.parse_args([*map(str, arguments), "--json", "--processes", str(processes)]))
        return status, json.loads(capsys.readouterr().out)

    return run
