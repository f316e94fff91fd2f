"""Batches to a survey's dask cluster and back: each is seen through, whatever happens to workers, scheduler or database."""

import queue
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.client import FutureCancelledError

from kowalski.alert_worker import backfill_batch, process_batch, rematch
from kowalski.alerts.batches import Batch, Culprit, Fault, Queue, fault_of
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.batch_report import BatchReport
from kowalski.dask_access import connect_client, security_of
from kowalski.database.client import connect
from kowalski.database.quarantine import Quarantine
from kowalski.errors import DatabaseUnavailable, StreamError
from kowalski.log import get_logger
from kowalski.settings import Config

log = get_logger(__name__)


class Dispatcher:
    """Submits batches and takes back their results; a batch leaves it only when all that it causes is stored.

    Parameters
    ----------
    told : is told what became of each batch

    Attributes
    ----------
    report : what became of all batches so far
    history_only : of the packets nothing but the histories of their objects is stored
    stopping : set to end waiting for a scheduler that is away
    """

    def __init__(
        self,
        survey: str,
        config: Config,
        posting: bool = True,
        resume: bool = True,
        history_only: bool = False,
        told: Callable[[BatchReport], None] = lambda report: None,
    ):
        self.survey, self.config = survey, config
        self.history_only = history_only
        self._how = {"posting": posting, "resume": resume}
        database, limits = connect(config.database), config.broker
        self.quarantine = Quarantine(database, limits.inline_quarantine_bytes, limits.quarantine_bytes)
        self.report = BatchReport()
        self.stopping = False
        self._told = told
        self._waiting = Queue()
        self._under_way: dict[Future, Batch] = {}
        self._results: queue.SimpleQueue[Future] = queue.SimpleQueue()
        security_of(survey, config.dask_for(survey))  # what is wrong with the settings is no scheduler that is away
        self._client = self._connect()

    @property
    def workers(self) -> int:
        """How many workers the scheduler had when it was asked last, those that joined from other machines included."""
        # kept by the client, which asks every 2 s; `scheduler_info()` would wait for a scheduler that is cut off
        return int(self._client._scheduler_identity.get("n_workers") or 0)

    @property
    def window(self) -> int:
        """How many batches may be under way: so many per worker; while none is known, as if all of the settings' were there."""
        workers = self.workers or self.config.dask_for(self.survey).n_workers
        return workers * self.config.broker.batches_per_worker

    @property
    def full(self) -> bool:
        """Whether no new batch may begin."""
        return len(self._under_way) >= self.window or self._waiting.is_closed(self._under_way.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waiting."""
        return not self._under_way and not self._waiting

    @property
    def busy(self) -> bool:
        """Whether batches are with the workers now."""
        return bool(self._under_way)

    def begin(self, packets: list[Packet], context: str | None = None) -> None:
        """Submit new packets as one batch, which was read in that context (`kowalski.telemetry`)."""
        self._submit(Batch(packets, context=context))

    def finished(self, timeout: float) -> list[Batch]:
        """Batches that are done, after waiting for a result up to ``timeout`` s; those that came back go again."""
        self._resubmit()
        done = []
        try:
            future = self._results.get(timeout=timeout) if timeout else self._results.get_nowait()
            while True:
                batch = self._under_way.pop(future, None)
                if batch is not None and self._is_done(future, batch):
                    done.append(batch)
                future = self._results.get_nowait()
        except queue.Empty:
            return done

    def rematch(self) -> None:
        """Have a worker retry the cross-matches that failed."""
        self._connected().submit(rematch, self.survey, pure=False).add_done_callback(_log_rematch)

    def close(self) -> None:
        """Leave the cluster; what is under way there is not waited for."""
        self._client.close()

    def _connect(self) -> Client:
        """A client of the survey's scheduler, waited for as long as it takes."""
        settings = self.config.dask_for(self.survey)
        while not self.stopping:
            try:
                return connect_client(self.survey, settings, timeout="5s", name=f"broker-{self.survey}")
            except OSError as error:
                log.warning("no scheduler at %s yet, ./kowalski.py up starts it: %s", settings.address, error)
                time.sleep(1)
        raise StreamError(f"stopped while there was no scheduler at {settings.address}")

    def _connected(self) -> Client:
        """The client, of a scheduler that was there lately."""
        if self._client.status not in ("running", "connecting"):
            log.warning("scheduler lost: connecting anew")
            self._client.close(timeout=1)
            self._client = self._connect()
        return self._client

    def _submit(self, batch: Batch) -> None:
        task, how = (backfill_batch, {}) if self.history_only else (process_batch, dict[str, Any](self._how))
        if batch.context is not None and not self.history_only:
            how["context"] = batch.context
        future = self._connected().submit(task, self.survey, batch.packets, **how, pure=False)
        self._under_way[future] = batch
        future.add_done_callback(self._results.put)

    def _resubmit(self) -> None:
        while len(self._under_way) < self.window:
            batch = self._waiting.take(time.monotonic(), self._under_way.values())
            if batch is None:
                return
            self._submit(batch)

    def _is_done(self, future: Future, batch: Batch) -> bool:
        try:
            report: BatchReport = future.result(timeout=10)
        except (CancelledError, FutureCancelledError, TimeoutError) as error:
            return self._came_back(batch, Fault.LOST, error)
        except KilledWorker as error:
            return self._came_back(batch, Fault.KILLED, error)
        except Exception as error:  # whatever a batch of hostile packets can raise: decided on below, never dropped
            return self._came_back(batch, fault_of(error), error)
        self._done(report)
        return True

    def _came_back(self, batch: Batch, fault: Fault, error: BaseException) -> bool:
        """Whether a batch that came back undone is done with all the same: its one packet is in quarantine."""
        log.warning("batch %d of %d alerts came back: %s: %r", batch.number, len(batch.packets), fault.name, error)
        retry_at = time.monotonic() + self.config.broker.retry_delay
        culprit = self._waiting.came_back(batch, fault, error, retry_at)
        return culprit is not None and self._quarantined(batch, culprit, error)

    def _quarantined(self, batch: Batch, culprit: Culprit, error: BaseException) -> bool:
        detail = "".join(traceback.format_exception(error))
        try:
            self.quarantine.add(self.survey, [Refusal(culprit.packet, culprit.reason, detail)])
        except DatabaseUnavailable as unavailable:
            return self._came_back(batch, Fault.UNAVAILABLE, unavailable)
        self._done(
            BatchReport(
                received=1,
                quarantined=Counter({culprit.reason: 1}),
                models=self.report.models,
                model_problems=self.report.model_problems,
            )
        )
        return True

    def _done(self, report: BatchReport) -> None:
        self.report.add(report)
        self._told(report)


def _log_rematch(future: Future) -> None:
    if future.status == "finished" and (mended := future.result()):
        log.info("%d objects matched with catalogues that had failed", mended)
