"""When to leave a filter alone, or to run it by itself: one that is too slow, or fails, must not hold up the others."""

from dataclasses import dataclass

#: runs in a row that failed after which a filter is left alone
PATIENCE = 3
#: s of the first pause; each further one is twice as long, up to the longest
FIRST_PAUSE = 60.0
LONGEST_PAUSE = 1800.0
#: sound runs by itself after which a filter joins the others: a new one, and one that failed
TRIALS, TRIALS_AFTER_FAULT = 1, 100


@dataclass(slots=True)
class Breaker:
    """Counts failed runs of one filter. Open, it lets none through until a pause is over; then one run decides.

    Times are s of one clock that never goes back. ``slow``: the last run took so long that the next is to come after the others'. ``trials``: how many sound runs by itself are
    asked of it before it is run together with others, whose runs would fail with it.
    """

    failures: int = 0
    pause: float = FIRST_PAUSE
    open_until: float = 0.0
    reason: str = ""
    slow: bool = False
    trials: int = TRIALS

    def is_open(self, now: float) -> bool:
        """Whether the filter is to be left alone."""
        return now < self.open_until

    def worked(self) -> None:
        """A run went through."""
        self.failures, self.pause, self.open_until, self.reason = 0, FIRST_PAUSE, 0.0, ""

    def failed(self, now: float, reason: str) -> None:
        """A run took too long, or failed with every alert."""
        self.failures += 1
        self.reason = reason
        if self.failures >= PATIENCE:
            self.open_until = now + self.pause
            self.pause = min(2 * self.pause, LONGEST_PAUSE)

    def joins(self, now: float) -> bool:
        """Whether the filter may be run together with others."""
        return self.trials == 0 and not self.slow and not self.is_open(now)

    def by_itself(self, sound: bool) -> None:
        """It was run by itself: quickly and without a fault, or not."""
        self.trials = max(0, self.trials - 1) if sound else TRIALS_AFTER_FAULT

    def doubted(self) -> None:
        """A run together with others failed, or took too long."""
        self.trials = max(TRIALS, self.trials)
