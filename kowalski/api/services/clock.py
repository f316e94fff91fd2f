"""A time that may be spent on what a user asks."""

import time

from kowalski.errors import KowalskiError


class TimeIsUp(KowalskiError):
    """What was allowed for is spent."""


class Clock:
    """A time that may be spent."""

    def __init__(self, seconds: float):
        self.ends = time.monotonic() + seconds
        self.ran_out = False

    def left_ms(self) -> int:
        """What is left, in ms.

        Raises
        ------
        TimeIsUp
        """
        left = int(1000 * (self.ends - time.monotonic()))
        if left < 1:
            self.ran_out = True
            raise TimeIsUp("the time is up")
        return left

    def within(self, share: float) -> "Clock":
        """One for a part of what is left."""
        return Clock(share * (self.ends - time.monotonic()))
