"""supervisord as the parent of all programs: its settings files, its process, and calls to it over its own socket."""

import hashlib
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
import xmlrpc.client  # nosec B411  # of our own supervisord, by its socket
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from kowalski.config import ROOT
from kowalski.errors import LocalError

#: a unix socket's path may have 107 bytes; supervisord adds up to 11 while it makes the socket
LONGEST_SOCKET = 95
LOG_BYTES, LOG_BACKUPS = "20MB", 3
#: what supervisord, and so each of its programs, calls its standard output
OUR_OUTPUT = Path("/dev/fd/1")
#: of supervisord and all its programs: logs and data have alerts of programmes that are not public
OURS_ALONE = 0o077
#: s that a program has between SIGTERM and SIGKILL
STOP_WAIT = 30

DAEMON = """\
[supervisord]
nodaemon = true
logfile = {log}
logfile_maxbytes = {log_bytes}
logfile_backups = 1
pidfile = {pid_file}
identifier = kowalski

[unix_http_server]
file = {socket}
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = programs/*.ini
"""

PROGRAM = """\
[program:{name}]
command = {command}
directory = {directory}
priority = {priority}
autostart = false
autorestart = true
startsecs = 1
startretries = 10
stopsignal = TERM
stopwaitsecs = {stop_wait}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = {log_bytes}
stdout_logfile_backups = {log_backups}
"""


def _plain(value: object) -> str:
    """A value as it is, if supervisord's files can hold it: % begins an expansion there, a blank and # or ; a comment."""
    text = str(value)
    if any(special in text for special in ("%", " #", " ;", "\n")):
        raise LocalError(f"supervisord can't cope with '%', ' #' or ' ;' in names of folders: rename {text!r}")
    return text


class Supervisor:
    """The supervisord of one folder, running or not.

    Parameters
    ----------
    folder : where its settings, its pid and (unless the path is too long for that) its socket lie
    logs : folder of its own log and those of the programs; None: they all write where this process writes
    """

    def __init__(self, folder: Path, logs: Path | None):
        self.folder = folder
        self.logs = logs
        self.pid_file = folder / "supervisord.pid"
        self.socket = _socket_path(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def log_of(self, program: str) -> Path:
        """Where a program's output goes."""
        return self.logs / f"{program}.log" if self.logs else OUR_OUTPUT

    def last_lines(self, program: str, count: int = 20) -> str:
        """The end of a program's log."""
        if self.logs is None or not self.log_of(program).exists():
            return ""
        return "\n".join(self.log_of(program).read_text(errors="replace").splitlines()[-count:])

    # Its process

    def pid(self) -> int | None:
        """supervisord's pid; None when it does not run or answer."""
        with suppress(LocalError):
            return int(self.call("getPID"))
        return None

    def start(self, environment: Mapping[str, str], tied: bool, timeout: float = 20) -> None:
        """supervisord runs and answers.

        Parameters
        ----------
        environment : what its programs will see
        tied : it ends (in good order) when the thread that called this does; otherwise it runs on by itself
        """
        if self.pid() is not None:
            return
        for folder in filter(None, (self.folder / "programs", self.logs, self.socket.parent)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_private(self.socket.parent)
        settings = self.folder / "supervisord.conf"
        settings.write_text(
            DAEMON.format(
                log=_plain(self.logs / "supervisord.log") if self.logs else "/dev/null",
                log_bytes="5MB" if self.logs else 0,
                pid_file=_plain(self.pid_file),
                socket=_plain(self.socket),
            )
        )
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(settings)]
        if tied:
            command = [sys.executable, "-m", "kowalski.local.child", str(os.getpid()), *command]
        said = self.logs / "supervisord.out" if self.logs else None
        with said.open("wb") if said else nullcontext() as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=OURS_ALONE,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we tell it what to do
            )
        deadline = time.monotonic() + timeout
        while self.pid() is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LocalError(f"supervisord does not start: {said.read_text()[-1000:] if said else 'see above'}")
            time.sleep(0.02)

    def shut_down(self, timeout: float) -> bool:
        """Whether supervisord, told to stop its programs and itself, has ended in time."""
        pid = self.pid()
        if pid is None:
            return True
        process = psutil.Process(pid)
        with suppress(LocalError):
            self.call("shutdown")
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            return False
        if self._process:
            self._process.wait()
        with suppress(OSError):  # a short one elsewhere would stay for ever; it is empty now
            self.socket.parent.rmdir()
        return True

    # Its programs

    def add(self, name: str, command: Sequence[str], priority: int) -> None:
        """supervisord knows a program, not started yet; a stopped one of that name is replaced."""
        runner = [sys.executable, "-m", "kowalski.local.child", str(self.pid_file)]
        (self.folder / "programs" / f"{name}.ini").write_text(
            PROGRAM.format(
                name=name,
                command=_plain(shlex.join([*runner, *command])),
                directory=_plain(ROOT),
                priority=priority,
                stop_wait=STOP_WAIT,
                log=_plain(self.log_of(name)),
                log_bytes=LOG_BYTES if self.logs else 0,
                log_backups=LOG_BACKUPS,
            )
        )
        self.call("reloadConfig")
        self.call("removeProcessGroup", name, ignore=Faults.BAD_NAME)
        self.call("addProcessGroup", name)

    def states(self) -> dict[str, dict[str, Any]]:
        """What supervisord says of each program it knows (statename, pid, start, now, ...); empty when it doesn't run."""
        try:
            return {info["name"]: info for info in self.call("getAllProcessInfo")}
        except LocalError:
            return {}

    def start_program(self, name: str) -> None:
        """A program is being started, unless it runs."""
        self.call("startProcess", name, False, ignore=Faults.ALREADY_STARTED)

    def stop_program(self, name: str) -> None:
        """A program is being stopped, unless it is."""
        self.call("stopProcess", name, False, ignore=Faults.NOT_RUNNING)

    def signal_program(self, name: str, signal: str) -> None:
        """A program, if it runs, got a signal, given by its name."""
        self.call("signalProcess", name, signal, ignore=Faults.NOT_RUNNING)

    def call(self, method: str, *arguments: Any, ignore: int | None = None) -> Any:
        """The answer of supervisord to one call; a fault ``ignore`` counts as None.

        Raises
        ------
        LocalError : it does not answer or refuses
        """
        transport = SupervisorTransport(serverurl=f"unix://{self.socket}")
        try:
            with xmlrpc.client.ServerProxy("http://supervisor", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == ignore:
                return None
            raise LocalError(f"supervisord: {method}{arguments}: {fault.faultString}") from None
        except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
            raise LocalError(f"supervisord of {self.folder} does not answer: {error}") from None


def _socket_path(folder: Path) -> Path:
    path = folder / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    short = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kowalski-{os.getuid()}-{short}" / "supervisor.sock"


def _require_private(folder: Path) -> None:
    """Only we may enter a folder (who reaches the socket can run any command as us)."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise LocalError(f"{folder} is not a folder of ours: remove it")
    folder.chmod(0o700)
