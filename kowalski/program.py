"""How a long-running program begins and ends: its log, and one line for an error that it can't go on with."""

import sys
import time
from collections.abc import Callable
from typing import NoReturn

from kowalski.errors import DatabaseUnavailable, KowalskiError
from kowalski.log import get_logger, setup_logging

log = get_logger(__name__)


def run_program(name: str, body: Callable[[], None]) -> NoReturn:
    """Run a program to its end; 1, after one line in the log, when an error of Kowalski's own ended it."""
    setup_logging(name)
    try:
        body()
    except KowalskiError as error:
        log.error("%s", error)
        sys.exit(1)
    sys.exit(0)


def once_available(call: Callable[[], None], stopping: Callable[[], bool] = lambda: False) -> None:
    """Make a call that needs MongoDB, as soon as MongoDB can be reached or the program is to stop."""
    while not stopping():
        try:
            return call()
        except DatabaseUnavailable as error:
            log.warning("waiting for MongoDB: %s", error)
            time.sleep(1)
