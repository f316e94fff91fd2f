"""The poster: drains the outbox, in order per object, several objects at once, one active poster at a time.

What can't be sent now is tried again with growing delays, for as long as it takes; what is refused is kept with the
answer.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from prometheus_client import Counter, Gauge

from kowalski.database.leases import Lease
from kowalski.database.outbox import Entry, Outbox, Target
from kowalski.database.processes import Processes
from kowalski.errors import DatabaseError, KowalskiError
from kowalski.log import get_logger
from kowalski.outbox.publisher import ResultPublisher
from kowalski.settings import Outbox as Settings
from kowalski.telemetry import CONTEXT, span

log = get_logger(__name__)

PROGRAM = "poster"

SENT = Counter("kowalski_poster_alerts_done", "Alerts of which all that was asked for is sent, or was refused")
FAILED = Counter(
    "kowalski_poster_alerts_failed",
    "Alerts that were closed for an error that no retry mends; refusals are entries in the state failed",
)
POSTPONED = Counter("kowalski_poster_alerts_postponed", "Attempts that are to be made again")
ENTRIES = Gauge("kowalski_poster_outbox_entries", "Entries of the outbox that are not sent", ["state"])
ACTIVE = Gauge("kowalski_poster_active", "1 where this poster is the one that posts")
AILING = Gauge(
    "kowalski_poster_skyportal_ailing", "1 while SkyPortal's breaker is open: it failed several times in a row"
)
PAUSE = Gauge("kowalski_poster_skyportal_pause_seconds", "For how long SkyPortal is left alone")

#: s between signs of life
BEAT = 2.0
#: s that a stopping poster gives to the steps in hand; Docker and supervisord kill after 10
GRACE = 8.0
#: s of the first delay before an entry is tried again, and the longest while the destination is down
FIRST_DELAY = 0.5
LONGEST_DELAY_OF_OUTAGE = 30.0
#: objects handed out per thread: enough to keep it busy, few enough that tonight's need not wait behind a backlog
QUEUED_PER_THREAD = 4


class Destination(Protocol):
    """Where entries go."""

    def send(self, entries: list[Entry], may_continue: Callable[[], bool]) -> bool:
        """Send what the entries of one alert ask for and close them; False: told to stop. Retriable errors: not now."""

    def refresh(self, may_continue: Callable[[], bool]) -> None:
        """Learn what others have sent there."""

    def pause_s(self) -> float:
        """For how many seconds nothing is to be sent."""

    def ailing(self) -> bool:
        """Whether it failed lately, so that one object at a time is enough."""

    def figures(self) -> dict[str, Any]:
        """What else is to be known of it, for `status`."""

    def close(self) -> None:
        """Nothing more is to be sent."""


class Poster:
    """Sends what is due while it holds the lease; otherwise it stands by."""

    def __init__(
        self,
        outbox: Outbox,
        lease: Lease,
        processes: Processes,
        destination: Destination,
        settings: Settings,
        publisher: ResultPublisher | None = None,
    ):
        self._outbox = outbox
        self._lease = lease
        self._processes = processes
        self._destination = destination
        self._settings = settings
        self._publisher = publisher
        self._stop_asked = False
        self._stopping = threading.Event()
        self._active_until = 0.0
        self._queue: queue.SimpleQueue[Target] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._in_hand: set[Target] = set()
        self._sent = 0

    def stop(self) -> None:
        """Make `run` return after the steps in hand; safe to call from a signal handler."""
        self._stop_asked = True

    def active(self) -> bool:
        """Whether this poster is the one that posts."""
        return time.monotonic() < self._active_until

    def run(self) -> None:
        """Post until `stop`; then give the lease back.

        Raises
        ------
        RuntimeError : a thread died of an error that nobody foresaw; the process is to be started anew
        """
        ACTIVE.set_function(self.active)
        threads = [self._start(self._beats, "beat"), self._start(self._refreshes, "refresh")]
        threads += [self._start(self._work, f"post-{number}") for number in range(self._settings.threads)]
        if self._publisher is not None:
            threads.append(self._start(self._publishes, "publish"))
        while not self._stop_asked:
            if dead := [thread.name for thread in threads if not thread.is_alive()]:
                raise RuntimeError(f"thread {dead[0]} died")
            try:
                self._hand_out()
            except DatabaseError as error:
                log.warning("%s", error)
                self._stopping.wait(1)
            with self._changed:
                self._changed.wait(self._settings.poll_interval)
        self._stopping.set()
        self._finish(threads[0])

    def _start(self, loop: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=loop, name=name, daemon=True)  # a request that hangs can't hold up the end
        thread.start()
        return thread

    def _finish(self, beats: threading.Thread) -> None:
        with self._changed:
            done = self._changed.wait_for(lambda: not self._in_hand, timeout=GRACE)
        beats.join(timeout=1)
        self._destination.close()
        try:
            self._processes.leave(PROGRAM)
            if done:  # else the lease ends by itself, after the last step
                self._lease.release()
        except DatabaseError as error:
            log.warning("left without goodbye: %s", error)

    # Handing out

    def _hand_out(self) -> None:
        """Put objects that are due before the threads, tonight's first."""
        if not self.active() or self._destination.pause_s() > 0:
            return
        places = 1 if self._destination.ailing() else self._settings.threads * QUEUED_PER_THREAD
        with self._changed:
            busy = set(self._in_hand)
        if len(busy) > places // 2:
            return
        due = self._outbox.objects_due(datetime.now(UTC), limit=places + len(busy))
        for target in [target for target in due if target not in busy][: places - len(busy)]:
            with self._changed:
                self._in_hand.add(target)
            self._queue.put(target)

    def _work(self) -> None:
        while True:
            target = self._queue.get()
            try:
                self._post(target)
            except DatabaseError as error:
                log.warning("%s %s (%s): %s", *target, error)
                self._stopping.wait(1)
            with self._changed:
                self._in_hand.discard(target)
                if len(self._in_hand) <= self._settings.threads:
                    self._changed.notify_all()

    # One object

    def _may_continue(self) -> bool:
        return self.active() and not self._stop_asked

    def _post(self, target: Target) -> None:
        """Send what is pending of an object, alert by alert, up to the first that has to wait."""
        for entries in by_alert(self._outbox.pending_of(target)):
            waits = any(entry["next_attempt_at"] > datetime.now(UTC) for entry in entries)
            if waits or not self._may_continue():
                return
            about = {"survey": target.survey, "object_id": target.objectId, "candid": entries[0]["candid"]}
            with span("post", entries[0].get(CONTEXT), **about) as here:
                done = self._send(entries)
                here.note(done=done)
            if not done:
                return

    def _send(self, entries: list[Entry]) -> bool:
        """Send one alert; False when it has to be tried again."""
        before = _steps_done(entries)
        try:
            if not self._destination.send(entries, self._may_continue):
                return False
        except DatabaseError:
            raise
        except KowalskiError as error:
            if not error.retriable:
                self._fail(entries, error)
                return True
            stalled = entries[0].get("stalled", 0) + 1 if _steps_done(entries) == before else 0
            self._postpone(entries, error, stalled)
            return False
        except Exception as bug:  # of one alert: it must not keep the others waiting, nor be lost
            log.exception("%s: closed as failed", entries[0]["_id"])
            self._fail(entries, bug)
            return True
        self._sent += 1
        SENT.inc()
        return True

    def _fail(self, entries: list[Entry], error: Exception) -> None:
        FAILED.inc()
        self._outbox.fail([entry["_id"] for entry in entries], _description(error))

    def _postpone(self, entries: list[Entry], error: KowalskiError, stalled: int) -> None:
        longest = LONGEST_DELAY_OF_OUTAGE if self._destination.ailing() else self._settings.max_backoff
        delay = error.wait_s or delay_s(stalled, longest)
        POSTPONED.inc()
        log.warning("%s: again in %.1f s: %s", entries[0]["_id"], delay, error)
        self._outbox.postpone([entry["_id"] for entry in entries], _description(error), delay, stalled)

    # Beside the posting

    def _beats(self) -> None:
        """Renew the lease, or try to get it, and say that this process lives."""
        while not self._stopping.is_set():
            asked_at = time.monotonic()
            try:
                held = self._lease.take()
                if held != self.active():
                    log.info("active" if held else "standing by")
                # a little less than the server grants, so that two are never active at once
                self._active_until = asked_at + 0.9 * self._lease.seconds if held else 0.0
                counts = self._outbox.backlog()
                ailing, pause_s = self._destination.ailing(), round(self._destination.pause_s(), 1)
                self._show(counts, ailing, pause_s)
                figures = {"ailing": ailing, "pause_s": pause_s, **self._destination.figures()}
                self._processes.beat(PROGRAM, active=held, sent=self._sent, counts=counts, **figures)
            except DatabaseError as error:
                log.warning("no sign of life: %s", error)
            self._stopping.wait(min(BEAT, self._lease.seconds / 4))

    def _show(self, counts: dict[str, int], ailing: bool, pause_s: float) -> None:
        for state, number in counts.items():
            ENTRIES.labels(state).set(number)
        AILING.set(ailing)
        PAUSE.set(pause_s)

    def _publishes(self) -> None:
        """Tell Kafka what passes filters."""
        if self._publisher is not None:
            self._publisher.run(self.active, self._stopping, self._settings.poll_interval)

    def _refreshes(self) -> None:
        """Learn now and then what others have sent."""
        while not self._stopping.is_set():
            wait = self._settings.poll_interval
            if self.active() and self._destination.pause_s() == 0:
                try:
                    self._destination.refresh(self._may_continue)
                    wait = self._settings.refresh_interval
                except KowalskiError as error:
                    log.warning("refresh: %s", error)
                    wait = min(self._settings.refresh_interval, LONGEST_DELAY_OF_OUTAGE)
            self._stopping.wait(wait)


def by_alert(entries: list[Entry]) -> Iterator[list[Entry]]:
    """The entries of an object, alert by alert, in their order."""
    for _, group in groupby(entries, key=lambda entry: entry["candid"]):
        yield list(group)


def _steps_done(entries: list[Entry]) -> int:
    return sum(len(entry["done"]) for entry in entries)


def delay_s(stalled: int, longest: float) -> float:
    """Seconds until the next attempt: doubled after each that got nothing done, and spread so that not all come at once."""
    return min(FIRST_DELAY * 2.0 ** min(stalled, 30), longest) * random.uniform(0.5, 1.0)  # nosec B311  # no secret


def _description(error: Exception) -> dict[str, object]:
    status = getattr(error, "status", None)
    return {"step": None, "status": status, "message": str(error) or type(error).__name__, "at": datetime.now(UTC)}
