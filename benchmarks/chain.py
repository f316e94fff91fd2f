"""The whole local stack measured: ``./kowalski.py benchmark``."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import psutil
from rich.console import Console

from benchmarks.archive import SEGMENT_BYTES
from benchmarks.catalogs import Kind
from benchmarks.measured import Measured, Options
from benchmarks.meters import disk_bytes
from benchmarks.packets import packets_of_tonight
from benchmarks.scenarios import SCENARIOS, Scenario
from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT
from kowalski.errors import LocalError
from kowalski.local.system import LocalSystem

FOLDER = ROOT / "data" / "local" / "benchmark"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    sizes = ", ".join(f"{name} {scenario.n}" for name, scenario in SCENARIOS.items())
    parser.add_argument("--scenario", choices=SCENARIOS, default="new", help="what is measured (default new)")
    parser.add_argument("--survey", default="ZTF", help="whose alerts (default ZTF)")
    parser.add_argument("--n", type=int, help=f"alerts to stream (default: {sizes})")
    parser.add_argument("--filters", type=int, default=25, help="active filters (default 25)")
    parser.add_argument(
        "--catalogs", choices=get_args(Kind), default="full",
        help="full: all that the cross-match knows, one with 2 million rows, one with a million (default); small: what surrounds simulated objects",
    )  # fmt: skip
    parser.add_argument(
        "--stored", type=int, default=1_000_000, help="of growth: alerts stored at last (default 1000000)"
    )
    parser.add_argument(
        "--alerts", type=Path, metavar="DIR", help="re-stamp the packets of a folder instead of simulating"
    )
    parser.add_argument("--archive", action="store_true", help="of new: also with the packet archive on, and the ratio")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")


def run(arguments: argparse.Namespace) -> int:
    """Measure the chain on data of its own, and print the figures as JSON."""
    name, scenario = arguments.scenario, SCENARIOS[arguments.scenario]
    options = options_of(arguments, scenario)
    console = Console(stderr=True)
    _free(FOLDER)  # of a run that was killed
    survey = get_survey(arguments.survey)
    packets = packets_of_tonight(survey, scenario.packets(options), options.alerts)
    system = LocalSystem.isolated(FOLDER, settings_of(options), surveys=(survey.name,))
    try:
        services = services_of(system, scenario)
        system.change({"archive": {"enabled": False}})
        system.start(services, progress=lambda line: console.print(f"  {line}", style="dim", highlight=False))
        measured = Measured(system, survey, packets, console)
        figures = {"scenario": name, **figures_of(measured, scenario, options)}
    finally:
        system.stop()
        freed = _free(FOLDER)
    console.print(f"{freed / 1e9:.1f} GB of disk freed")
    text = json.dumps({**figures, "disk_gb": round(freed / 1e9, 2)}, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)
    return 0


def options_of(arguments: argparse.Namespace, scenario: Scenario) -> Options:
    """What a scenario is run with.

    Raises
    ------
    LocalError : it can't be run so
    """
    n = scenario.n if arguments.n is None else arguments.n
    if n < scenario.least:
        why = ", for a steady state" if scenario.least > 1 else ""
        raise LocalError(f"--n {n}: {scenario.least} alerts at least{why}")
    if arguments.filters < 1:
        raise LocalError(f"--filters {arguments.filters}: one filter at least")
    if arguments.alerts and not arguments.alerts.is_dir():
        raise LocalError(f"--alerts {arguments.alerts}: there is no such folder")
    if arguments.archive and arguments.scenario != "new":
        raise LocalError(f"--archive is for the scenario new, not {arguments.scenario}")
    return Options(n, arguments.filters, arguments.alerts, arguments.catalogs, arguments.stored, arguments.archive)


def settings_of(options: Options) -> dict[str, Any]:
    """The settings of the system under measurement; with ``--archive`` its archive is kept, though its workers begin without it."""
    archive = {"enabled": options.archive, "folder": str(FOLDER / "archive"), "segment_bytes": SEGMENT_BYTES}
    return {"archive": archive}


def services_of(system: LocalSystem, scenario: Scenario) -> list[str]:
    """The programs that a scenario needs before it starts the broker itself."""
    if not scenario.chain:
        return ["mongod"]
    others = ("poster", "api", "skyportal-receiver")
    return [each.name for each in system.programs if each.name not in others and not each.name.startswith("alert-broker")]  # fmt: skip


def figures_of(measured: Measured, scenario: Scenario, options: Options) -> dict[str, Any]:
    """One run of a scenario: what it was run with, what it measured, and with which weights and which code."""
    rows = measured.prepare(options.filters, options.catalogs)
    found = scenario.run(measured, options)
    return {
        "survey": measured.survey.name,
        "alerts": options.n,
        "filters": options.filters,
        "packets": "re-stamped" if options.alerts else "simulated",
        "catalogs": options.catalogs,
        **rows,
        "workers": measured.system.config.dask_for(measured.survey.name).n_workers,
        "cores": psutil.cpu_count(),
        **found,
        "weights": measured.weights,
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of this code, ``-dirty`` where something was changed since; None: it is not in a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def _free(folder: Path) -> int:
    """Remove a finished benchmark's data; returns the bytes that it took."""
    size = disk_bytes(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return size
