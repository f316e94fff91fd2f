"""A watcher's life: a step every few minutes, growing delays while it fails, one active watcher of a name at a time."""

import math
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from prometheus_client import Counter, Gauge

from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.processes import Processes, process_id
from kowalski.errors import ConfigError, DatabaseError, KowalskiError
from kowalski.log import get_logger
from kowalski.program import once_available

log = get_logger(__name__)

STEPS = Counter("kowalski_watcher_steps", "Steps taken, by how they ended", ["program", "outcome"])
FAILURES = Gauge("kowalski_watcher_failures", "Steps in a row that failed", ["program"])
ACTIVE = Gauge("kowalski_watcher_active", "1 where this is the one of its name that works", ["program"])

#: s between signs of life, and s without one after which another watcher of the same name takes over
BEAT, LEASE = 2.0, 30.0
#: s of the first delay after a failure, and of the longest, which an error that no retry mends has at once
FIRST_DELAY, LONGEST_DELAY = 5.0, 3600.0


def stop_on_signals() -> None:
    """SIGTERM and SIGINT end whatever this program does or waits for, as `sys.exit` would there."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(0 if number == signal.SIGTERM else 130)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


class Watch:
    """Runs the steps of one program.

    Every step must be one that can be broken off anywhere and repeated.

    Parameters
    ----------
    lease : of the watchers with the same one is active; None: the program's name

    Attributes
    ----------
    figures : what the signs of life say beside that there is one
    """

    def __init__(self, program: str, database: MongoDatabase, lease: str | None = None):
        self.program = program
        self.figures: dict[str, Any] = {"failures": 0, "problem": None}
        self._processes = Processes(database)
        self._lease = Lease(database, lease or program, process_id(program), LEASE)
        self._active_until = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beats, name="beat", daemon=True)

    def active(self) -> bool:
        """Whether this watcher is the one that works."""
        return time.monotonic() < self._active_until

    def run(self, step: Callable[[], None], interval: float, once: bool = False) -> None:
        """Take a step every ``interval`` s until the program is told to stop; or just one, as soon as no other watcher of the name is at work.

        Raises
        ------
        ConfigError : the settings are wrong, which only a new start mends
        KowalskiError : the one step failed
        """
        with self._alive():
            if once:
                self._until_active()
                return step()
            while True:
                self._until_active()
                time.sleep(self._taken(step, interval))

    def _taken(self, step: Callable[[], None], interval: float) -> float:
        """Take a step; s until the next one."""
        try:
            step()
        except ConfigError:
            raise
        except KowalskiError as error:
            self.figures |= {"failures": self.figures["failures"] + 1, "problem": str(error)[:1000]}
            self._count("failed")
            wait = delay(error, self.figures["failures"])
            log.warning("%s; again in %.0f s", error, wait)
            return wait
        self.figures |= {"failures": 0, "problem": None}
        self._count("done")
        return interval

    def _count(self, outcome: str) -> None:
        STEPS.labels(self.program, outcome).inc()
        FAILURES.labels(self.program).set(self.figures["failures"])

    def _until_active(self) -> None:
        """Return when this watcher is the one that works."""
        patience = time.monotonic() + 3 * BEAT
        while not self.active():
            if not self._beating.is_alive():
                raise RuntimeError("the thread of the signs of life died")
            if time.monotonic() > patience:
                patience = math.inf
                log.info("another %s is at work, or the database away: this one stands by", self.program)
            time.sleep(0.1)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Signs of life are given meanwhile; afterwards the lease is free."""
        once_available(self._processes.ensure_indexes)
        ACTIVE.labels(self.program).set_function(self.active)
        self._beating.start()
        try:
            yield
        finally:
            self._ended.set()
            self._beating.join(timeout=10)
            with suppress(DatabaseError):
                self._lease.release()
                self._processes.leave(self.program)

    def _beats(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                held = self._lease.take()
                self._active_until = began + LEASE / 2 if held else 0.0
                self._processes.beat(self.program, active=held, **self.figures)
            except DatabaseError as error:
                log.warning("no sign of life: %s", error)
            self._ended.wait(BEAT)


def delay(error: KowalskiError, failures: int) -> float:
    """Seconds until the next try after so many failures in a row: twice as many each time, give or take a half, and what the error asks for."""
    if not error.retriable:
        return LONGEST_DELAY
    grown = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 20))
    jittered = grown * random.uniform(0.5, 1.0)  # nosec B311  # no secret
    return max(jittered, error.wait_s or 0.0)
