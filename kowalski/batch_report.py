"""What a worker says of a batch that it has taken through the chain."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from kowalski.telemetry import Here, span


@dataclass(slots=True)
class BatchReport:
    """What became of a batch: counts, seconds by stage, and how long alerts took.

    Attributes
    ----------
    spans : stage of the trace (`kowalski.alerts.trace`) -> seconds of each alert that the batch stored; not kept when reports are added up
    models : the networks that score -> version
    context : the batch's span, for those of its stages (`kowalski.telemetry`)
    """

    received: int = 0
    stored: int = 0
    known: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    passed: Counter[int] = field(default_factory=Counter)
    filter_failures: Counter[int] = field(default_factory=Counter)
    posted: int = 0
    withdrawn: int = 0
    extragalactic: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    spans: dict[str, list[float]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    context: str | None = None
    model_problems: dict[str, str] = field(default_factory=dict)
    drift: Counter[str] = field(default_factory=Counter)

    def add(self, other: "BatchReport") -> None:
        """Take another batch's counts in."""
        for name in ("received", "stored", "known", "posted", "withdrawn", "extragalactic"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("quarantined", "passed", "filter_failures", "drift"):
            getattr(self, name).update(getattr(other, name))
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.models, self.model_problems = other.models, other.model_problems


@contextmanager
def timed(report: BatchReport, stage: str) -> Iterator[Here]:
    """What is done meanwhile counts as that stage's time, and is a span below the batch's."""
    start = perf_counter()
    with span(stage, report.context) as here:
        yield here
    report.seconds[stage] = report.seconds.get(stage, 0.0) + perf_counter() - start
