"""Filters tried on stored alerts: each sees what it would have seen in the night of its alert."""

import asyncio
from collections.abc import AsyncIterator

from bson.raw_bson import RawBSONDocument

from kowalski.alerts.survey import Survey
from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import Trial
from kowalski.api.services.past_alerts import PastAlerts, shared_with
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, QueryError
from kowalski.filters.compile import CARRIER, CompiledStages, compile_stages
from kowalski.filters.sight import Sight

#: ms that a filter may take on the newest alert
TRIAL_MS = 3000


class NoAlerts(BadRequest):
    """There is nothing to try a filter on."""


class FilterTrials:
    """Runs pipelines on alerts of the archive."""

    def __init__(self, past: PastAlerts):
        self.past = past

    async def on_newest(self, sight: Sight, stages: list[Document]) -> None:
        """Return when a pipeline runs on the newest alert that its filter may see.

        Raises
        ------
        BadRequest : MongoDB refuses it, or it takes too long
        NoAlerts : there is no such alert
        """
        alert = await self.past.newest(sight, TRIAL_MS)
        if alert is None:
            raise NoAlerts(f"no alerts in {sight.survey.alerts} to test the pipeline on")
        try:
            await self._rows(sight, compile_stages(stages), [alert], TRIAL_MS)
        except QueryError as error:
            raise BadRequest(str(error)) from None

    async def over(self, sight: Sight, stages: list[Document], trial: Trial, user: User) -> AsyncIterator[Document]:
        """What a pipeline lets through of the alerts of a trial, one by one, within its time."""
        sight, compiled = shared_with(user, sight), compile_stages(stages)
        survey = sight.survey
        condition = sight.condition | chosen(survey, trial.object_ids, trial.start_date, trial.end_date)
        deadline = asyncio.get_running_loop().time() + trial.max_time_ms / 1000
        try:
            comment = f"{user.name}: filter test"
            async for batch in self.past.batches(survey, condition, comment, trial.max_time_ms):
                for row in await self._rows(sight, compiled, batch, _left(deadline)):
                    yield row
        except QueryError as error:
            raise BadRequest(f"failure: {error}") from None

    async def _rows(
        self, sight: Sight, compiled: CompiledStages, alerts: list[Document], time_ms: int
    ) -> list[Document]:
        """Rows of some alerts, each as by itself."""
        documents = await self.past.as_seen(sight, alerts, compiled.reads, time_ms)
        rows = [row for part in portions(compiled, documents) for row in await self.past.queries.run(compiled.stages, part, time_ms)]  # fmt: skip
        return [{key: value for key, value in row.items() if key != CARRIER} for row in rows]


def chosen(survey: Survey, object_ids: list[str] | None, start: float | None, end: float | None) -> Document:
    """The condition on alerts of some objects, or within an interval of time (JD), or both."""
    condition: Document = {}
    if object_ids:
        condition[survey.object_id] = {"$in": object_ids}
    if start is not None:
        condition["candidate.jd"] = {"$gte": start, "$lte": end}
    return condition


def portions(compiled: CompiledStages, documents: list[RawBSONDocument]) -> list[list[RawBSONDocument]]:
    """The documents as they may go through a pipeline: all at once, or each by itself."""
    return [documents] if compiled.by_batch else [[document] for document in documents]


def _left(deadline: float) -> int:
    """ms until a moment of the event loop's clock.

    Raises
    ------
    BadRequest : it is over
    """
    left = int(1000 * (deadline - asyncio.get_running_loop().time()))
    if left < 1:
        raise BadRequest("failure: operation exceeded time limit")
    return left
