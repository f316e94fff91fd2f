"""A system on this machine: order, failures in words, and nothing left behind however it ends."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kowalski.errors import ConfigError, LocalError
from kowalski.local.ports import free_ports, is_free, require_free
from kowalski.local.programs import Endpoint, Program
from kowalski.local.system import LocalSystem

Make = Callable[..., LocalSystem]

#: a program with a child of its own, which it takes along when told to stop
PARENT = (
    "import signal, subprocess, sys; told = [signal.SIGTERM]; "
    "signal.pthread_sigmask(signal.SIG_BLOCK, told); child = subprocess.Popen(['sleep', '600']); "
    "signal.signal(signal.SIGTERM, lambda *_: (child.kill(), sys.exit(0))); signal.pthread_sigmask(signal.SIG_UNBLOCK, told); "
    "print('at work', flush=True); child.wait()"
)


def program(name: str, code: str = PARENT, wave: int = 0, ready: bool = True, **options: object) -> Program:
    return Program(name, wave, lambda progress: [sys.executable, "-c", code], lambda pid: ready, **options)  # type: ignore[arg-type]


def small(make: Make, *programs: Program, **options: object) -> LocalSystem:
    system = make(**options)
    system.programs = list(programs)
    return system


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_starts_in_order_and_stops_whole(local_system: Make) -> None:
    system = small(local_system, program("first"), program("second", wave=1))
    said: list[str] = []
    with system:
        system.start(progress=said.append)
        wait_until(lambda: len(system.processes()) == 5)  # supervisord, two programs, their children
        wait_until(lambda: [each["state"] for each in system.status()] == ["running", "running"])
        assert all(each["ready"] for each in system.status())
    assert system.processes() == []
    assert [each["state"] for each in system.status()] == ["stopped", "stopped"]


def test_progress_tells_each_step(local_system: Make) -> None:
    system = small(local_system, program("first"), program("second", wave=1))
    said: list[str] = []
    system.start(progress=said.append)
    assert [line.split(" after")[0] for line in said] == [
        "first: starting", "first: ready", "second: starting", "second: ready",
    ]  # fmt: skip


def test_killed_supervisor_leaves_nothing(local_system: Make) -> None:
    system = small(local_system, program("one"), program("two"))
    system.start()
    wait_until(lambda: len(system.processes()) == 5)
    psutil.Process(system.supervisor.pid()).kill()
    wait_until(lambda: system.processes() == [])


def test_killed_program_is_started_again(local_system: Make) -> None:
    system = small(local_system, program("one", "import time; time.sleep(600)"))
    system.start()
    before = system.pid_of("one")
    wait_until(lambda: system.supervisor.states()["one"]["statename"] == "RUNNING")
    system.kill("one")
    wait_until(lambda: system.pid_of("one") not in (0, before))
    wait_until(lambda: system.supervisor.states()["one"]["statename"] == "RUNNING")


def test_owner_killed_everything_goes_down(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "from kowalski.local.system import LocalSystem\nfrom kowalski.local.programs import Program\n"
        f"system = LocalSystem.isolated(Path({str(tmp_path / 'system')!r}))\n"
        f"system.programs = [Program('one', 0, lambda progress: [sys.executable, '-c', {PARENT!r}], lambda pid: True)]\n"
        "system.start()\nprint('up', flush=True)\ntime.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    owner = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    system = LocalSystem.isolated(tmp_path / "system")
    assert len(system.processes()) >= 2
    owner.kill()
    owner.wait()
    wait_until(lambda: system.processes() == [])


def test_failing_program_is_shown_with_its_log(local_system: Make) -> None:
    system = small(
        local_system, program("good"), program("bad", "import sys; sys.exit('the lens is broken')", ready=False)
    )
    with pytest.raises(LocalError, match=r"bad ended while starting[\s\S]*bad.log[\s\S]*the lens is broken"):
        system.start()
    assert system.processes() == []


def test_slow_program_is_shown_with_its_log(local_system: Make) -> None:
    system = small(local_system, program("slow", ready=False, timeout=2))
    with pytest.raises(LocalError, match=r"slow was not ready after 2 s[\s\S]*at work"):
        system.start()
    assert system.processes() == []


def test_interrupted_start_stops_what_had_started(local_system: Make) -> None:
    def interrupted(pid: int) -> bool:
        raise KeyboardInterrupt

    impatient = Program("two", 1, lambda progress: ["sleep", "600"], interrupted)
    system = small(local_system, program("one"), impatient)
    with pytest.raises(KeyboardInterrupt):
        system.start()
    assert system.processes() == []


def test_taken_port_is_one_clear_line(local_system: Make) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = program("api", endpoints=(Endpoint("127.0.0.1", port, "server.port"),))
        with pytest.raises(LocalError) as caught:
            small(local_system, taken).start()
    assert f"port {port} (server.port), which api needs, is taken" in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    require_free(ports[0], "127.0.0.1", "server.port", "api")


def test_too_little_disk_is_refused(local_system: Make) -> None:
    system = small(local_system, program("one"), changes={"local": {"min_free_gb": 1e9}})
    with pytest.raises(LocalError, match=r"GB of free disk.*local\.min_free_gb"):
        system.start()


def test_two_systems_in_one_folder_are_refused(local_system: Make) -> None:
    small(local_system, program("one")).start()
    with pytest.raises(LocalError, match="another system .* runs in"):
        small(local_system, program("one")).start()


def test_published_secret_beyond_loopback_is_refused(local_system: Make) -> None:
    changes = {"server": {"host": "0.0.0.0", "admin_password": "admin"}}
    with pytest.raises(ConfigError, match=r"server\.admin_password"):
        small(local_system, program("one"), changes=changes).start()


def test_nobody_else_reaches_settings_or_supervisor(local_system: Make) -> None:
    system = small(local_system, program("one"))
    system.start()
    socket_file = system.supervisor.socket
    assert stat.S_IMODE(system.config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket_file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600


def test_programs_see_the_system_s_settings_only(local_system: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOWALSKI__DATABASE__HOST", "live.example.org")
    system = small(local_system, program("one"))
    assert system.config.database.host == "127.0.0.1"
    system.start()
    environment = psutil.Process(system.pid_of("one")).environ()
    assert "KOWALSKI__DATABASE__HOST" not in environment
    assert environment["KOWALSKI_CONFIG"] == str(system.config_file)


def test_long_and_odd_folders_work(local_system: Make, tmp_path: Path) -> None:
    folder = tmp_path / "odd (folder) & more" / ("deep" * 20) / "system"
    system = small(local_system, program("one"), folder=folder)
    system.start()
    wait_until(lambda: "at work" in system.supervisor.last_lines("one"))


def test_folders_that_the_supervisor_would_cut_are_refused(local_system: Make, tmp_path: Path) -> None:
    for name in ("night #1", "100% clear"):
        with pytest.raises(LocalError, match="rename"):
            small(local_system, program("one"), folder=tmp_path / name).start()


def test_same_folder_keeps_its_secrets(local_system: Make) -> None:
    first, second = local_system(), local_system()
    assert first.config.database.password != second.config.database.password
    first.programs = []
    first.start()
    first.stop()
    assert local_system().config.database.password == first.config.database.password


def test_programs_that_ignore_sigterm_are_killed(local_system: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kowalski.local.supervisor.STOP_WAIT", 1)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('at work', flush=True); time.sleep(600)"
    system = small(local_system, program("stubborn", stubborn))
    system.start()
    wait_until(lambda: "at work" in system.supervisor.last_lines("stubborn"))
    system.stop()
    assert system.processes() == []


def test_signals_reach_programs(local_system: Make) -> None:
    system = small(local_system, program("one", "import time; time.sleep(600)"))
    system.start()
    process = psutil.Process(system.pid_of("one"))
    system.signal("one", signal.SIGSTOP)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
    system.kill("one")
    assert not process.is_running()


def test_ports_are_taken_from_those_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOWALSKI_PORTS", "23000-23049")
    assert set(free_ports(5)) < set(range(23000, 23050))
    monkeypatch.setenv("KOWALSKI_PORTS", "all")
    with pytest.raises(LocalError, match="must be FIRST-LAST"):
        free_ports(1)
