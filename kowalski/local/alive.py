"""Is a program of this host alive? For supervisors that can't ask it through a port of its own, such as Kubernetes.

python -m kowalski.local.alive poster (or tables, transient-fitter, archive-keeper, night-conductor, gcn-watcher, tns-watcher, ztf-ops-watcher, performance-reporter)
python -m kowalski.local.alive alert-broker [ZTF] [--within SECONDS]
python -m kowalski.local.alive dask-worker ZTF

Exit status 0: it is, or nobody can say now, since MongoDB or the scheduler is away, which no restart mends. 1: it isn't.
"""

import argparse
import asyncio
import socket
import sys

from kowalski.alerts.survey import get_survey
from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.processes import Processes
from kowalski.errors import ConfigError, DatabaseError
from kowalski.settings import Dask, Database
from kowalski.transients.programs import FITTER
from kowalski.watchers.programs import WATCHERS

PROGRAMS = (
    "poster",
    "alert-broker",
    "dask-worker",
    "tables",
    "archive-keeper",
    "night-conductor",
    FITTER,
    *WATCHERS.values(),
)
#: s since the last sign of life; programs give one every 1 to 2 s
WITHIN = 60.0


def has_signed_lately(settings: Database, program: str, survey: str | None, within_s: float) -> bool | None:
    """Whether a program of this host has given a sign of life; None: the database can't say.

    Parameters
    ----------
    survey : key of the survey; None: any
    """
    database = connect(settings)
    try:
        alive = Processes(database).alive(within_s)
    except DatabaseError:
        return None
    finally:
        database.client.close()
    here = [each for each in alive if each["host"] == socket.gethostname() and each["program"] == program]
    return any(survey in (None, each["survey"]) for each in here)


def has_joined(settings: Dask, survey: str) -> bool | None:
    """Whether a survey's scheduler has a worker of this host; None: it can't say. It forgets those silent for 5 minutes."""
    from distributed.core import rpc  # takes 0.6 s

    from kowalski.dask_access import connection_arguments, name_of_workers

    async def workers() -> list[str]:
        arguments = connection_arguments(survey, settings)
        async with rpc(settings.address, timeout=2, connection_args=arguments) as scheduler:
            known = (await scheduler.identity(n_workers=-1))["workers"].values()
        return [str(worker["name"]) for worker in known]

    try:
        names = asyncio.run(asyncio.wait_for(workers(), 5))
    except OSError:  # time-outs are among them
        return None
    return any(name.startswith(name_of_workers(survey)) for name in names)


def main() -> int:
    """0 or 1, and a line on stderr that says why, for whoever reads the supervisor's events."""
    parser = argparse.ArgumentParser(description="Whether a program of this host is alive")
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("survey", nargs="?", help="e.g. ZTF; needed for dask-worker")
    parser.add_argument("--within", type=float, default=WITHIN, metavar="SECONDS", help="age of its last sign of life")
    arguments = parser.parse_args()
    if arguments.program == "dask-worker" and not arguments.survey:
        parser.error("dask-worker of which survey?")
    try:
        survey = get_survey(arguments.survey).name if arguments.survey else None
        config = load_config()
    except ConfigError as error:
        parser.error(str(error))
    if arguments.program == "dask-worker" and survey:
        alive = has_joined(config.dask_for(survey), survey)
    else:
        alive = has_signed_lately(config.database, arguments.program, survey, arguments.within)
    words = {True: "alive", False: "no sign of life", None: "can't say: what would know is away"}
    print(f"{arguments.program}: {words[alive]}", file=sys.stderr)
    return 1 if alive is False else 0


if __name__ == "__main__":
    sys.exit(main())
