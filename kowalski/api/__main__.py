"""python -m kowalski.api: the REST API under gunicorn, until SIGTERM or SIGINT."""

import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from gunicorn import glogging
from gunicorn.app.base import BaseApplication

from kowalski.api.app import app_factory
from kowalski.api.state import required
from kowalski.config import load_config
from kowalski.errors import ConfigError
from kowalski.local.secrets import refuse_published
from kowalski.log import setup_logging
from kowalski.settings import Server

#: s for requests under way when told to stop
GRACE = 6
#: s an idle connection is kept; gunicorn's default, 2, closes penquins' between two of its requests
KEEP_ALIVE = 75


class _Log(glogging.Logger):
    """gunicorn's messages go the way of all others."""

    def setup(self, cfg: Any) -> None:
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = True


class Gunicorn(BaseApplication):
    """gunicorn, told by the settings alone and not by its own command line or files."""

    def __init__(self, server: Server):
        self.server = server
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
            "worker_tmp_dir": "/dev/shm"
            if os.path.isdir("/dev/shm")
            else None,  # a slow disk would look like a dead worker
            "control_socket_disable": True,
            "logger_class": _Log,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[[], Awaitable[web.Application]]:
        return app_factory


def main() -> None:
    """Serve the API from the command line."""
    setup_logging("api")
    try:
        config = load_config()
        refuse_published(config)
        required(config.server.admin_password, "server.admin_password")
        required(config.server.jwt_secret_key, "server.JWT_SECRET_KEY")
    except ConfigError as error:
        sys.exit(str(error))
    Gunicorn(config.server).run()


if __name__ == "__main__":
    main()
