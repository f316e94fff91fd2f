"""One whole system on this machine: its settings, its programs under a supervisor, started and stopped in order."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml

from kowalski.config import (
    ROOT,
    build,
    default_files,
    in_container,
    isolated_tree,
    merge,
    read_settings,
    settings_tree,
)
from kowalski.errors import ConfigError, LocalError
from kowalski.local.ports import free_ports, require_free
from kowalski.local.programs import Program, Progress, programs_of
from kowalski.local.secrets import make_missing, refuse_published, write_private
from kowalski.local.supervisor import STOP_WAIT, Supervisor
from kowalski.log import get_logger

log = get_logger(__name__)

#: in the environment of every process of a system: its folder, and where its programs write
MARK, LOGS = "KOWALSKI_SYSTEM", "KOWALSKI_SYSTEM_LOGS"
GB = 1024**3
#: bytes from which on glibc gives memory back as soon as it is free: batches of 10 MB would leave holes in the heap instead, after 60,000
#: alerts 30 MB of a scheduler and of a broker each; it takes 0.1 CPU ms per alert
MMAP_THRESHOLD = "1048576"
#: supervisord's names of the states in which a program has a process
RUNS = ("STARTING", "RUNNING")


def _silent(line: str) -> None:
    pass


class LocalSystem:
    """MongoDB, Kafka and the programs of Kowalski, all in one folder of this machine.

    Parameters
    ----------
    folder : its data and its effective settings
    tree : the settings, merged
    logs : where its programs write; None: where this process does
    tied : it ends with this process, however that ends; otherwise it runs on until `stop`
    receiver : a stand-in for SkyPortal belongs to it
    kafka_controller : port on which Kafka talks to itself; None: the one after its own
    extra : further command-line arguments by program, e.g. ``{"alert-broker-ztf": ["--obsdate", "20240101"]}``
    """

    def __init__(
        self,
        folder: Path,
        tree: dict[str, Any],
        logs: Path | None,
        tied: bool,
        receiver: bool,
        kafka_controller: int | None = None,
        extra: Mapping[str, Sequence[str]] | None = None,
    ):
        self.folder = folder.resolve()
        self.tree = tree
        self.config = build(tree)
        self.tied = tied
        self.config_file = self.folder / "config.yaml"
        self.supervisor = Supervisor(self.folder, logs and logs.resolve())
        self.programs = programs_of(self.config, self.folder, kafka_controller, receiver, extra or {})
        self._owned = False

    @classmethod
    def isolated(
        cls,
        folder: Path,
        changes: dict[str, Any] | None = None,
        surveys: Iterable[str] = ("ZTF",),
        receiver: bool = True,
        extra: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:
        """A system of its own, on free ports, that shares nothing with the live one and ends with this process.

        Its secrets are kept in its folder, so that a later one finds the same data there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        tree = isolated_tree()
        controller, receiver_port, *ports = free_ports(32)
        merge(tree, _on_ports(tree, ports))
        tree["skyportal"] |= {"host": "127.0.0.1", "port": receiver_port, "protocol": "http", "token": "local"}  # nosec B105  # of the stand-in
        tree["enabled"] = {key: key.upper() in surveys for key in tree["enabled"]}
        tree["misc"]["broker"] = True
        tree["ml"]["allow_stand_ins"] = True
        tree["metrics"] |= {"first_port": None, "targets": str(folder.resolve() / "metrics")}  # beside the live one's
        merge(tree, changes or {})
        before = folder / "config.yaml"
        make_missing(tree, read_settings(before) if before.exists() else {})
        return cls(folder, tree, folder / "logs", True, receiver, controller, extra)

    @classmethod
    def live(cls) -> Self:
        """The system of this folder's settings, which `./kowalski.py up` starts."""
        tree = settings_tree([ROOT / "config.local.yaml", ROOT / "config.yaml"])
        return cls._in_this_folder(tree)

    @classmethod
    def running(cls) -> Self:
        """The same for those who only look at it or stop it: where the settings are wrong now, with those that it runs with."""
        if in_container():
            return cls.of_container()
        try:
            return cls.live()
        except ConfigError as error:
            pristine = settings_tree([ROOT / "config.local.yaml"], environment={})
            effective = ROOT / pristine["local"]["folder"] / "config.yaml"
            if not effective.exists():
                raise
            log.warning("%s; going by what the running system was started with", error)
            return cls._in_this_folder(merge(pristine, read_settings(effective)))

    @classmethod
    def of_container(cls) -> Self:
        """What runs in this container: the programs of its role; they end with the process that starts them."""
        tree = settings_tree(default_files())
        system = cls(ROOT / tree["local"]["folder"], tree, None, tied=True, receiver=False)
        role = os.environ.get("KOWALSKI_ROLE")
        system.programs = [program for program in system.programs if program.role == role]
        if not system.programs:
            raise LocalError(f"KOWALSKI_ROLE is {role}, which must be api or ingester: the images set it")
        return system

    @classmethod
    def around(cls) -> Self | None:
        """The system that this process is a program of, or else what runs in this folder; None: neither is there."""
        if folder := os.environ.get(MARK):
            logs = os.environ.get(LOGS)
            tree = settings_tree([Path(folder) / "config.yaml"], environment={})
            system = cls(Path(folder), tree, Path(logs) if logs else None, tied=False, receiver=False)
        else:
            system = cls.running()
        return system if system.supervisor.pid() is not None else None

    @classmethod
    def _in_this_folder(cls, tree: dict[str, Any]) -> Self:
        local = tree["local"]
        return cls(ROOT / local["folder"], tree, ROOT / local["logs"], tied=False, receiver=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, names: Iterable[str] | None = None, progress: Progress = _silent) -> None:
        """All programs, or those named, are ready; what was ready already is left alone.

        Parameters
        ----------
        progress : is told, line by line, what is being done

        Raises
        ------
        LocalError : one can't start here or did not become ready, with the last lines of its log; a system that ends
            with this process is stopped then
        """
        wanted = [program for program in self.programs if names is None or program.name in set(names)]
        try:
            self._start_supervisor()
            for _, wave in groupby(wanted, key=lambda program: program.wave):
                self._start_wave(list(wave), progress)
        except BaseException:
            if self.tied and self._owned:
                self.stop()
            raise

    def stop(self) -> None:
        """No process of this system is left: each was asked to end, the last wave first, and killed if it did not."""
        wave_of = {program.name: program.wave for program in self.programs}
        names = sorted(self.supervisor.states(), key=lambda name: -wave_of.get(name, 99))
        try:
            for _, wave in groupby(names, key=lambda name: wave_of.get(name, 99)):
                self.halt(list(wave))
            self.supervisor.shut_down(timeout=STOP_WAIT)
        except LocalError as error:
            log.warning("%s: its programs end by themselves", error)
        self._end(self.processes())
        self._owned = False

    def restart(self, name: str, progress: Progress = _silent) -> None:
        """One program was stopped and is ready again."""
        self.halt([name])
        self.start([name], progress)

    def halt(self, names: list[str]) -> None:
        """Programs have ended; those that did not by themselves were killed by the supervisor."""
        for name in names:
            self.supervisor.stop_program(name)
        began = told = time.monotonic()
        while time.monotonic() - began < STOP_WAIT + 10:
            states = self.supervisor.states()
            left = [name for name in names if states.get(name, {}).get("statename") == "STOPPING"]
            if not left:
                return
            if time.monotonic() - told > 1:  # a signal that comes between fork and exec is lost: say it again
                told = time.monotonic()
                for name in left:
                    self.supervisor.signal_program(name, "TERM")
            time.sleep(0.05)

    def change(self, changes: dict[str, Any]) -> None:
        """Programs that start from now on have these settings besides."""
        self.config = build(merge(self.tree, changes))
        self._write_settings()

    def processes(self) -> list[psutil.Process]:
        """All processes of this system that live, children of its programs included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def pid_of(self, name: str) -> int:
        """The pid of a program; 0 when it does not run."""
        return int(self.supervisor.states().get(name, {}).get("pid", 0))

    def signal(self, name: str, number: signal.Signals) -> None:
        """A program that runs got a signal."""
        self.supervisor.signal_program(name, number.name)

    def kill(self, name: str) -> None:
        """A program died by kill -9; the supervisor has noticed and will start it again."""
        if pid := self.pid_of(name):
            process = psutil.Process(pid)
            process.kill()
            process.wait(STOP_WAIT)

    def status(self) -> list[dict[str, Any]]:
        """Name, state, pid and uptime (s) of each program, whether it is ready, and the end of its log if it failed."""
        states = self.supervisor.states()
        return [self._status_of(program, states.get(program.name)) for program in self.programs]

    @property
    def environment(self) -> dict[str, str]:
        """What the programs of this system find in their environment: its settings, and no others."""
        ours = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return ours | {
            "KOWALSKI_CONFIG": str(self.config_file),
            MARK: str(self.folder),
            LOGS: str(self.supervisor.logs or ""),
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            "MALLOC_MMAP_THRESHOLD_": MMAP_THRESHOLD,
        }

    def _start_supervisor(self) -> None:
        running = self.supervisor.pid()
        if sys.platform != "linux":
            raise LocalError("the parts run on Linux only (x86-64): use such a machine, or docker compose")
        if running is None:
            refuse_published(self.config)
            self._make_private()
            self._require_disk()
            self._write_settings()
            self.supervisor.start(self.environment, self.tied)
            self._owned = True
        elif self.tied and not self._owned:
            raise LocalError(f"another system (pid {running}) runs in {self.folder}: stop it, or name another folder")

    def _write_settings(self) -> None:
        write_private(self.config_file, yaml.safe_dump({"kowalski": self.tree}, sort_keys=False))

    def _make_private(self) -> None:
        """Nobody else can look into the folder, where it is ours to say so."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.folder.stat().st_uid == os.getuid():
            self.folder.chmod(0o700)

    def _require_disk(self) -> None:
        free, needed = shutil.disk_usage(self.folder).free / GB, self.config.local.min_free_gb
        if free < needed:
            raise LocalError(
                f"{self.folder} has {free:.1f} GB of free disk, {needed:g} GB are needed (local.min_free_gb): make room"
            )

    def _start_wave(self, wave: list[Program], progress: Progress) -> None:
        states = self.supervisor.states()
        # what has ended and the supervisor starts again by itself is left to it
        alive = (*RUNS, "EXITED", "BACKOFF")
        began = {program.name for program in wave if states.get(program.name, {}).get("statename") not in alive}
        for program in wave:
            if program.name not in began:
                continue
            for endpoint in program.endpoints:
                require_free(endpoint.port, endpoint.host, endpoint.setting, program.name)
            command = program.command(lambda line, name=program.name: progress(f"{name}: {line}"))  # type: ignore[misc]
            self.supervisor.add(program.name, command, priority=10 + program.wave)
            self.supervisor.start_program(program.name)
            progress(f"{program.name}: starting")
        self._wait_until_ready(wave, began, progress)

    def _wait_until_ready(self, wave: list[Program], began: set[str], progress: Progress) -> None:
        """All of a wave are ready; one that was begun now may not end meanwhile, others may be started again."""
        since = time.monotonic()
        pids: dict[str, int] = {}
        waiting = list(wave)
        while waiting:
            states = self.supervisor.states()
            for program in list(waiting):
                state = states.get(program.name) or {"statename": "lost with its supervisor", "pid": 0}
                first_pid = pids.setdefault(program.name, state["pid"])
                runs = state["statename"] in RUNS
                if program.name in began and not (runs and state["pid"] == first_pid):
                    raise self._failure(program, f"ended while starting ({state['statename'].lower()})")
                if runs and program.is_ready(state["pid"]):
                    if program.name in began:
                        progress(f"{program.name}: ready after {time.monotonic() - since:.1f} s")
                    waiting.remove(program)
                elif time.monotonic() - since > program.timeout:
                    raise self._failure(program, f"was not ready after {program.timeout:g} s")
            time.sleep(0.1)

    def _failure(self, program: Program, what: str) -> LocalError:
        log_file = self.supervisor.log_of(program.name)
        lines = self.supervisor.last_lines(program.name)
        return LocalError(f"{program.name} {what}; the end of {log_file}:\n{lines or '(it is empty)'}")

    def _end(self, orphans: list[psutil.Process]) -> None:
        """Processes that nobody looks after any more have ended."""
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stubborn = psutil.wait_procs(orphans, timeout=STOP_WAIT)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                log.warning("%s (pid %d) does not end: killed", process.name(), process.pid)
                process.kill()
        psutil.wait_procs(stubborn, timeout=STOP_WAIT)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.pid != os.getpid() and process.environ().get(MARK) == str(self.folder)
        except psutil.Error:  # gone meanwhile, or another user's
            return False

    def _status_of(self, program: Program, state: dict[str, Any] | None) -> dict[str, Any]:
        about = {"program": program.name, "state": state["statename"].lower() if state else "stopped"}
        if state is None or state["statename"] not in RUNS:
            return about | {"ready": False, "pid": None, "uptime_s": None}
        ready = program.is_ready(state["pid"])
        return about | {"ready": ready, "pid": state["pid"], "uptime_s": state["now"] - state["start"]}


def _on_ports(tree: dict[str, Any], ports: list[int]) -> dict[str, Any]:
    """Changes that put every part of a settings tree on loopback and on ports of its own."""
    api, kafka, mongod, *rest = ports
    changes: dict[str, Any] = {
        "server": {"host": "127.0.0.1", "port": api},
        "kafka": {"bootstrap.servers": f"127.0.0.1:{kafka}", "bootstrap.test.servers": f"127.0.0.1:{kafka}"},
        "database": {"host": "127.0.0.1", "port": mongod},
    }
    clusters = [name for name in tree if name == "dask" or name.startswith("dask_")]
    for number, name in enumerate(clusters):
        scheduler, dashboard = rest[2 * number : 2 * number + 2]
        changes[name] = {"host": "127.0.0.1", "listen": None, "tls": dict.fromkeys(("ca", "cert", "key"))}
        changes[name] |= {"scheduler_port": scheduler, "dashboard_address": f":{dashboard}"}
        changes[name]["n_workers"] = min(2, tree[name]["n_workers"])
    return changes
