"""The recent alerts in an event's sky map, cell by cell, the most probable first."""

import asyncio
import heapq
from datetime import UTC, datetime
from itertools import count
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.alerts.times import jd_of
from kowalski.database.gcn import GcnEvents
from kowalski.gathering import gathered
from kowalski.skymaps.cells import Cells
from kowalski.skymaps.search import Found, Region, place_of

#: alerts of an event that are kept, the most probable ones: some 2 MB
MOST = 10_000
#: alerts whose places are looked at together
LOOKED = 5_000

Document = dict[str, Any]


async def alerts_within(
    events: GcnEvents, surveys: list[Survey], cells: Cells, level: float, noticed_at: datetime, days: float
) -> tuple[list[Document], Document]:
    """The alerts within a level (percent) of a map since some days before the notice, and what was looked for.

    Each has ``survey``, ``objectId``, ``candid``, ``jd``, ``programid``, ``rank`` (1: the most probable), ``credible_level`` and
    ``probdensity`` (per sr).
    """
    region = Region(cells, level)
    geometry = await asyncio.to_thread(region.geometry)
    since = jd_of(noticed_at) - days
    best: list[tuple[float, int, Document]] = []
    numbers, total = count(), 0
    for survey in surveys:
        async for rows in gathered(events.recent_alerts(survey, geometry, since), LOOKED):
            found = await asyncio.to_thread(region.look, [place_of(row) for row in rows])
            for row, each in zip(rows, found, strict=True):
                if each is not None:
                    total += 1
                    kept = (each.density, -next(numbers), _told(survey, row, each))
                    (heapq.heappush if len(best) < MOST else heapq.heappushpop)(best, kept)
    alerts = [alert for _, _, alert in sorted(best, key=lambda entry: entry[:2], reverse=True)]
    searched = {
        "at": datetime.now(UTC),
        "since_jd": since,
        "credible_level": level,
        "surveys": [survey.name for survey in surveys],
        "complete": total == len(alerts),
    }
    return [{"rank": rank, **alert} for rank, alert in enumerate(alerts, 1)], searched


def _told(survey: Survey, row: Document, found: Found) -> Document:
    candidate = row.get("candidate") or {}
    program = {"programid": candidate.get(survey.program_field)} if survey.program_field else {}
    ids = {
        "survey": survey.name,
        "objectId": row.get("objectId"),
        "candid": row.get("candid"),
        "jd": candidate.get("jd"),
    }
    return {**ids, **program, **found.told}
