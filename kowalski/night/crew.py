"""The programs that a survey's night needs, started and stopped under this machine's supervisor."""

import sys
from datetime import date

from kowalski.alerts.survey import module_of
from kowalski.local.system import RUNS, LocalSystem
from kowalski.log import get_logger

log = get_logger(__name__)

#: of what this module adds: it stops before the dask clusters do
PRIORITY = 12


def wanted_workers(lag: int, current: int, least: int, most: int, per_worker: int) -> int:
    """How many dask workers should work off what waits.

    One more for each ``per_worker`` messages, and none is stopped before half of such a share is left, so that they don't come and go.
    """
    wanted = min(least + lag // per_worker, max(most, least))
    return current if wanted < current and lag > per_worker // 2 else wanted


class Crew:
    """The broker and the dask cluster of each survey, and further workers; without a supervisor here others look after them."""

    def __init__(self, system: LocalSystem | None):
        self._system = system

    def bring(self, survey: str) -> bool:
        """Everything that a survey's night needs here runs and is ready; whether something had to be started.

        Raises
        ------
        LocalError : a program does not start
        """
        if self._system is None:
            return False
        states, names = self._system.supervisor.states(), self._names(survey)
        if all(states.get(name, {}).get("statename") in RUNS for name in names):
            return False
        self._system.start(names, progress=log.info)
        return True

    def follow(self, survey: str, night: date) -> None:
        """A broker reads a night that is too long ago for those of the survey."""
        name = _late(survey, night)
        if self._system is None or self._runs(name):
            return
        command = [sys.executable, "-m", module_of(survey), "--obsdate", f"{night:%Y%m%d}"]
        self._start(name, command)
        log.info("%s is started", name)

    def leave(self, survey: str, night: date) -> None:
        """No broker is there for that night alone."""
        name = _late(survey, night)
        if self._system is not None and self._runs(name):
            self._system.halt([name])
            log.info("%s is stopped", name)

    def rest(self, survey: str) -> bool:
        """Nothing that only this survey's nights need runs; whether something had to be stopped."""
        if self._system is None:
            return False
        states = self._system.supervisor.states()
        running = [name for name in (*self._names(survey), *self._more(survey)) if states.get(name, {}).get("statename") in RUNS]  # fmt: skip
        for name in reversed(running):  # brokers before the clusters that they use
            self._system.halt([name])
        return bool(running)

    def scale(self, survey: str, lag: int, most: int | None, per_worker: int) -> int:
        """As many dask workers as what waits asks for; how many there are here then."""
        if self._system is None:
            return 0
        least, more = self._system.config.dask_for(survey).n_workers, self._more(survey)
        if most is None or most <= least:
            return least
        wanted = wanted_workers(lag, least + len(more), least, most, per_worker) - least
        for number in range(len(more) + 1, wanted + 1):
            name = f"{_worker(survey)}{number}"
            command = [sys.executable, "-m", "kowalski.dask_cluster", survey, "--join", "--workers", "1"]
            self._start(name, command)
            log.info("%s is started: %d messages wait", name, lag)
        for name in more[wanted:]:
            self._system.halt([name])
            log.info("%s is stopped: %d messages wait", name, lag)
        return least + wanted

    def _runs(self, name: str) -> bool:
        return self._system is not None and self._system.supervisor.states().get(name, {}).get("statename") in RUNS

    def _start(self, name: str, command: list[str]) -> None:
        assert self._system is not None  # asked before
        self._system.supervisor.add(name, command, PRIORITY)
        self._system.supervisor.start_program(name)

    def _names(self, survey: str) -> list[str]:
        """The programs that only a survey's nights need, in the order in which they start."""
        return [each.name for each in self._system.programs if each.survey == survey] if self._system else []

    def _more(self, survey: str) -> list[str]:
        """The further workers that run, in order."""
        if self._system is None:
            return []
        states = self._system.supervisor.states()
        found = [
            name for name, state in states.items() if name.startswith(_worker(survey)) and state["statename"] in RUNS
        ]
        return sorted(found, key=lambda name: int(name.rpartition("-")[2]))


def _worker(survey: str) -> str:
    return f"dask-worker-{survey.lower()}-"


def _late(survey: str, night: date) -> str:
    return f"alert-broker-{survey.lower()}-{night:%Y%m%d}"
