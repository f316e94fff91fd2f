"""The program that appends to the tables: run where they are kept, as a process that ends when told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tables_harness import Made, count, expected

from kowalski.config import ROOT, build, isolated_tree
from kowalski.database.processes import Processes
from kowalski.local.programs import programs_of


@pytest.mark.parametrize("enabled", [True, False])
def test_it_belongs_to_a_system_that_keeps_tables(enabled: bool) -> None:
    config = build(isolated_tree({"tables": {"enabled": enabled}}))
    programs = {program.name: program for program in programs_of(config, Path(), None, False, {})}
    assert ("tables" in programs) is enabled
    if enabled:
        assert programs["tables"].command(print)[1:] == ["-m", "kowalski.archive.tables"]
        assert programs["tables"].role == "ingester"


def until(look: Callable[[], Any], patience: float = 60) -> Any:
    """What a look finds, as soon as it finds anything."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return found


def test_it_appends_signs_and_ends_when_told_to(made: Made, tmp_path: Path) -> None:
    settings = {
        "database": made.config.database.model_dump(exclude={"xmatch"}),
        "tables": {"enabled": True, "folder": str(tmp_path / "tables"), "interval": 0.2, "settled": 0},
        "enabled": {name.lower(): name == "PGIR" for name in ("LSST", "PGIR", "TURBO", "WNTR", "ZTF")},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kowalski": settings}))
    environment = os.environ | {"KOWALSKI_CONFIG": str(tmp_path / "config.yaml")}
    wanted = expected(made.database, "PGIR")
    process = subprocess.Popen([sys.executable, "-m", "kowalski.archive.tables"], cwd=ROOT, env=environment)
    try:
        processes = Processes(made.database)
        until(
            lambda: [
                each
                for each in processes.alive()
                if each["program"] == "tables" and each["appended"] == sum(wanted.values())
            ]
        )
        assert count(tmp_path / "tables", "alerts", "PGIR") == wanted["alerts"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert [each for each in processes.alive() if each["program"] == "tables"] == []
    finally:
        process.kill()
        process.wait()
        made.database["tabled"].delete_many({})
