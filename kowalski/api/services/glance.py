"""What a user sees of each survey, at a glance: told within a moment, whatever it takes to count."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from kowalski.alerts.survey import Survey, known_surveys
from kowalski.api.services.objects import Bands
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.api.services.rights import Programmes
from kowalski.errors import KowalskiError
from kowalski.log import get_logger

log = get_logger(__name__)

#: s for which what was counted counts
FRESH = 60.0
#: s that somebody waits for it; what isn't known by then is told the next time
PATIENCE = 0.1
#: ms that counting may take, where nobody waits
COUNTING = 120_000
JD = "candidate.jd"

Key = tuple[str, Programmes]


class Sight(NamedTuple):
    """What is seen of a survey; None: that is not known yet."""

    survey: str
    alerts: int | None = None
    first_jd: float | None = None
    last_jd: float | None = None
    known: bool = False


class Glance:
    """Counts alerts of surveys for those who see the same of them; one count of a kind at a time."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, Sight]] = {}
        self._counting: dict[Key, asyncio.Task[None]] = {}

    def close(self) -> None:
        """Give up what is being counted."""
        for task in self._counting.values():
            task.cancel()

    async def read(self, reads: Reads, bands: Bands) -> list[Sight]:
        """All surveys of which the user sees something, by what is known now or within a moment."""
        seen = [survey for survey in known_surveys() if reads.user.sees(survey.name)]
        tasks = [task for survey in seen if (task := self._task(survey, reads)) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)
        known = (self._known.get(_key(survey, reads)) for survey in seen)
        return [each[1] if each else Sight(survey.name) for survey, each in zip(seen, known, strict=True)]

    def _task(self, survey: Survey, reads: Reads) -> "asyncio.Task[None] | None":
        """The count that is under way, or begins now; None where there need be none."""
        key = _key(survey, reads)
        if key in self._counting:
            return self._counting[key]
        if (known := self._known.get(key)) and time.monotonic() < known[0] + FRESH:
            return None
        task = self._counting[key] = asyncio.create_task(self._count(key, survey, reads))
        task.add_done_callback(lambda done: self._counting.pop(key, None))
        return task

    async def _count(self, key: Key, survey: Survey, reads: Reads) -> None:
        try:
            sight = await _sight(survey, reads)
        except KowalskiError as error:
            log.warning("what is seen of %s can't be counted: %s", survey.name, error)
            sight = Sight(survey.name)  # and not tried again at once
        self._known[key] = time.monotonic(), sight


async def _sight(survey: Survey, reads: Reads) -> Sight:
    whole = reads.user.window(survey.alerts).whole
    plain = replace(PLAIN, max_time_ms=COUNTING, hint=None if whole else await _index(survey, reads))
    if whole:
        number = await reads.estimated_count(survey.alerts, plain)
    else:
        number = await reads.count(survey.alerts, {JD: {"$gt": 0}}, plain)
    first, last = [await _jd(survey, reads, replace(plain, sort=[(JD, order)])) for order in (1, -1)]
    return Sight(survey.name, number, first, last, known=True)


async def _jd(survey: Survey, reads: Reads, reading: Any) -> float | None:
    found = await reads.find_one(survey.alerts, {}, replace(reading, projection={"_id": 0, JD: 1}))
    return float(found["candidate"]["jd"]) if found else None


async def _index(survey: Survey, reads: Reads) -> str | None:
    """An index that knows jd and programme, so that no alert need be read; None where there is none."""
    program = f"candidate.{survey.program_field}"
    names: Mapping[str, Any] = survey.alert_indexes
    fit = [name for name, keys in names.items() if keys[0][0] == JD and program in [field for field, _ in keys]]
    there = await reads.index_info(survey.alerts) if fit else {}
    return next((name for name in fit if name in there), None)


def _key(survey: Survey, reads: Reads) -> Key:
    return survey.name, reads.user.sees(survey.name)
