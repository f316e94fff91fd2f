"""Each program's metrics, for Prometheus: an HTTP server of its own, and a file that says where it is.

A program's port follows from its name (`ports_of`); where another process has it, the program takes the next of its survey's, or any free one. Where it
is stands in a file of the folder ``metrics.targets``, as Prometheus' ``file_sd_configs`` reads them, as long as the program runs, and in
its sign of life.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from prometheus_client import Gauge, start_http_server

from kowalski.alerts.survey import known_surveys
from kowalski.config import ROOT, load_config
from kowalski.log import get_logger
from kowalski.metrics_section import MetricsSection
from kowalski.settings import Config

log = get_logger(__name__)

PROGRAM = Gauge("kowalski_program_info", "1 for the program that this process runs", ["program", "version"])
DISK_FREE = Gauge("kowalski_disk_free_bytes", "Room on the disk of the folder of the data", ["folder"])

#: place of a program's port after ``metrics.first_port``; those of surveys' programs come after these
PLACES = {
    "poster": 0, "night-conductor": 1, "archive-keeper": 2, "tables": 3, "transient-fitter": 4, "tns-watcher": 5, "ztf-ops-watcher": 6,
    "gcn-watcher": 7, "performance-reporter": 8,
}  # fmt: skip
#: ports of each survey: of its dask cluster, then of its brokers
SURVEYS, PER_SURVEY = 10, 10
#: addresses that stand for all of a machine
ANYWHERE = ("0.0.0.0", "::")  # nosec B104

_address: str | None = None


def address() -> str | None:
    """Where this process' metrics are, ``host:port``; None: nowhere."""
    return _address


def ports_of(program: str, settings: MetricsSection) -> list[int]:
    """The ports that a program tries, in this order; 0 is any that is free."""
    first = settings.first_port
    if settings.port is not None:
        return [settings.port]
    if first is None:
        return [0]
    if program in PLACES:
        return [first + PLACES[program], 0]
    for number, survey in enumerate(known_surveys()):
        begin = first + SURVEYS + PER_SURVEY * number
        if program == f"dask-cluster-{survey.name.lower()}":
            return [begin, 0]
        if program == f"alert-broker-{survey.name.lower()}":
            return [*range(begin + 1, begin + PER_SURVEY), 0]
    return [0]


@contextmanager
def exported(program: str) -> Iterator[None]:
    """This process' metrics can be read meanwhile, if the settings say so; that they can't be keeps no program from its work."""
    global _address
    config = load_config()
    settings = config.metrics
    if not settings.enabled:
        yield
        return
    server = _start(program, settings)
    if server is None:
        yield
        return
    _about(program, config)
    _address = f"{reached_at(settings.host)}:{server.server_port}"
    log.info("metrics at http://%s/metrics", _address)
    try:
        with announced(program, _address, settings):
            yield
    finally:
        _address = None
        server.shutdown()
        server.server_close()


@contextmanager
def announced(program: str, where: str, settings: MetricsSection) -> Iterator[None]:
    """Prometheus finds a program's metrics (``host:port``) meanwhile."""
    file = _announce(program, where, settings) if settings.targets and settings.enabled else None
    try:
        yield
    finally:
        if file is not None:
            file.unlink(missing_ok=True)


def _start(program: str, settings: MetricsSection):  # type: ignore[no-untyped-def]  # of a class that the library does not show
    error: OSError | None = None
    for port in ports_of(program, settings):
        try:
            server, _ = start_http_server(port, settings.host)
            return server
        except OSError as refused:
            error = refused
    log.warning("no metrics: %s can't be listened on: %s (metrics.host, metrics.port)", settings.host, error)
    return None


def _about(program: str, config: Config) -> None:
    PROGRAM.clear()
    PROGRAM.labels(program, config.server.version).set(1)
    folder = ROOT / "data" / "local"
    place = next(each for each in (folder, *folder.parents) if each.exists())
    DISK_FREE.labels("data/local").set_function(lambda: shutil.disk_usage(place).free)


def reached_at(host: str) -> str:
    """The name under which others reach this process: in a container, the service's."""
    name = socket.gethostname() if host in ANYWHERE else host
    return f"[{name}]" if ":" in name else name


def _announce(program: str, where: str, settings: MetricsSection) -> Path | None:
    """The file that tells Prometheus of this process; files that processes of this machine left behind are gone."""
    folder, host = ROOT / str(settings.targets), socket.gethostname()
    file = folder / f"{host}-{where.rpartition(':')[2]}.json"
    unfinished = file.with_suffix(f".{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.glob(f"{host}-*.json"):
            with suppress(ValueError, KeyError, IndexError, TypeError, OSError):
                labels = json.loads(other.read_text())[0]["labels"]
                if labels["host"] == host and not psutil.pid_exists(int(labels["pid"])):
                    other.unlink(missing_ok=True)
        labels = {"program": program, "host": host, "pid": str(os.getpid())}
        unfinished.write_text(json.dumps([{"targets": [where], "labels": labels}]))
        unfinished.chmod(0o644)  # Prometheus is another user
        unfinished.replace(file)
    except OSError as error:
        log.warning("Prometheus is not told of these metrics: %s (metrics.targets)", error)
        return None
    return file
