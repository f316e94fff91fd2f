"""The dask cluster of one survey: scheduler and worker processes, each worker with its chain ready before its first batch.

python -m kowalski.dask_cluster ZTF            scheduler and workers
python -m kowalski.dask_cluster ZTF --join     workers only, for the scheduler named in the settings
"""

import argparse
import asyncio
import os
import signal
import socket

import dask
from distributed import Nanny, Scheduler, Worker

from kowalski.alert_worker import this_worker
from kowalski.alerts.survey import get_survey
from kowalski.config import load_config
from kowalski.errors import ConfigError, LocalError
from kowalski.log import get_logger, setup_logging
from kowalski.ml.convert import ensure_converted
from kowalski.program import run_program
from kowalski.settings import LOOPBACK, Dask

log = get_logger(__name__)

DASK_SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.daemon": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.admin.large-graph-warning-threshold": "1GB",
    "distributed.comm.timeouts.connect": "10s",
    "distributed.scheduler.active-memory-manager.start": False,
    # what each of its processes does 50 to 100 times a second to watch itself: 8 % of a core per survey while nothing is to be done
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
    "logging": {"distributed": "warning"},
}


def dask_setup(worker: Worker) -> None:
    """Preload of each worker: its models are loaded and its connections made before it takes a batch."""
    setup_logging(f"dask-worker-{worker.name}")
    this_worker(str(worker.name).split("-")[0])


async def run_cluster(survey: str, settings: Dask, join: bool) -> None:
    """Scheduler and workers of a survey, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    scheduler = None if join else Scheduler(
        host=settings.host, port=settings.scheduler_port, dashboard_address=_dashboard(settings), dashboard=False
    )  # fmt: skip
    if scheduler:
        try:
            await scheduler
        except OSError as error:
            raise LocalError(
                f"no scheduler at {settings.address}: {error.strerror or error}; is another one there?"
            ) from error
        log.info("scheduler at %s", scheduler.address)
    nannies = [_nanny(survey, settings, index) for index in range(settings.n_workers)]
    await asyncio.gather(*nannies)
    log.info("%d workers ready", len(nannies))
    await stop.wait()
    await asyncio.gather(*(nanny.close(reason="told to stop") for nanny in nannies))
    if scheduler:
        await scheduler.close()


def _nanny(survey: str, settings: Dask, index: int) -> Nanny:
    lifetime = {"lifetime": settings.lifetime, "lifetime_stagger": settings.lifetime_stagger, "lifetime_restart": settings.lifetime_restart}  # fmt: skip
    return Nanny(
        settings.address,
        nthreads=settings.threads_per_worker,
        name=f"{survey}-{socket.gethostname()}-{os.getpid()}-{index}",
        host=settings.host,
        preload=["kowalski.dask_cluster"],
        memory_limit=0,
        dashboard=False,
        env={"OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "65536", "DASK_LOGGING__DISTRIBUTED": "warning"},
        **(lifetime if settings.lifetime else {}),
    )


def _dashboard(settings: Dask) -> str:
    """The dashboard's address: on loopback unless the settings name another host."""
    host, _, port = settings.dashboard_address.rpartition(":")
    return f"{host or '127.0.0.1'}:{port}"


def main() -> None:
    """Run the cluster of a survey from the command line until it is told to stop."""
    parser = argparse.ArgumentParser(description="Dask cluster of a survey")
    parser.add_argument("survey", help="e.g. ZTF")
    parser.add_argument("--join", action="store_true", help="start workers only, for the scheduler in the settings")
    arguments = parser.parse_args()
    try:
        survey = get_survey(arguments.survey).name
    except ConfigError as error:
        parser.error(str(error))

    def body() -> None:
        config = load_config()
        settings = config.dask_for(survey)
        if settings.host not in LOOPBACK:
            raise ConfigError(
                f"dask host {settings.host} can be reached from other machines: that needs TLS, not built yet"
            )
        ensure_converted(config, survey)
        with dask.config.set(DASK_SETTINGS):
            asyncio.run(run_cluster(survey, settings, arguments.join))

    run_program(f"dask-cluster-{survey.lower()}", body)


if __name__ == "__main__":
    main()
