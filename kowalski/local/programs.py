"""The programs of one system on this machine: derived from its settings, each with its command and its readiness."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from kowalski.alerts.survey import enabled_surveys, module_of
from kowalski.errors import ConfigError
from kowalski.local import probes
from kowalski.local.kafka import Kafka
from kowalski.local.mongod import mongod_command
from kowalski.local.ports import is_of_this_machine
from kowalski.settings import LOOPBACK, Config, dask_section
from kowalski.transients.programs import FITTER
from kowalski.watchers.programs import WATCHERS

Progress = Callable[[str], None]
Role = Literal["api", "ingester"]


@dataclass(frozen=True)
class Endpoint:
    """Where a program listens, and the setting that says so."""

    host: str
    port: int
    setting: str


@dataclass(frozen=True)
class Program:
    """One program under the supervisor.

    Attributes
    ----------
    wave : programs of one wave start together when those of the waves before are ready; they stop in the opposite order
    command : its command line, after preparing what it needs on disk
    is_ready : pid -> whether it does its work now
    timeout : s that it may take to become ready
    survey : whose nights alone need it; None: it is always needed
    """

    name: str
    wave: int
    command: Callable[[Progress], list[str]]
    is_ready: Callable[[int], bool]
    endpoints: tuple[Endpoint, ...] = ()
    timeout: float = 90
    survey: str | None = None

    @property
    def role(self) -> Role:
        """The image that runs it where there are containers."""
        return "api" if self.name == "api" else "ingester"


def programs_of(
    config: Config, folder: Path, kafka_controller: int | None, receiver: bool, extra: Mapping[str, Sequence[str]]
) -> list[Program]:
    """All programs of a system, in the order in which they start.

    Parameters
    ----------
    folder : where their data lie
    kafka_controller : the port on which Kafka talks to itself; None: the one after its own
    receiver : whether tools/skyportal_receiver.py stands in for SkyPortal
    extra : further command-line arguments by program
    """
    programs = _mongod(config, folder)
    if receiver:
        programs.append(_receiver(config, folder))
    for survey in enabled_surveys(config.enabled):
        programs += [_dask_cluster(config, survey), *_alert_brokers(config, survey)]
    programs += [
        _poster(config),
        _api(config),
        *_watchers(config),
        *_tables(config),
        *_archive_keeper(config),
        *_night_conductor(config),
        *_fitter(config),
        *_kafka(config, folder, kafka_controller),
    ]
    return sorted((_with_arguments(p, extra.get(p.name, ())) for p in programs), key=lambda program: program.wave)


def _with_arguments(program: Program, arguments: Sequence[str]) -> Program:
    def command(progress: Progress) -> list[str]:
        return [*program.command(progress), *arguments]

    return replace(program, command=command)


def _python(module: str, *arguments: str) -> Callable[[Progress], list[str]]:
    return lambda progress: [sys.executable, "-m", module, *arguments]


def _mongod(config: Config, folder: Path) -> list[Program]:
    """Our own mongod, unless the settings name a server elsewhere."""
    settings, cache_gb = config.database, config.local.mongod_cache_gb
    if settings.srv or settings.host not in LOOPBACK:
        return []
    if settings.replica_set is None:
        raise ConfigError("database.replica_set is null: local mode runs a replica set; remove the setting")
    if settings.tls:
        raise ConfigError(
            "database.tls is true: local mode's own mongod is on loopback, in the clear; name another host"
        )
    name = settings.replica_set
    return [
        Program(
            "mongod",
            0,
            lambda progress: mongod_command(folder / "mongod", settings.port, name, cache_gb),
            lambda pid: probes.mongod_is_ready(settings),
            (Endpoint("127.0.0.1", settings.port, "database.port"),),
        )
    ]


def _kafka(config: Config, folder: Path, controller: int | None) -> list[Program]:
    """Our own Kafka, unless the settings name one elsewhere."""
    host, _, port = config.kafka.bootstrap_servers.rpartition(":")
    if host not in LOOPBACK:
        return []
    local, controller = config.local, controller or int(port) + 1
    kafka = Kafka(
        folder / "kafka", int(port), controller, local.kafka_version, local.kafka_heap, local.kafka_retention_bytes
    )
    return [
        Program(
            "kafka",
            1,
            kafka.prepare,
            lambda pid: kafka.answers(),
            (
                Endpoint("127.0.0.1", kafka.port, "kafka.bootstrap.servers"),
                Endpoint("127.0.0.1", controller, "the port after kafka.bootstrap.servers"),
            ),
        )
    ]


def _receiver(config: Config, folder: Path) -> Program:
    settings, store = config.skyportal, folder / "skyportal.jsonl"
    return Program(
        "skyportal-receiver",
        0,
        _python("tools.skyportal_receiver", "--port", str(settings.port), "--store", str(store)),
        lambda pid: probes.answers_http(f"{settings.url}/_received"),
        (Endpoint("127.0.0.1", settings.port, "skyportal.port"),),
    )


def _poster(config: Config) -> Program:
    return Program("poster", 1, _python("kowalski.outbox"), lambda pid: probes.has_signed(config.database, pid))


def _watchers(config: Config) -> list[Program]:
    """The watchers that have what they need to ask for what they watch; they wait for nothing but MongoDB, and GCN's stream."""
    tns, ops = config.tns, config.ztf_ops
    configured = {
        "tns": bool(tns.bot_id and tns.bot_name and tns.api_key),
        "ztf_ops": bool(ops.username and ops.password),
        "performance_report": config.performance_report.metrics is not None,
        "gcn": config.gcn.enabled,
    }
    return [
        Program(
            WATCHERS[module],
            1,
            _python(f"kowalski.watchers.{module}"),
            lambda pid: probes.has_signed(config.database, pid),
        )
        for module, wanted in configured.items()
        if wanted
    ]


def _night_conductor(config: Config) -> list[Program]:
    """After all that it may stop."""
    if not config.night.auto:
        return []
    ready = partial(probes.has_signed, config.database)
    return [Program("night-conductor", 3, _python("kowalski.night.conductor"), ready)]


def _archive_keeper(config: Config) -> list[Program]:
    """Who closes and uploads files of packets, where packets are kept."""
    if not config.archive.enabled:
        return []
    command = _python("kowalski.archive.packets")
    return [Program("archive-keeper", 1, command, lambda pid: probes.has_signed(config.database, pid))]


def _tables(config: Config) -> list[Program]:
    """What appends to the tables, where they are kept."""
    if not config.tables.enabled:
        return []
    return [
        Program("tables", 1, _python("kowalski.archive.tables"), lambda pid: probes.has_signed(config.database, pid))
    ]


def _fitter(config: Config) -> list[Program]:
    """The program that fits light curves, where these are looked for; without its files it runs, and says so."""
    if not config.transients.enabled:
        return []
    return [Program(FITTER, 1, _python("kowalski.transients"), partial(probes.has_signed, config.database))]


def _api(config: Config) -> Program:
    server = config.server
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # nosec B104  # none is bound here
    return Program(
        "api",
        1,
        _python("kowalski.api"),
        lambda pid: probes.answers_http(f"http://{host}:{server.port}/health/ready"),
        (Endpoint(server.host, server.port, "server.port"),),
    )


def _dask_cluster(config: Config, survey: str) -> Program:
    """Scheduler and workers where the settings' host is this machine; elsewhere workers that join it."""
    key = survey.lower()
    if key not in config.dask:
        raise ConfigError(f"there is no dask_{key} in the settings: {survey} is enabled and needs a dask cluster")
    settings = config.dask_for(survey)
    section, here = dask_section(survey), is_of_this_machine(settings.host)
    dashboard = int(settings.dashboard_address.rpartition(":")[2])
    endpoints = (
        Endpoint(settings.listen or settings.host, settings.scheduler_port, f"{section}.scheduler_port"),
        Endpoint("127.0.0.1", dashboard, f"{section}.dashboard_address"),
    )
    return Program(
        f"dask-cluster-{key}",
        1,
        _python("kowalski.dask_cluster", survey, *(() if here else ("--join",))),
        lambda pid: probes.dask_is_ready(survey, settings),
        endpoints if here else (),
        timeout=180,  # the first start converts the models
        survey=survey,
    )


def _alert_brokers(config: Config, survey: str) -> list[Program]:
    """The broker processes of a survey, which share the partitions of its topics."""
    name, count = f"alert-broker-{survey.lower()}", config.kafka.processes_per_topic.get(survey, 1)
    return [
        Program(
            name if number == 1 else f"{name}-{number}",
            2,
            _python(module_of(survey)),
            lambda pid: probes.has_signed(config.database, pid),
            survey=survey,
        )
        for number in range(1, count + 1)
    ]
