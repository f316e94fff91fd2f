"""How fast a catalogue is ingested, and that a kill half way loses nothing: ``python -m benchmarks.ingest [--rows N] [--columns N] [--kill]``.

On a mongod of its own; prints one JSON: rows per second, CPU of the ingester and of mongod, documents and what a check found.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.chain import commit
from kowalski.config import ROOT
from kowalski.database.client import connect
from kowalski.database.ingests import INCOMING
from kowalski.local.system import LocalSystem

FOLDER = ROOT / "data" / "local" / "ingest"
COLLECTION = "simulated"
#: s between two looks at how many rows are there
LOOK = 0.2


def main() -> None:
    """Make a catalogue, ingest it, and print what it took."""
    parser = argparse.ArgumentParser(description="ingest a simulated catalogue")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the catalogue (default 200000)")
    parser.add_argument("--columns", type=int, default=40, help="its columns (default 40)")
    parser.add_argument("--processes", type=int, default=1, help="that ingest it (default 1)")
    parser.add_argument("--kill", action="store_true", help="kill the ingester half way, and resume")
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    system = LocalSystem.isolated(FOLDER)
    try:
        path = FOLDER / "simulated.fits"
        make(path, arguments.rows, arguments.columns)
        system.start(["mongod"])
        print(json.dumps(measure(system, path, arguments), indent=2))
    finally:
        system.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)


def make(path: Path, rows: int, columns: int) -> None:
    """A FITS file of positions all over the sky, identifiers, names, and numbers of which a tenth is missing."""
    from astropy.table import Table

    rng = np.random.default_rng(1)
    table = Table(
        {
            "source_id": np.arange(rows, dtype=np.int64) + 10**15,
            "ra": rng.uniform(0, 360, rows),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, rows))),
            "name": np.array([f"SIM J{index:09d}" for index in range(rows)]),
        }
    )
    for number in range(columns - 4):
        values = rng.normal(size=rows).astype(np.float32 if number % 2 else np.float64)
        values[rng.random(rows) < 0.1] = np.nan
        table[f"c{number:02d}"] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path)


def measure(system: LocalSystem, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds, CPU, and what was found in the end."""
    mongod = psutil.Process(system.pid_of("mongod"))
    before, started = _cpu(mongod), time.monotonic()
    killed = _killed_at(system, path, arguments) if arguments.kill else None
    cpu, figures = _run(system, path, arguments, *(["--resume"] if arguments.kill else []))
    seconds, used = time.monotonic() - started, _cpu(mongod) - before
    _, found = _run(system, path, arguments, "--verify")
    rows = arguments.rows
    return {
        "commit": commit(),
        "rows": rows,
        "columns": arguments.columns,
        "processes": arguments.processes,
        "killed_at": killed,
        "seconds": round(seconds, 1),
        "rows_per_s": round(rows / seconds),
        "rows_per_cpu_s": {"ingester": round(figures["read"] / cpu), "mongod": round(rows / used)},
        "documents": figures["collections"][COLLECTION],
        "read_after_the_kill": figures["read"] if arguments.kill else None,
        "lacking": found["lacking"],
        "differing": found["differing"],
    }


def _command(system: LocalSystem, path: Path, arguments: argparse.Namespace, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "kowalski.py"), "ingest", "catalog", str(path), "--collection", COLLECTION, "--id", "source_id"]  # fmt: skip
    command += ["--processes", str(arguments.processes), "--json", *more]
    environment = {**os.environ, **environment_of(system)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip


def environment_of(system: LocalSystem) -> dict[str, str]:
    """Settings of the system's database, as the environment gives them to a command."""
    database = system.config.database
    names = ("host", "port", "db", "username", "password", "replica_set")
    return {f"KOWALSKI__DATABASE__{name.upper()}": str(getattr(database, name)) for name in names}


def _run(system: LocalSystem, path: Path, arguments: argparse.Namespace, *more: str) -> tuple[float, dict[str, Any]]:
    """Seconds of CPU that the command took with all of its processes, and its figures."""
    before = os.times()
    output, _ = _command(system, path, arguments, *more).communicate()
    after = os.times()
    figures: dict[str, Any] = json.loads(output)
    return after.children_user + after.children_system - before.children_user - before.children_system, figures


def _killed_at(system: LocalSystem, path: Path, arguments: argparse.Namespace) -> int:
    """The command is killed, with its processes, when half of the rows are there; how many are."""
    process = _command(system, path, arguments)
    database = connect(system.config.database)
    incoming = database[INCOMING + COLLECTION]
    while incoming.estimated_document_count() < arguments.rows / 2 and process.poll() is None:
        time.sleep(LOOK)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    there = incoming.count_documents({})
    database.client.close()
    return there


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
