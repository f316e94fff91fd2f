"""Who writes tables now: one process at a time, told by a lease that is renewed as long as it works."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.processes import process_id
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger

log = get_logger(__name__)

#: name of the lease, s that it lasts without being renewed, and between renewals
NAME, LASTS, RENEWED = "tables.turn", 30.0, 5.0
#: s between looks whether another one has ended
LOOK = 0.2


class Turn:
    """The right to write tables, while it lasts."""

    def __init__(self, lease: Lease):
        self._lease = lease
        self._until = time.monotonic() + LASTS
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="turn", daemon=True)

    def require(self) -> None:
        """Raise `DatabaseUnavailable` where it may have gone to somebody else, as MongoDB could not be asked in time."""
        if time.monotonic() > self._until:
            raise DatabaseUnavailable("the turn to write tables is lost: MongoDB could not be reached in time")

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED):
            began = time.monotonic()
            with suppress(DatabaseError):
                if self._lease.take():
                    self._until = began + LASTS

    def start(self) -> None:
        """It is renewed from now on."""
        self._renewing.start()

    def end(self) -> None:
        """It is somebody else's."""
        self._ended.set()
        self._renewing.join(LASTS)
        with suppress(DatabaseError):
            self._lease.release()


@contextmanager
def turn_of(database: MongoDatabase) -> Iterator[Turn]:
    """Wait until nobody else writes tables, and keep it so."""
    lease = Lease(database, NAME, f"{process_id('tables')}:{secrets.token_hex(4)}", LASTS)
    waiting = False
    while not lease.take():
        if not waiting:
            log.info("another process writes tables: waiting")
        waiting = True
        time.sleep(LOOK)
    turn = Turn(lease)
    turn.start()
    try:
        yield turn
    finally:
        turn.end()
