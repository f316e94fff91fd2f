"""Something that is done a while after it was asked for, once for all that asked meanwhile."""

import threading
from collections.abc import Callable


class Delayed:
    """Calls a function so many seconds after `ask`, in a thread that keeps no process from its end."""

    def __init__(self, seconds: float, function: Callable[[], None]):
        self._seconds, self._function = seconds, function
        self._lock = threading.Lock()
        self._asked = False

    def ask(self) -> None:
        """The function is called soon; what was told before is there by then."""
        with self._lock:
            if self._asked:
                return
            self._asked = True
        timer = threading.Timer(self._seconds, self._call)
        timer.daemon = True
        timer.start()

    def _call(self) -> None:
        with self._lock:
            self._asked = False
        self._function()
