"""What running filters gives."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from kowalski.filters.definition import CompiledFilter

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pass:
    """An alert that passed a filter, with what is to be done for it: see `Autosave.request` and `FollowUp.request`."""

    candid: int
    filter: CompiledFilter
    annotations: Any
    autosave: dict[str, Any] | None = None
    follow_up: dict[str, Any] | None = None


@dataclass(slots=True)
class FilterRun:
    """What a batch's filters gave; alerts that could not be judged or were left out are counted by filter and reason.

    ``action_failures`` count alerts that passed, but for which autosave or follow-up could not be decided.
    """

    passes: list[Pass] = field(default_factory=list)
    failures: Counter[tuple[int, str]] = field(default_factory=Counter)
    skipped: Counter[tuple[int, str]] = field(default_factory=Counter)
    action_failures: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, other: "FilterRun") -> None:
        """Take in what others gave."""
        self.passes += other.passes
        for name in ("failures", "skipped", "action_failures"):
            getattr(self, name).update(getattr(other, name))


@dataclass(slots=True)
class Figures:
    """One run of one filter: how many alerts went in, passed, failed or were left out, and the ms it took."""

    filter_id: int
    fid: str
    alerts: int
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    ms: float = 0.0
    error: str | None = None
    open_for: float = 0.0


class Recorder(Protocol):
    """Who is told of every run."""

    def note(self, figures: Figures) -> None:
        """Remember a run."""
