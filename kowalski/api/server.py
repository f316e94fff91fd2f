"""The REST API under gunicorn."""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from gunicorn import glogging
from gunicorn.app.base import BaseApplication
from prometheus_client.multiprocess import mark_process_dead

from kowalski.api.app import make_app
from kowalski.api.shared import COLUMNS, Shared
from kowalski.settings import Config

#: s for requests under way when told to stop
GRACE = 6
#: s an idle connection is kept; gunicorn's default, 2, closes penquins' between two of its requests
KEEP_ALIVE = 75
#: folder in memory; gunicorn's files there have random names and are gone from it as soon as they are open
MEMORY = "/dev/shm"  # nosec B108


class _Log(glogging.Logger):
    """gunicorn's messages go the way of all others."""

    def setup(self, cfg: Any) -> None:
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = True


class Gunicorn(BaseApplication):
    """gunicorn, told by the settings alone and not by its own command line or files."""

    def __init__(self, config: Config):
        self.config, self.server = config, config.server
        self.shared = Shared()  # made here, before the workers are forked
        super().__init__()

    def load_config(self) -> None:
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        settings = {
            "bind": f"{host}:{self.server.port}",
            "workers": self.server.processes,
            "worker_class": "aiohttp.GunicornUVLoopWebWorker",
            "timeout": self.server.timeout,
            "max_requests": self.server.max_requests,
            "max_requests_jitter": self.server.max_requests // 10,  # workers are not all renewed at once
            "graceful_timeout": GRACE,
            "keepalive": KEEP_ALIVE,
            "worker_tmp_dir": MEMORY if os.path.isdir(MEMORY) else None,  # a slow disk would look like a dead worker
            "control_socket_disable": True,
            "logger_class": _Log,
            "pre_fork": _assign_column,
            "post_fork": lambda server, worker: self.shared.take_column(worker.column),
            "child_exit": lambda server, worker: mark_process_dead(worker.pid),
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[[], Awaitable[web.Application]]:
        async def factory() -> web.Application:
            return make_app(self.config, self.shared)

        return factory


def _assign_column(server: Any, worker: Any) -> None:
    """A worker gets the first column of the shared table that no other has."""
    taken = {other.column for other in server.WORKERS.values()}
    worker.column = next(column for column in range(COLUMNS) if column not in taken)
