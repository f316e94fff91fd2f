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
from kowalski.filters.compile import CARRIER, EVERYTHING, CompiledStages, compile_stages
from kowalski.filters.portions import Batch, portions
from kowalski.filters.sight import Sight

#: s that all pipelines of one request, and a look at what the filter would let through, may take together: its answer is due in 3
ANSWER = 2.4
#: s more until an aggregation is given up that MongoDB does not end, as it is in the midst of one expression
GRACE = 0.2
#: documents that are made of the newest alert
MOST = 100


class NoAlerts(BadRequest):
    """There is nothing to try a filter on."""


class Rehearsal:
    """A filter's pipelines tried on the newest alert that it may see, all within the time that an answer may take."""

    def __init__(self, past: PastAlerts, sight: Sight):
        self.past = past
        self.sight = sight
        self._deadline = asyncio.get_running_loop().time() + ANSWER
        self._seen: list[RawBSONDocument] = []

    @property
    def seconds_left(self) -> float:
        """Of the time for the answer."""
        return self._deadline - asyncio.get_running_loop().time()

    async def of(self, stages: list[Document]) -> None:
        """Return when a pipeline has run.

        Raises
        ------
        BadRequest : MongoDB refuses it, or it takes too long
        NoAlerts : there is no alert
        """
        if not self._seen:
            alert = await self.past.newest(self.sight, self._ms_left() // 2)
            if alert is None:
                raise NoAlerts(f"no alerts in {self.sight.survey.alerts} to test the pipeline on")
            self._seen = await self.past.as_seen(self.sight, [alert], EVERYTHING, self._ms_left())
        tried = self.past.queries.run([*compile_stages(stages).alone, {"$limit": MOST}], self._seen, self._ms_left())
        try:
            await asyncio.wait_for(tried, max(0.0, self.seconds_left) + GRACE)
        except QueryError as error:
            raise BadRequest(str(error)) from None
        except TimeoutError:
            raise BadRequest("operation exceeded time limit") from None

    def _ms_left(self) -> int:
        return max(2, int(1000 * self.seconds_left))


class FilterTrials:
    """Runs pipelines on alerts of the archive."""

    def __init__(self, past: PastAlerts):
        self.past = past

    def rehearsal(self, sight: Sight) -> Rehearsal:
        """What tries the pipelines of one request."""
        return Rehearsal(self.past, sight)

    async def over(self, sight: Sight, stages: list[Document], trial: Trial, user: User) -> AsyncIterator[Document]:
        """What a pipeline lets through of the alerts of a trial, whole, one by one, within its time."""
        sight, compiled = shared_with(user, sight), compile_stages(stages)
        survey = sight.survey
        condition = sight.condition | chosen(survey, trial.object_ids, trial.start_date, trial.end_date)
        deadline = asyncio.get_running_loop().time() + trial.max_time_ms / 1000
        try:
            comment = f"{user.name}: filter test"
            async for batch in self.past.batches(survey, condition, comment, trial.max_time_ms):
                documents = await self.past.as_seen(sight, batch, EVERYTHING, _left(deadline))
                async for row in self._rows(compiled, documents, deadline):
                    yield row
        except QueryError as error:
            raise BadRequest(f"failure: {error}") from None

    async def _rows(self, compiled: CompiledStages, alerts: Batch, deadline: float) -> AsyncIterator[Document]:
        """Rows of some alerts, each as by itself; of one alert at a time where there may be many large ones."""
        stages, parts = portions(compiled, alerts)
        if any("$unwind" in stage for stage in stages):
            parts = [[alert] for alert in alerts]
        for part in parts:
            for row in await self.past.queries.run(stages, part, _left(deadline)):
                row.pop(CARRIER, None)
                yield row


def chosen(survey: Survey, object_ids: list[str] | None, start: float | None, end: float | None) -> Document:
    """The condition on alerts of some objects, or within an interval of time (JD), or both."""
    condition: Document = {}
    if object_ids:
        condition[survey.object_id] = {"$in": object_ids}
    if start is not None:
        condition["candidate.jd"] = {"$gte": start, "$lte": end}
    return condition


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
