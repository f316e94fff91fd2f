"""Is a program ready? Each question is asked of the program itself and answered within about 2 s."""

import asyncio
import socket
import urllib.error
import urllib.request

from kowalski.database.client import connect
from kowalski.database.processes import Processes
from kowalski.database.replica_set import prepare
from kowalski.errors import DatabaseUnavailable
from kowalski.settings import Dask, Database


def mongod_is_ready(settings: Database) -> bool:
    """Whether mongod is primary with its three users; it makes them where they are missing."""
    try:
        prepare(settings, timeout=2)
    except DatabaseUnavailable:
        return False
    return True


def dask_is_ready(settings: Dask) -> bool:
    """Whether the scheduler has all its workers."""
    from distributed.core import rpc  # takes 0.6 s

    async def workers() -> int:
        async with rpc(settings.address, timeout=2) as scheduler:
            return len((await scheduler.identity(n_workers=-1))["workers"])

    try:
        return asyncio.run(asyncio.wait_for(workers(), 2)) >= settings.n_workers
    except OSError:  # time-outs are among them
        return False


def has_signed(settings: Database, pid: int) -> bool:
    """Whether the process ``pid`` of this machine has given a sign of life to the database."""
    database = connect(settings)
    try:
        alive = Processes(database).alive()
    except DatabaseUnavailable:
        return False
    finally:
        database.client.close()
    return any(each["pid"] == pid and each["host"] == socket.gethostname() for each in alive)


def answers_http(url: str) -> bool:
    """Whether a GET is answered, if only by a refusal."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except urllib.error.HTTPError as refusal:
        return refusal.code < 500
    except OSError:
        return False
