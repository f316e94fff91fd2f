"""SkyPortal's rate limit, kept on our side: so many requests a second, a few more at once."""

import threading
import time


class Throttle:
    """Lets requests through at ``per_second``, up to ``burst`` at once; shared by threads. None: no limit."""

    def __init__(self, per_second: float | None, burst: int = 1):
        self._per_second = per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._counted_at = time.monotonic()

    def wait(self) -> None:
        """Return when the next request may go."""
        if self._per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._per_second) - 1
            self._counted_at = now
            turn = -self._tokens / self._per_second
        if turn > 0:
            time.sleep(turn)
