"""How a long-running program begins and ends: its log, and one line for an error that it can't go on with."""

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import NoReturn

from kowalski import telemetry
from kowalski.config import load_config
from kowalski.errors import DatabaseUnavailable, KowalskiError
from kowalski.exporter import exported
from kowalski.log import get_logger, setup_logging

log = get_logger(__name__)


def run_program(name: str, body: Callable[[], None], metrics: bool = True) -> NoReturn:
    """Run a program to its end; 1, after one line in the log, when an error of Kowalski's own ended it.

    ``metrics``: whether it has any, which are then at hand as long as it runs.
    """
    setup_logging(name)
    try:
        with exported(name) if metrics else nullcontext():
            telemetry.begin(name, load_config().telemetry)
            body()
    except KowalskiError as error:
        log.error("%s", error)
        sys.exit(1)
    finally:
        telemetry.end()
    sys.exit(0)


def once_available(call: Callable[[], None], stopping: Callable[[], bool] = lambda: False) -> None:
    """Make a call that needs MongoDB, as soon as MongoDB can be reached or the program is to stop."""
    while not stopping():
        try:
            return call()
        except DatabaseUnavailable as error:
            log.warning("waiting for MongoDB: %s", error)
            time.sleep(1)
