"""``python -m kowalski.outbox``: it ends when asked, and another takes over when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from outbox_harness import Night, Receiver, until

from kowalski.config import ROOT
from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.processes import Processes
from kowalski.outbox.poster import PROGRAM
from kowalski.settings import Database

Process = subprocess.Popen[bytes]


@pytest.fixture
def start(mongo_settings: Database, receiver: Receiver, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """A function that starts a poster as a process of its own; none is left afterwards."""
    config = tmp_path / "config.yaml"
    settings = {
        "database": mongo_settings.model_dump(exclude={"xmatch"}),
        "skyportal": receiver.settings().model_dump(),
        "outbox": {"lease": 3},
    }
    config.write_text(yaml.safe_dump({"kowalski": settings}))
    started: list[Process] = []

    def start() -> Process:
        environment = {**os.environ, "KOWALSKI_CONFIG": str(config)}
        started.append(subprocess.Popen([sys.executable, "-m", "kowalski.outbox"], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_it_ends_in_good_order_when_asked(
    start: Callable[[], Process], night: Night, receiver: Receiver, mongo: MongoDatabase
) -> None:
    receiver.start("--delay", "0.1")
    night.outbox.add([entry for alert in night.firsts for entry in night.candidates(alert)])
    process = start()
    until(lambda: receiver.received()["candidates"])
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=10) == 0
    assert time.monotonic() - began < 10
    assert Lease(mongo, PROGRAM, "", 1).holder() is None
    assert Processes(mongo).alive() == []
    assert night.outbox.backlog()["pending"] > 0


def test_another_takes_over_when_it_is_killed(start: Callable[[], Process], night: Night, receiver: Receiver) -> None:
    receiver.start("--delay", "0.02")
    night.outbox.add([entry for alert in night.firsts for entry in night.candidates(alert)])
    first, second = start(), start()

    def active() -> int:
        return int((Lease(night.database, PROGRAM, "", 1).holder() or "0").rpartition(":")[2])

    victim = until(active)
    until(lambda: receiver.received()["thumbnails"] > 3)
    os.kill(victim, signal.SIGKILL)
    assert night.outbox.backlog()["pending"] > 0
    until(lambda: night.outbox.backlog()["pending"] == 0)
    assert active() == ({first.pid, second.pid} - {victim}).pop()
    summary = receiver.received()
    assert summary["violations"] == []
    objects = len(night.firsts)
    assert [summary[name] for name in ("candidates", "annotations", "thumbnails")] == [
        2 * objects,
        2 * objects,
        3 * objects,
    ]
    assert night.outbox.backlog()["failed"] == 0
