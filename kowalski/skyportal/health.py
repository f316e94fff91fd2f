"""Whether SkyPortal answers: after failures in a row it is left alone for a while, by all threads together."""

import random
import threading
import time

#: failed requests in a row after which there is a pause
PATIENCE = 4
#: s of the first pause; each further one is twice as long, up to the longest
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class Health:
    """Counts failed requests and says how long to wait; shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._next_pause = FIRST_PAUSE
        self._paused_until = 0.0

    def worked(self) -> None:
        """SkyPortal answered, be it with a refusal."""
        with self._lock:
            self._failures, self._next_pause = 0, FIRST_PAUSE

    def failed(self) -> None:
        """SkyPortal did not answer, or with an error of its own."""
        with self._lock:
            self._failures += 1
            now = time.monotonic()
            if self._failures >= PATIENCE and now >= self._paused_until:
                self._paused_until = now + self._next_pause * random.uniform(0.75, 1.25)  # nosec B311  # no secret
                self._next_pause = min(2 * self._next_pause, LONGEST_PAUSE)

    def hold(self, seconds: float) -> None:
        """Wait at least so long: SkyPortal asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def pause_s(self) -> float:
        """For how many seconds nothing is to be sent."""
        return max(0.0, self._paused_until - time.monotonic())

    def ailing(self) -> bool:
        """Whether the last requests failed, so that one at a time is enough."""
        return self._failures >= PATIENCE
