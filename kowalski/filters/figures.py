"""How filters do, counted in memory and added to the database every few seconds."""

import threading
from datetime import UTC, datetime, timedelta

from kowalski.bins import bin_of
from kowalski.database.filter_runs import FilterRuns, Night
from kowalski.delayed import Delayed
from kowalski.errors import DatabaseError
from kowalski.filters.results import Figures
from kowalski.log import get_logger

log = get_logger(__name__)

#: s between additions
FLUSH = 2.0


class FilterFigures:
    """Counts runs of a survey's filters; may be told of them by several threads."""

    def __init__(self, runs: FilterRuns, survey: str, process: str):
        self._runs = runs
        self._survey = survey
        self._process = process
        self._lock = threading.Lock()
        self._nights: dict[tuple[int, str, str], Night] = {}
        self._soon = Delayed(FLUSH, self.flush)

    def note(self, figures: Figures) -> None:
        """Remember a run."""
        now = datetime.now(UTC)
        with self._lock:
            night = self._nights.setdefault((figures.filter_id, figures.fid, f"{now:%Y-%m-%d}"), Night())
            counts = {"alerts": figures.alerts, "passed": figures.passed, "failed": figures.failed, "skipped": figures.skipped}  # fmt: skip
            if not figures.skipped:
                counts["runs"] = 1
                place = bin_of(figures.ms)
                night.ms[place] = night.ms.get(place, 0) + 1
            for name, number in counts.items():
                night.counts[name] = night.counts.get(name, 0) + number
            night.last_run = now
            if figures.error is not None:
                night.error = {"reason": figures.error, "at": now}
            if not figures.skipped:
                night.open_until = now + timedelta(seconds=figures.open_for) if figures.open_for > 0 else None
        self._soon.ask()

    def flush(self) -> None:
        """Add what was counted; when MongoDB can't take it now, it is kept for the next time."""
        with self._lock:
            nights, self._nights = self._nights, {}
        if not nights:
            return
        try:
            self._runs.add(self._process, self._survey, nights)
        except DatabaseError as error:
            log.warning("figures of filters: %s", error)
            with self._lock:
                for key, night in nights.items():
                    self._nights[key] = _together(night, self._nights.get(key))


def _together(earlier: Night, later: Night | None) -> Night:
    if later is None:
        return earlier
    for name, number in earlier.counts.items():
        later.counts[name] = later.counts.get(name, 0) + number
    for place, number in earlier.ms.items():
        later.ms[place] = later.ms.get(place, 0) + number
    later.error = later.error or earlier.error
    return later
