"""./kowalski.py status: what runs, and how it is doing."""

import argparse
import json
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kowalski.config import in_container
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.fits import Fits
from kowalski.database.ingests import Ingests
from kowalski.database.nights import Nights
from kowalski.database.processes import Processes
from kowalski.database.quarantine_room import Standing
from kowalski.database.quarantined import Quarantined
from kowalski.database.rematches import Rematches
from kowalski.errors import DatabaseError
from kowalski.local import compose
from kowalski.local.system import LocalSystem

#: what is told of the packet archive
ARCHIVE = ("packets", "gigabytes", "files", "open", "to_upload", "gigabytes_to_upload")
#: what a sign of life tells about the process itself, not its work
ABOUT = ("_id", "program", "survey", "host", "pid", "at", "lags", "models")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--local", action="store_true", help="the processes here, even where there is a docker-compose.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the state of every program and what each says of its work; 0 when all are ready, else 1."""
    if compose.is_meant(arguments.local):
        return _of_containers(arguments.json)
    report = report_of(LocalSystem.running())
    print(json.dumps(report, indent=2, default=str) if arguments.json else _table(report))
    return 0 if report["ready"] else 1


def report_of(system: LocalSystem) -> dict[str, Any]:
    """Programs (`LocalSystem.status`), the signs of life in the database, problems of models, fits, the quarantine, and if all is ready."""
    programs = system.status()
    # with mongod elsewhere the database answers whatever runs here
    mongod_runs = all(each["ready"] for each in programs if each["program"] == "mongod")
    said = _of_database(system) if mongod_runs else _Said()
    night_only = {program.name for program in system.programs if program.survey in said.resting}
    for each in programs:
        if each["program"] in night_only and each["pid"] is None:
            each |= {"state": "resting", "ready": True}
    return {
        "ready": all(each["ready"] for each in programs),
        "folder": str(system.folder),
        "api": f"http://{system.config.server.host}:{system.config.server.port}",
        "posting": system.config.misc.broker,
        "programs": programs,
        "processes": said.processes,
        "unfinished": said.unfinished,
        "archive": _archive(system, said.processes),
        "fits": said.fits,
        "quarantine": {"alarm": "", **said.quarantine, "max_bytes": system.config.broker.quarantine_bytes},
        "model_problems": {p["survey"]: p["model_problems"] for p in said.processes if p.get("model_problems")},
    }


def _archive(system: LocalSystem, processes: list[dict[str, Any]]) -> dict[str, Any]:
    """What those say who keep the packet archives, added up, with an alarm where a disk fills."""
    keepers = [each for each in processes if each["program"] == "archive-keeper" and "packets" in each]
    figures = {name: sum(each[name] for each in keepers) for name in ARCHIVE}
    short = [each for each in keepers if each["gigabytes_free"] < system.config.local.min_free_gb]
    alarms = [f"the packet archive of {each['host']} has {each['gigabytes_free']:.1f} GB of disk left: where it is full no packet is acknowledged" for each in short]  # fmt: skip
    alarms += [each["undelivered_because"] for each in keepers if each["undelivered_because"]]
    return {"enabled": system.config.archive.enabled, **figures, "alarm": "; ".join(alarms)}


def _of_containers(as_json: bool) -> int:
    """The same for containers: each as Docker sees it, then, of those that are built here, what they say of themselves."""
    containers = compose.containers()
    ready = bool(containers) and all(each["ready"] for each in containers)
    inner = {each["service"]: "" for each in containers if each["service"] in compose.BUILT and each["exit"] is None}
    for service in inner:
        inner[service] = compose.said_in(service, "python", "kowalski.py", "status", *(["--json"] if as_json else []))
    if as_json:
        report = {name: json.loads(text) if text else None for name, text in inner.items()}
        print(json.dumps({"ready": ready, "containers": containers, **report}, indent=2))
        return 0 if ready else 1
    for each in containers:
        print(f"{each['service']:12} {each['state']:22} {each['container']}")
    for service, text in inner.items():
        print(f"\nin {service}:\n{text.rstrip()}")
    print("" if containers else "no containers: ./kowalski.py up starts them")
    return 0 if ready else 1


@dataclass
class _Said:
    """What the database says, as far as it can be asked."""

    processes: list[dict[str, Any]] = field(default_factory=list)
    quarantine: dict[str, Any] = field(default_factory=lambda: Standing()._asdict())
    resting: set[str] = field(default_factory=set)
    unfinished: list[str] = field(default_factory=list)
    fits: dict[str, int] | None = None


def _of_database(system: LocalSystem) -> _Said:
    """Signs of life, what quarantine holds, with its alarm, which surveys wait for their next night, and long work that is not at its end."""
    said, database = _Said(), connect(system.config.database, "reader")
    try:
        alive = Processes(database).alive()
        said.processes = [each for each in alive if each["host"] == socket.gethostname()] if in_container() else alive
        said.resting, said.unfinished = Nights(database).resting(), _unfinished(database)
        said.fits = Fits(database).counts() if system.config.transients.enabled else None
        standing = Quarantined(database).standing()
        said.quarantine = standing._asdict() | {"alarm": standing.alarm(system.config.broker.quarantine_bytes)}
    except DatabaseError as error:  # where it is away altogether, the table shows mongod's state
        if said.processes:
            said.quarantine["alarm"] = f"what the database has can't be told: {error}"
    finally:
        database.client.close()
    return said


def _unfinished(database: MongoDatabase) -> list[str]:
    """Ingestions and matchings that go on now, or were interrupted, and how these are gone on with."""
    ingests = [
        f"ingestion into {target}, begun {since:%Y-%m-%d %H:%M} UTC, is not finished: if none runs, ingest --resume goes on with it"
        for target, since in Ingests(database).all_unfinished().items()
    ]
    return ingests + [
        f"matching of {each.survey} with {each.catalog}, begun {each.begun:%Y-%m-%d %H:%M} UTC: {each.done} objects are done; if none runs, rematch {each.catalog} goes on with it"
        for each in Rematches(database).unfinished()
    ]


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'program':24} {'state':10} {'ready':6} {'pid':>8}  up for"]
    for each in report["programs"]:
        uptime = str(timedelta(seconds=each["uptime_s"])) if each["uptime_s"] is not None else ""
        lines.append(
            f"{each['program']:24} {each['state']:10} {'yes' if each['ready'] else 'no':6} {each['pid'] or '':>8}  {uptime}"
        )
    for process in report["processes"]:
        work = ", ".join(
            f"{key} {value}" for key, value in process.items() if key not in ABOUT and not _is_empty(value)
        )
        lines.append(f"{process['program']} {process.get('survey') or ''}: {work}")
    if not report["posting"]:
        lines.append("posting is off (misc.broker): what passes filters is counted, and not sent")
    lines += report["unfinished"]
    archive = report["archive"]
    if archive["enabled"]:
        held = f"{archive['packets']} packets, {archive['gigabytes']:.2f} GB in {archive['files']} files, {archive['open']} of them open"
        waits = f"; {archive['to_upload']} files, {archive['gigabytes_to_upload']:.2f} GB, wait to be uploaded"
        lines.append(f"packet archive: {held}{waits if archive['to_upload'] else ''}")
    if archive["alarm"]:
        lines.append(archive["alarm"])
    if fits := report["fits"]:
        lines.append(
            f"fits of SALT2: {fits['made']} made, {fits['skipped']} skipped for a reason, {fits['waiting']} wait"
        )
    quarantine = report["quarantine"]
    if quarantine["packets"]:
        held = f"{quarantine['packets']} packets, {quarantine['held'] / 1e6:.1f} MB"
        lines.append(f"in quarantine: {held}; ./kowalski.py quarantine list tells why")
    if quarantine["alarm"]:
        lines.append(quarantine["alarm"])
    for survey, problems in report["model_problems"].items():
        lines.append(f"models of {survey}: {problems}")
    return "\n".join(lines)


def _is_empty(value: object) -> bool:
    return value in ({}, [], None)
