"""The faults: what each does to a running system, and how it heals. Each is one small context manager in `FAULTS`."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka.admin import AdminClient, NewPartitions
from distributed import Client
from pymongo.errors import AutoReconnect

from faults.hurt import BROKER, CLUSTER, DISK, SECOND_BROKER, HurtSystem
from faults.nights import Night
from kowalski.config import ROOT
from kowalski.simulation.publish import Publisher


@dataclass
class Round:
    """What a fault may need to know of its round."""

    hurt: HurtSystem
    night: Night
    chance: random.Random
    publisher: Publisher


@dataclass(frozen=True)
class Fault:
    """A fault, done while its context is open.

    Attributes
    ----------
    holds : s that it lasts, at least and at most; 0: it is done at once
    soon_over : the system needs no more than some seconds after it, so that every run of the tests can afford it
    why_not : why it can't be done here; None: it can
    """

    name: str
    does: Callable[[Round], AbstractContextManager[None]]
    holds: tuple[float, float]
    soon_over: bool
    why_not: Callable[[HurtSystem], str | None]


FAULTS: dict[str, Fault] = {}


def fault(
    holds: tuple[float, float] = (0, 0),
    soon_over: bool = True,
    why_not: Callable[[HurtSystem], str | None] = lambda hurt: None,
) -> Callable[[Callable[[Round], Iterator[None]]], Callable[[Round], Iterator[None]]]:
    """Put a generator function into `FAULTS` under its name."""

    def register(does: Callable[[Round], Iterator[None]]) -> Callable[[Round], Iterator[None]]:
        FAULTS[does.__name__] = Fault(does.__name__, contextmanager(does), holds, soon_over, why_not)
        return does

    return register


# kill -9 ---------------------------------------------------------------------------------------------------------


def _killed(name: str, soon_over: bool = True) -> None:
    def kill(round_: Round) -> Iterator[None]:
        process = round_.hurt.process(name)
        process.kill()
        round_.hurt.wait(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, f"{name} dead")
        yield

    kill.__name__ = f"kill_{name.replace('-', '_')}"
    fault(soon_over=soon_over)(kill)


for program in ("dask-worker", CLUSTER, BROKER, "poster", "skyportal-receiver", "mongod"):
    _killed(program)
_killed("kafka", soon_over=False)


@fault(soon_over=False)
def kill_all(round_: Round) -> Iterator[None]:
    """Power fails: every program at once; the supervisor starts them in no order."""
    for process in round_.hurt.system.processes():
        if process.pid != round_.hurt.system.supervisor.pid():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    yield


# MongoDB ---------------------------------------------------------------------------------------------------------


@fault((2, 12))
def mongod_hangs(round_: Round) -> Iterator[None]:
    """mongod does not answer, but its connections stay."""
    process = round_.hurt.process("mongod")
    process.suspend()
    yield
    process.resume()


@fault((10, 10), soon_over=False)
def mongod_stopped(round_: Round) -> Iterator[None]:
    """mongod is stopped in good order for 10 s."""
    _stop(round_.hurt, "mongod")
    yield
    round_.hurt.system.start(["mongod"])


@fault((2, 10))
def mongod_read_only(round_: Round) -> Iterator[None]:
    """mongod refuses every write of everybody but its admin."""
    _block_writes(round_.hurt, True)
    yield
    _block_writes(round_.hurt, False)


def _block_writes(hurt: HurtSystem, blocked: bool) -> None:
    hurt.wait(lambda: bool(hurt.admin.client.admin.command("setUserWriteBlockMode", 1, **{"global": blocked})), "told")


@fault((1, 8))
def mongod_steps_down(round_: Round) -> Iterator[None]:
    """The one member of the replica set is no primary for some seconds, and closes connections."""
    seconds = round_.chance.randint(1, 8)
    with suppress(AutoReconnect):  # it may close ours first
        round_.hurt.admin.client.admin.command("replSetStepDown", seconds, force=True)
    yield


@fault((1, 12), soon_over=False, why_not=lambda hurt: hurt.own_disk)
def disk_full(round_: Round) -> Iterator[None]:
    """MongoDB's disk has no byte left; then it has."""
    data = round_.hurt.data
    used = sum(file.stat().st_blocks * 512 for file in data.rglob("*") if file.is_file())
    _resize(data, f"{used // 1024 + 256}k")
    yield
    _resize(data, DISK)


def _resize(folder: Path, size: str) -> None:
    command = ["mount", "-o", f"remount,size={size}", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


# Kafka and the brokers -------------------------------------------------------------------------------------------


@fault(soon_over=False)
def kafka_restarted(round_: Round) -> Iterator[None]:
    """Kafka is stopped in good order and started again."""
    round_.hurt.system.restart("kafka")
    yield


#: partitions beyond which a topic gets no more, so that a round stays a round
MOST_PARTITIONS = 12


@fault()
def more_partitions(round_: Round) -> Iterator[None]:
    """The topic gets one more partition in the middle of the night, which gets packets before the broker knows it."""
    servers, topic = round_.hurt.system.config.kafka.bootstrap_servers, round_.hurt.topic
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    there = len(admin.list_topics(topic, timeout=30).topics[topic].partitions)
    if there < MOST_PARTITIONS:
        admin.create_partitions([NewPartitions(topic, there + 1)])[topic].result(timeout=30)
    yield
    with round_.hurt.publisher() as fresh:  # one that knows of the new partition
        for number, packet in enumerate(round_.night.messages[:20]):
            fresh.send(topic, packet, f"packet {number}")


@fault((0, 3))
def rebalances(round_: Round) -> Iterator[None]:
    """A second broker of the group comes and goes in good order."""
    round_.hurt.system.start([SECOND_BROKER])
    yield
    _stop(round_.hurt, SECOND_BROKER)


@fault((0, 5))
def two_brokers(round_: Round) -> Iterator[None]:
    """A second broker of the group takes half of the partitions, and is killed."""
    round_.hurt.system.start([SECOND_BROKER])
    yield
    round_.hurt.process(SECOND_BROKER).kill()
    _stop(round_.hurt, SECOND_BROKER)


@fault((12, 16), soon_over=False)
def broker_hangs(round_: Round) -> Iterator[None]:
    """A broker hangs until Kafka gives its partitions to another, then goes on where it was."""
    round_.hurt.system.start([SECOND_BROKER])
    process = round_.hurt.process(BROKER)
    process.suspend()
    yield
    process.resume()
    _stop(round_.hurt, SECOND_BROKER)


@fault()
def night_twice(round_: Round) -> Iterator[None]:
    """The same night is streamed again."""
    yield
    for number, packet in enumerate(round_.night.messages):
        round_.publisher.send(round_.hurt.topic, packet, f"packet {number} again")


# SkyPortal and the poster ----------------------------------------------------------------------------------------


@fault((1, 15))
def skyportal_down(round_: Round) -> Iterator[None]:
    """Nobody listens where SkyPortal was."""
    _stop(round_.hurt, "skyportal-receiver")
    yield
    round_.hurt.system.start(["skyportal-receiver"])


@fault((2, 15))
def skyportal_slow(round_: Round) -> Iterator[None]:
    """SkyPortal does what it is asked, but answers later than anybody waits, or nearly so."""
    round_.hurt.behave(delay=round_.chance.choice((0.5, 1.9, 4.0)))
    yield
    round_.hurt.behave()


@fault((1, 10))
def skyportal_talks_nonsense(round_: Round) -> Iterator[None]:
    """SkyPortal answers what no client can make sense of, whether it did what it was asked or not."""
    kinds = ("html", "truncated", "empty", "list", "null", "foreign", "hollow", "error", "lost", "gateway", "busy")
    round_.hurt.behave(nonsense=round_.chance.choice(kinds), after=round_.chance.random() < 0.5)
    yield
    round_.hurt.behave()


@fault((6, 12), soon_over=False)
def poster_hangs(round_: Round) -> Iterator[None]:
    """The poster hangs for longer than its lease; another takes over, and then both run."""
    hurt = round_.hurt
    process = hurt.process("poster")
    process.suspend()
    second = _program(hurt, "kowalski.outbox")
    try:
        yield
        process.resume()
        hurt.wait(hurt.settled, "all sent while there are two posters")
    finally:
        second.terminate()
        second.wait(30)


def _program(hurt: HurtSystem, module: str) -> subprocess.Popen[bytes]:
    """One more process of a program, beside those of the supervisor."""
    runner = [sys.executable, "-m", "kowalski.local.child", str(os.getpid())]
    with (hurt.system.folder / "logs" / "second.log").open("ab") as log:
        return subprocess.Popen(
            [*runner, sys.executable, "-m", module], cwd=ROOT, env=hurt.system.environment, stdout=log, stderr=log
        )


# The machine -----------------------------------------------------------------------------------------------------

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
NO_FAKETIME = "libfaketime is not installed (Debian's package faketime)"


@fault((1, 5), soon_over=False, why_not=lambda hurt: None if FAKETIME else NO_FAKETIME)
def clock_jumps(round_: Round) -> Iterator[None]:
    """The clock of broker, poster or workers is set wrong, by up to some days, while they run, and right again."""
    hurt, system = round_.hurt, round_.hurt.system
    name = round_.chance.choice((BROKER, "poster", CLUSTER))
    shift = system.folder / "clock"
    shift.write_text("+0")
    [program] = [one for one in system.programs if one.name == name]
    faked = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": shift, "FAKETIME_CACHE_DURATION": 1}
    # as with a real clock, what measures spans of time does not jump
    faked |= {"FAKETIME_DONT_FAKE_MONOTONIC": 1, "PYTHONPATH": f"{_sleeping(system.folder)}:{ROOT}"}
    setting = [f"{key}={value}" for key, value in faked.items()]
    _stop(hurt, name)
    system.supervisor.add(name, ["env", *setting, *program.command(print)], priority=10 + program.wave)
    system.supervisor.start_program(name)
    system.start([name])
    shift.write_text(f"{round_.chance.choice((-200_000, -3600, -30, 30, 3600, 200_000)):+d}")
    if name == "poster":
        hurt.behave(nonsense="gateway")
    yield
    hurt.behave()
    shift.write_text("+0")
    hurt.wait(hurt.settled, "the night done after the clock was set right")
    _stop(hurt, name)
    system.start([name])


def _sleeping(folder: Path) -> Path:
    """A folder with a module that Python imports when it starts: sleep that libfaketime (0.9.10) leaves alone.

    Python's own names the moment until which it sleeps by the clock that does not jump, which libfaketime takes for one of the other.
    """
    made = folder / "sleeping"
    made.mkdir(exist_ok=True)
    (made / "sitecustomize.py").write_text("import select, time\ntime.sleep = lambda seconds: (select.select([], [], [], seconds), None)[1]\n")  # fmt: skip
    return made


@fault()
def worker_out_of_memory(round_: Round) -> Iterator[None]:
    """A worker takes more and more memory, until it has more than it may."""
    hurt = round_.hurt
    worker = hurt.workers()[0]
    with Client(hurt.system.config.dask_for("ZTF").address, set_as_default=False) as client:
        [address] = [key for key, pid in client.run(os.getpid).items() if pid == worker.pid]
        client.run(_hoarder(), workers=[address])
    yield
    hurt.wait(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the hoarder ended")


def _hoarder() -> Callable[[], None]:
    """What takes 2 GB a second, in a thread of its own; made here so that dask sends it whole, as workers have no tests."""

    def take() -> None:
        hoard = []
        while True:
            hoard.append(b"x" * 100_000_000)
            time.sleep(0.05)

    return lambda: threading.Thread(target=take, daemon=True).start()


@fault((1, 10))
def worker_hangs(round_: Round) -> Iterator[None]:
    """A worker does not go on for a while."""
    worker = round_.hurt.workers()[0]
    worker.send_signal(signal.SIGSTOP)
    yield
    worker.send_signal(signal.SIGCONT)


def _stop(hurt: HurtSystem, name: str) -> None:
    """A program has ended in good order, and is not started again by itself."""
    supervisor = hurt.system.supervisor
    supervisor.stop_program(name)
    ended = ("STOPPED", "EXITED", "FATAL")
    hurt.wait(lambda: supervisor.states()[name]["statename"] in ended, f"{name} ended")
