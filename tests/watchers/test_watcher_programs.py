"""Watchers run under the supervisor where what they watch is configured, and live as the other programs do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from web_stand_in import Asked, Said, Web, serving

from kowalski.config import ROOT, build, isolated_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.processes import Processes
from kowalski.errors import ConfigError, DatabaseUnavailable, KowalskiError, SourceError
from kowalski.local.programs import programs_of
from kowalski.settings import Database
from kowalski.watchers import watch as module
from kowalski.watchers.programs import WATCHERS
from kowalski.watchers.watch import Watch, delay

CONFIGURED: dict[str, Any] = {
    "gcn": {"enabled": True},
    "tns": {"bot_id": 7, "bot_name": "kowalski", "api_key": "secret"},
    "ztf_ops": {"username": "watcher", "password": "secret"},
    "performance_report": {"metrics": "http://127.0.0.1:4000/metrics"},
}


def until(done: Callable[[], Any], patience: float = 60) -> Any:
    deadline = time.monotonic() + patience
    while not (found := done()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


def watchers_of(changes: dict[str, Any]) -> dict[str, list[str]]:
    programs = programs_of(build(isolated_tree(changes)), Path(), None, False, {})
    return {each.name: each.command(print)[1:] for each in programs if each.name in WATCHERS.values()}


def test_what_is_not_configured_does_not_run() -> None:
    assert watchers_of({}) == {}
    assert watchers_of({"tns": {"bot_id": 7, "bot_name": "kowalski"}, "ztf_ops": {"username": "watcher"}}) == {}


def test_what_is_configured_runs_beside_the_brokers() -> None:
    found = watchers_of(CONFIGURED)
    assert found == {name: ["-m", f"kowalski.watchers.{module}"] for module, name in WATCHERS.items()}
    programs = programs_of(build(isolated_tree(CONFIGURED)), Path(), None, False, {})
    assert {each.role for each in programs if each.name in WATCHERS.values()} == {"ingester"}


@pytest.mark.parametrize(("name", "program"), WATCHERS.items())
def test_names_are_those_that_they_sign_with(name: str, program: str) -> None:
    assert program == import_module(f"kowalski.watchers.{name}").PROGRAM


def test_demo_and_tests_do_not_ask_with_the_users_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOWALSKI__TNS__API_KEY", "secret")
    monkeypatch.setenv("KOWALSKI__SLACK__SLACK_BOT_TOKEN", "secret")
    tree = isolated_tree()
    assert tree["tns"]["api_key"] is tree["slack"]["slack_bot_token"] is None


# delays


def test_delays_grow_to_a_bound_and_differ() -> None:
    for failures in range(1, 40):
        longest = min(module.LONGEST_DELAY, module.FIRST_DELAY * 2.0 ** (failures - 1))
        found = {delay(SourceError("x", retriable=True), failures) for _ in range(10)}
        assert all(longest / 2 <= each <= longest for each in found)
        assert len(found) > 1


@pytest.mark.parametrize(
    ("error", "wait"),
    [(SourceError("x", retriable=True, wait_s=900), 900), (SourceError("x"), module.LONGEST_DELAY)],
)
def test_delays_that_are_asked_for(error: KowalskiError, wait: float) -> None:
    assert delay(error, 1) == wait


def test_steps_go_on_after_failures(mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(module, "BEAT", 0.05)
    errors: list[BaseException] = [SourceError("busy", retriable=True), DatabaseUnavailable("away"), SystemExit()]
    seen: list[tuple[int, str | None]] = []
    watched = Watch("test-watcher", mongo)

    def step() -> None:
        seen.append((watched.figures["failures"], watched.figures["problem"]))
        if len(seen) == 2:
            until(lambda: [each["problem"] for each in Processes(mongo).alive()] == ["busy"])
        if len(seen) == 4:
            return
        raise errors.pop(0)

    errors.insert(2, SourceError("again", retriable=True))
    with pytest.raises(SystemExit):
        watched.run(step, 0.01)
    assert seen == [(0, None), (1, "busy"), (2, "away"), (3, "again"), (0, None)]
    assert Processes(mongo).alive() == []
    assert Lease(mongo, "test-watcher", "", 1).holder() is None


def test_wrong_settings_end_it(mongo: MongoDatabase) -> None:
    def step() -> None:
        raise ConfigError("x is wrong")

    with pytest.raises(ConfigError):
        Watch("test-watcher", mongo).run(step, 0.01)


def test_one_works_and_another_takes_over(mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)
    other = Lease(mongo, "test-watcher", "somebody else", 60)
    assert other.take()
    done = threading.Event()
    thread = threading.Thread(target=Watch("test-watcher", mongo).run, args=(done.set, 1, True))
    thread.start()
    until(lambda: Processes(mongo).alive())
    assert not done.wait(0.5)
    other.release()
    assert done.wait(30)
    thread.join()


# as processes


@pytest.fixture
def stalled() -> Iterator[Web]:
    """A server that takes requests, and never answers."""
    end = threading.Event()

    def answer(asked: Asked) -> Said:
        end.wait()
        return Said(503)

    with serving(answer) as web:
        yield web
        end.set()


@pytest.fixture
def start(mongo_settings: Database, stalled: Web, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """A function that starts a watcher as a process of its own; none is left afterwards."""
    tree = {name: dict(section) for name, section in CONFIGURED.items()}
    tree["tns"]["url"], tree["ztf_ops"]["url"] = stalled.url, f"{stalled.url}/allexp.tbl"
    tree["performance_report"] |= {"metrics": f"{stalled.url}/metrics", "folder": str(tmp_path / "reports")}
    tree |= {"database": mongo_settings.model_dump(exclude={"xmatch"}), "server": {"admin_password": "secret"}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"kowalski": tree}))
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "KOWALSKI_CONFIG": str(config)}
        started.append(subprocess.Popen([sys.executable, "-m", f"kowalski.watchers.{name}"], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("name", "program"), [each for each in WATCHERS.items() if each[0] != "gcn"]
)  # that one reads Kafka
def test_it_signs_while_it_asks_and_ends_when_told_to(
    start: Callable[[str], subprocess.Popen[bytes]], stalled: Web, mongo: MongoDatabase, name: str, program: str
) -> None:
    process = start(name)
    until(lambda: stalled.asked)
    [alive] = until(lambda: Processes(mongo).alive())
    assert (alive["program"], alive["pid"], alive["active"]) == (program, process.pid, True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert Processes(mongo).alive() == []
    assert Lease(mongo, program, "", 1).holder() is None
