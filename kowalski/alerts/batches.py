"""What becomes of a batch that comes back from a worker: done, again, alone, in halves, or into quarantine.

Decisions only; the broker carries them out.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count

from kowalski.alerts.decode import Packet
from kowalski.alerts.offsets import Partition
from kowalski.errors import KowalskiError, TooLarge

_numbers = count(1)


class Fault(Enum):
    """Why a batch came back undone."""

    LOST = auto()  # its scheduler died or its result was lost
    UNAVAILABLE = auto()  # a service that it needs can't be reached
    KILLED = auto()  # its workers died of it, or beside it
    FAILED = auto()  # an error that a retry won't mend


@dataclass(slots=True)
class Batch:
    """Packets that go through the chain together.

    Attributes
    ----------
    suspect : it was under way when workers died, and is to run with nothing beside it
    context : the span in which it was read (`kowalski.telemetry`), if there is one
    """

    packets: list[Packet]
    suspect: bool = False
    context: str | None = None
    number: int = 0

    def __post_init__(self) -> None:
        self.number = next(_numbers)

    @property
    def messages(self) -> list[tuple[Partition, int]]:
        """Partition and offset of each packet."""
        return [((packet.topic, packet.partition), packet.offset) for packet in self.packets]

    def halves(self) -> list["Batch"]:
        """The batch as two, as suspect as the whole."""
        middle = len(self.packets) // 2
        return [Batch(half, self.suspect, self.context) for half in (self.packets[:middle], self.packets[middle:])]


@dataclass(frozen=True, slots=True)
class Culprit:
    """A packet that alone makes the chain fail."""

    packet: Packet
    reason: str
    detail: str


class Queue:
    """Batches waiting to be submitted: those that came back, and among them suspects, which run alone."""

    def __init__(self) -> None:
        self._ready: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._later: list[tuple[float, Batch]] = []

    def __bool__(self) -> bool:
        return bool(self._ready or self._suspects or self._later)

    def is_closed(self, under_way: Collection[Batch]) -> bool:
        """Whether nothing new may begin: a suspect is under way, or waits for everything else to be done."""
        return bool(self._suspects) or any(batch.suspect for batch in under_way)

    def take(self, now: float, under_way: Collection[Batch]) -> Batch | None:
        """The batch to submit next: a suspect only when nothing is under way, and nothing beside it."""
        for due, batch in self._later:
            if due <= now:
                self._line(batch).append(batch)
        self._later = [(due, batch) for due, batch in self._later if due > now]
        if self.is_closed(under_way):
            return self._suspects.popleft() if self._suspects and not under_way else None
        return self._ready.popleft() if self._ready else None

    def came_back(self, batch: Batch, fault: Fault, error: BaseException | None, retry_at: float) -> Culprit | None:
        """Put a batch where its fault asks for; a single packet at fault is returned instead."""
        if fault is Fault.LOST:
            self._line(batch).append(batch)
        elif fault is Fault.UNAVAILABLE:
            self._later.append((retry_at, batch))
        elif fault is Fault.KILLED and not batch.suspect:
            batch.suspect = True
            self._suspects.append(batch)
        elif len(batch.packets) == 1:
            return Culprit(batch.packets[0], _reason(fault, error), repr(error))
        else:
            self._line(batch).extendleft(reversed(batch.halves()))
        return None

    def _line(self, batch: Batch) -> deque[Batch]:
        return self._suspects if batch.suspect else self._ready


def _reason(fault: Fault, error: BaseException | None) -> str:
    """The slug under which a packet that alone makes the chain fail is kept."""
    if fault is Fault.KILLED:
        return "kills_workers"
    return "too_large" if isinstance(error, TooLarge) else "failed"


def fault_of(error: BaseException) -> Fault:
    """The fault that an error of the chain stands for."""
    if isinstance(error, KowalskiError) and error.retriable:
        return Fault.UNAVAILABLE
    return Fault.FAILED
