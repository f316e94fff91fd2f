"""The dask cluster of one survey: scheduler and worker processes, each worker with its chain ready before its first batch.

python -m kowalski.dask_cluster ZTF                scheduler and workers
python -m kowalski.dask_cluster ZTF --scheduler    scheduler only
python -m kowalski.dask_cluster ZTF --join         workers only, for the scheduler named in the settings
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
from contextlib import suppress
from typing import NoReturn

import dask
from distributed import Nanny, Scheduler, Security, Worker
from distributed.comm.addressing import unparse_host_port
from distributed.core import Status, rpc

from kowalski import telemetry
from kowalski.alerts.survey import get_survey
from kowalski.config import load_config
from kowalski.dask_access import CONNECTIONS, connection_arguments, name_of_workers, security_of
from kowalski.dask_metrics import CPU, LOST, MEMORY, READY, TASKS, WANTED
from kowalski.errors import ConfigError, LocalError
from kowalski.gauges import keep
from kowalski.log import get_logger, setup_logging
from kowalski.ml.convert import ensure_converted
from kowalski.program import run_program
from kowalski.settings import Dask

log = get_logger(__name__)

DASK_SETTINGS = {
    **CONNECTIONS,
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.daemon": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,  # one that takes no more batches would not get smaller
    "distributed.worker.memory.terminate": 1.0,
    "distributed.admin.large-graph-warning-threshold": "1GB",
    "distributed.scheduler.active-memory-manager.start": False,
    # what each of its processes does 50 to 100 times a second to watch itself: 8 % of a core per survey while nothing is to be done
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
    "logging": {"distributed": "warning"},
}

#: new objects from which on a worker's garbage is collected: a batch makes tens of thousands, none of them in a cycle, and to look
#: through them after every 700 took a quarter of a worker's time where light curves are long
GC_THRESHOLD = 100_000
#: s between attempts to reach a scheduler that isn't there
RETRY = 1.0
#: s between looks at the scheduler's workers
LOOK = 5.0
#: s that workers have to end when told to stop; a supervisor kills after 30
STOP_WAIT = 20.0


def dask_setup(worker: Worker) -> None:
    """Preload of each worker: its models are loaded and its connections made before it takes a batch."""
    from kowalski.alert_worker import this_worker  # only here: a scheduler does without what it brings along

    setup_logging(f"dask-worker-{worker.name}")
    telemetry.begin(f"dask-worker-{worker.name}", load_config().telemetry)
    this_worker(str(worker.name).split("-")[0])
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)


class Cluster:
    """Scheduler, workers or both of a survey, on this machine.

    Parameters
    ----------
    with_scheduler : whether the scheduler runs here
    workers : worker processes to run here
    """

    def __init__(self, survey: str, settings: Dask, with_scheduler: bool, workers: int):
        self.survey, self.settings = survey, settings
        self.with_scheduler, self.workers = with_scheduler, workers
        self.security: Security | None = security_of(survey, settings)
        self._ready = 0

    async def run(self) -> None:
        """All that belongs here is there until SIGTERM or SIGINT.

        Raises
        ------
        LocalError : the scheduler can't listen
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        scheduler = await self._scheduler() if self.with_scheduler else None
        WANTED.labels(self.survey).set(self.workers)
        keepers = [asyncio.create_task(self._keep(index)) for index in range(self.workers)]
        if scheduler:
            keepers.append(asyncio.create_task(self._watch(scheduler)))
        waiting = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([waiting, *keepers], return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, *keepers):
            task.cancel()
        await asyncio.wait([waiting, *keepers], timeout=STOP_WAIT)
        if scheduler:
            await scheduler.close()
        for keeper in done - {waiting}:
            keeper.result()  # what a worker can't start with ends all

    async def _scheduler(self) -> Scheduler:
        settings = self.settings
        host, dashboard = settings.listen or settings.host, _dashboard(settings)
        try:
            scheduler = Scheduler(
                host=host,
                port=settings.scheduler_port,
                protocol="tls" if self.security else "tcp",
                security=self.security,
                dashboard_address=dashboard,
                dashboard=False,
            )
            await scheduler
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            raise LocalError(
                f"no scheduler at {host}:{settings.scheduler_port}: {cause.strerror or cause}; is another one there?"
            ) from error
        log.info("scheduler at %s, for brokers and workers at %s", scheduler.address, settings.address)
        return scheduler

    async def _watch(self, scheduler: Scheduler) -> None:
        """What the scheduler knows of its workers, those that joined from other machines included, is shown."""
        while True:
            TASKS.labels(self.survey).set(len(scheduler.tasks))
            workers = {(self.survey, str(worker.name)): worker.metrics for worker in scheduler.workers.values()}
            for gauge, name in ((MEMORY, "memory"), (CPU, "cpu")):
                for labels, metrics in workers.items():
                    gauge.labels(*labels).set(metrics.get(name) or 0)
                keep(gauge, workers)
            await asyncio.sleep(LOOK)

    async def _keep(self, index: int) -> None:
        """One worker process is there whenever the scheduler is: it ends with it, and another one joins when it is back."""
        while True:
            nanny = self._nanny(index, await self._reached(says_so=index == 0))
            try:
                await nanny
                self._joined()
                await nanny.finished()
                self._ready -= 1
                READY.labels(self.survey).set(self._ready)
                LOST.labels(self.survey).inc()
                log.warning("worker %s has left the scheduler, or lost it: another one joins", nanny.name)
            except RuntimeError as error:  # of distributed, around what kept it from starting
                if not isinstance(error.__cause__, OSError):
                    raise (error.__cause__ or error) from None
                log.warning("worker %s did not start: %s", nanny.name, error.__cause__)
            finally:
                # one that is still starting can't be asked to end; distributed kills it when this process does
                if nanny.status not in (Status.init, Status.closed, Status.failed):
                    with suppress(TimeoutError):
                        await nanny.close(reason="told to stop")
            await asyncio.sleep(RETRY)

    def _joined(self) -> None:
        self._ready += 1
        READY.labels(self.survey).set(self._ready)
        if self._ready == self.workers:
            log.info("%d workers ready", self.workers)

    async def _reached(self, says_so: bool) -> str:
        """This machine's address by which it reaches the scheduler, once that answers, however long it takes."""
        settings, said = self.settings, ""
        arguments = connection_arguments(self.survey, settings)
        while True:
            try:
                async with rpc(settings.address, timeout=5, connection_args=arguments) as scheduler:
                    await asyncio.wait_for(scheduler.identity(n_workers=0), 5)
                return address_towards(settings.host, settings.scheduler_port)
            except OSError as error:  # time-outs are among them
                if says_so and str(error) != said:
                    said = str(error)
                    log.warning("waiting for the scheduler at %s: %s", settings.address, said or "no answer")
            await asyncio.sleep(RETRY)

    def _nanny(self, index: int, host: str) -> Nanny:
        settings = self.settings
        lifetime = {"lifetime": settings.lifetime, "lifetime_stagger": settings.lifetime_stagger, "lifetime_restart": settings.lifetime_restart}  # fmt: skip
        return Nanny(
            settings.address,
            nthreads=settings.threads_per_worker,
            name=f"{name_of_workers(self.survey)}{os.getpid()}-{index}",
            host=host,
            security=self.security,
            preload=["kowalski.dask_cluster"],
            memory_limit=settings.memory_limit or 0,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            env={"OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "65536", "DASK_LOGGING__DISTRIBUTED": "warning"},
            **(lifetime if settings.lifetime else {}),
        )


def address_towards(host: str, port: int) -> str:
    """This machine's address on the way to another; raises OSError where there is none."""
    family, *_, there = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(there)  # sends nothing
        return unparse_host_port(probe.getsockname()[0])


def _dashboard(settings: Dask) -> str:
    """The dashboard's address: on loopback unless the settings name another host."""
    host, _, port = settings.dashboard_address.rpartition(":")
    return f"{host or '127.0.0.1'}:{port}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Dask cluster of a survey")
    parser.add_argument("survey", help="e.g. ZTF")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--scheduler", action="store_true", help="the scheduler only")
    alone.add_argument("--join", action="store_true", help="workers only, for the scheduler in the settings")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes here; the settings' n_workers")
    parsed = parser.parse_args(arguments)
    try:
        parsed.survey = get_survey(parsed.survey).name
    except ConfigError as error:
        parser.error(str(error))
    if parsed.workers is not None and (parsed.workers < 1 or parsed.scheduler):
        parser.error("--workers is a number from 1, and not for --scheduler")
    return parsed


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the cluster of a survey, or a part of it, until it is told to stop."""
    parsed = parse(arguments)

    def body() -> None:
        config = load_config()
        settings = config.dask_for(parsed.survey)
        workers = 0 if parsed.scheduler else parsed.workers or settings.n_workers
        cluster = Cluster(parsed.survey, settings, not parsed.join, workers)
        if workers:
            ensure_converted(config, parsed.survey)
        with dask.config.set(DASK_SETTINGS):
            asyncio.run(cluster.run())

    run_program(f"dask-cluster-{parsed.survey.lower()}", body)


if __name__ == "__main__":
    main()
