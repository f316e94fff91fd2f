"""Packets at the pace at which their alerts were seen, or a multiple of it."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A packet and its time.

    Attributes
    ----------
    name : what it is called where it comes from
    read : gives its bytes
    jd : of its candidate, d; None: it has none, and comes with the packet before it
    """

    name: str
    read: Callable[[], bytes]
    jd: float | None = None


class Clock:
    """The time that passes here, s."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)


class Pace:
    """Gives moments when they are due: the first at once, the others after the time between their jds, divided by ``speed``.

    Packets of one exposure, which have the same jd, come together.

    Attributes
    ----------
    behind : s by which one was given too late, at most
    """

    def __init__(self, speed: float, clock: Clock | None = None):
        self.speed, self.clock = speed, clock or Clock()
        self.behind = 0.0

    def paced(self, moments: Iterable[Moment]) -> Iterator[Moment]:
        """The moments in the order of their jds."""
        timed = in_order(moments)
        begin = self.clock.now()
        for jd, moment in timed:
            due = begin + (jd - timed[0][0]) * DAY / self.speed
            if (early := due - self.clock.now()) > 0:
                self.clock.wait(early)
            else:
                self.behind = max(self.behind, -early)
            yield moment


def in_order(moments: Iterable[Moment]) -> list[tuple[float, Moment]]:
    """Moments by jd; one without a jd has that of the one before it, or of the first that has one."""
    timed: list[tuple[float, Moment]] = []
    waiting: list[Moment] = []
    jd: float | None = None
    for moment in moments:
        jd = moment.jd if moment.jd is not None else jd
        waiting.append(moment)
        if jd is not None:
            timed += [(jd, each) for each in waiting]
            waiting = []
    timed += [(0.0, each) for each in waiting]  # none has a jd: all at once
    return sorted(timed, key=lambda each: each[0])


def speed_from(text: str) -> float:
    """How many times quicker than real: ``real`` is 1, ``x10`` 10.

    Raises
    ------
    ValueError : it is neither
    """
    speed = 1.0 if text == "real" else float(text.removeprefix("x")) if text.startswith("x") else 0.0
    if not 0 < speed < float("inf"):
        raise ValueError(f"{text} is neither real nor xN, e.g. x10")
    return speed
