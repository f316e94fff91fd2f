"""The program that fits: takes what is asked for in ``fits``, and keeps what came of it there.

Several may run, on several hosts: a request is one's for ``transients.salt2.lease`` s, so that it is taken again if its process is killed.
What a fit found is told on Kafka (the outbox) before it is kept: repeated, both change nothing.
"""

import threading
import time
from concurrent.futures import Future
from concurrent.futures import wait as settled
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter, Gauge

from kowalski.alerts.survey import get_survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.fits import NO_FIT, Fits, Request
from kowalski.database.outbox import Outbox
from kowalski.database.processes import Processes, process_id
from kowalski.errors import DatabaseError, FitError
from kowalski.log import get_logger
from kowalski.outbox.transients import fit_entry
from kowalski.outbox.withdrawals import withdraw_late
from kowalski.program import once_available
from kowalski.settings import Config
from kowalski.transients.files import MODEL, VERSION, folder_of, require
from kowalski.transients.pool import FitPool
from kowalski.transients.programs import FITTER as PROGRAM
from kowalski.transients.subject import Subject, Subjects

log = get_logger(__name__)

FITS = Counter("kowalski_fits", "Requests for fits that were answered", ["outcome"])
WAITING = Gauge("kowalski_fits_waiting", "Requests for fits that wait")

#: s between signs of life, and between counts of what is there
BEAT, COUNT = 2.0, 15.0
#: times that a request is taken before it is given up: its fit ends its process
ATTEMPTS = 3
#: s to wait after the database was away, and until absent files are looked for again
PAUSE, LOOK = 2.0, 30.0


class Fitting:
    """Fits until told to stop."""

    def __init__(self, database: MongoDatabase, config: Config):
        settings = config.transients.salt2
        self.stopping = threading.Event()
        self._settings, self._database = settings, database
        self._fits, self._outbox, self._processes = Fits(database), Outbox(database), Processes(database)
        self._subjects = Subjects(database, config)
        self._publishing = config.kafka.output.bootstrap_servers is not None
        self._folder = folder_of(settings.folder)
        self._pool = FitPool(self._folder, settings)
        self._holder = process_id(PROGRAM)
        self._figures: dict[str, Any] = {"made": 0, "skipped": 0, "problem": None}
        self._looked = -LOOK

    def run(self) -> None:
        """Take requests, and answer them; those that are not answered at the end wait for others."""
        for make in (self._fits.ensure_indexes, self._outbox.ensure_indexes, self._processes.ensure_indexes):
            once_available(make, self.stopping.is_set)
        beats = threading.Thread(target=self._beats, name="beat", daemon=True)
        beats.start()
        try:
            while not self.stopping.is_set():
                self.stopping.wait(self._round())
        finally:
            self.stopping.set()
            self._pool.renew()
            beats.join(timeout=5)
            try:
                self._fits.give_back(self._holder)
                self._processes.leave(PROGRAM)
            except DatabaseError as error:
                log.warning("left without goodbye: %s", error)

    def _round(self) -> float:
        """Answer as many requests as fit at a time; s until there may be more."""
        try:
            self._look_for_files()
            taken = self._take()
            subjects = [(request, self._subjects.read(request)) for request in taken]
        except DatabaseError as error:
            log.warning("%s", error)
            return PAUSE
        together = [each for each in subjects if each[0].attempts == 1]
        for some in (together, *([each] for each in subjects if each[0].attempts > 1)):  # alone: it may be the culprit
            self._answer(some)
        return 0.0 if taken else self._settings.interval

    def _take(self) -> list[Request]:
        taken = list[Request]()
        while len(taken) < self._settings.processes:
            request = self._fits.take(self._holder, self._settings.lease)
            if request is None:
                break
            taken.append(request)
        return taken

    def _answer(self, subjects: list[tuple[Request, Subject]]) -> None:
        """Fit some objects side by side and keep what came of it; what a dead process leaves is taken again."""
        under_way: dict[Future[dict[str, Any]], tuple[Request, Subject]] = {}
        try:
            for request, subject in subjects:
                if reason := self._refusal(request):
                    self._keep(request, subject, {"model": MODEL, "version": VERSION, **NO_FIT, "reason": reason})
                else:
                    under_way[self._pool.submit(subject.photometry, subject.host)] = (request, subject)
            while under_way and not self.stopping.is_set():
                for future in settled(under_way, timeout=0.2, return_when="FIRST_COMPLETED").done:
                    self._keep(*under_way[future], future.result())
                    del under_way[future]
        except BrokenProcessPool:
            log.error("a process died beside the fit of %s", ", ".join(request.key for request, _ in under_way.values()))  # fmt: skip
            self._pool.renew()
            once_available(lambda: self._fits.release(self._holder), self.stopping.is_set)

    def _refusal(self, request: Request) -> str | None:
        """Why no fit is begun; None: nothing is in the way."""
        if request.attempts > ATTEMPTS:
            return f"given up: its process died {ATTEMPTS} times"
        problem: str | None = self._figures["problem"]
        return problem

    def _keep(self, request: Request, subject: Subject, found: dict[str, Any]) -> None:
        """Tell what a fit found, and keep it, as soon as MongoDB can be reached."""
        told = {**found, "rights": subject.rights}
        if self._publishing and request.publish:
            once_available(lambda: self._tell(request, told), self.stopping.is_set)
        once_available(lambda: self._fits.store(request, told), self.stopping.is_set)
        outcome = "made" if found["reason"] is None else "skipped"
        self._figures[outcome] += 1
        FITS.labels(outcome).inc()

    def _tell(self, request: Request, told: dict[str, Any]) -> None:
        """Kafka is to be told of a fit, and of its alert's withdrawal if that came meanwhile; of one withdrawn before it is not."""
        alerts = Alerts(self._database, get_survey(request.survey))
        if alerts.withdrawn([request.candid]):
            return
        entry = fit_entry(request._asdict(), told, datetime.now(UTC))
        self._outbox.add([entry])
        withdraw_late([entry], alerts, self._outbox)

    def _look_for_files(self) -> None:
        """Know whether the files are there, and say so once; while they are not, look now and then."""
        if self._looked == float("inf") or time.monotonic() < self._looked + LOOK:
            return
        before = self._figures["problem"]
        try:
            require(self._folder)
            self._looked, self._figures["problem"] = float("inf"), None
        except FitError as error:
            self._looked, self._figures["problem"] = time.monotonic(), str(error)
            if str(error) != before:
                log.warning("nothing is fitted: %s", error)

    def _beats(self) -> None:
        counted, counts = -COUNT, dict[str, int]()
        while not self.stopping.is_set():
            try:
                if time.monotonic() > counted + COUNT:
                    counted, counts = time.monotonic(), self._fits.counts()
                    WAITING.set(counts["waiting"])
                self._processes.beat(PROGRAM, fits=counts, since_start=dict(self._figures))
            except DatabaseError as error:
                log.warning("no sign of life: %s", error)
            self.stopping.wait(BEAT)
