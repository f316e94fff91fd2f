"""Memory that the API's processes on one machine share: made before gunicorn forks them, or by an application of its own."""

import mmap
import time
import zlib

#: processes at most
COLUMNS = 64
#: rows of the table of running queries; users whose names fall on the same row share their limit
ROWS = 4096


class Shared:
    """A number that changes whenever an account did, and how many queries of each user run in which process, and which has some waiting.

    Each process writes only to its own column of the tables, so that no lock is needed and a killed process leaves nothing
    behind once another takes its column.
    """

    def __init__(self) -> None:
        self._accounts = memoryview(mmap.mmap(-1, 8)).cast("Q")
        self._running = memoryview(mmap.mmap(-1, ROWS * COLUMNS))
        self._waiting = memoryview(mmap.mmap(-1, ROWS * COLUMNS))
        self.column = 0

    @property
    def accounts(self) -> int:
        """Differs from what it was when an account or a token was changed by any process since."""
        return self._accounts[0]

    def accounts_changed(self) -> None:
        """What other processes remember of accounts holds no more."""
        self._accounts[0] = time.monotonic_ns()

    def take_column(self, column: int) -> None:
        """This process writes to that column from now on."""
        self.column = column
        for row in range(ROWS):
            self._running[row * COLUMNS + column] = self._waiting[row * COLUMNS + column] = 0

    def running(self, user: str) -> int:
        """How many queries of a user run, in all processes."""
        row = _row(user)
        return sum(self._running[row : row + COLUMNS])

    def running_here(self, user: str) -> int:
        """How many of them run in this process."""
        return self._running[_row(user) + self.column]

    def contenders(self, user: str) -> int:
        """How many processes have queries of a user waiting, and at least 1."""
        row = _row(user)
        return max(1, sum(self._waiting[row : row + COLUMNS]))

    def wait(self, user: str, waits: bool) -> None:
        """Whether queries of a user wait in this process."""
        self._waiting[_row(user) + self.column] = waits

    def begin(self, user: str) -> None:
        """One more query of a user runs here."""
        self._running[_row(user) + self.column] += 1

    def end(self, user: str) -> None:
        """One of them has ended."""
        self._running[_row(user) + self.column] -= 1


def _row(user: str) -> int:
    """Where the user's row begins."""
    return zlib.crc32(user.encode()) % ROWS * COLUMNS
