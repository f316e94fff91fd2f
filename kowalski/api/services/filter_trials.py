"""Filters tried on stored alerts: each sees what it would have seen in the night of its alert."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from kowalski.alerts.survey import Survey
from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import Trial
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, Queries, QueryError, Reading
from kowalski.filters.compile import CARRIER, compile_stages
from kowalski.filters.enrich import enriched

#: ms that a filter may take on the newest alert
TRIAL_MS = 3000
#: alerts that are tried at once
BATCH = 50


class NoAlerts(BadRequest):
    """There is nothing to try a filter on."""


class FilterTrials:
    """Runs pipelines on alerts of the archive."""

    def __init__(self, queries: Queries):
        self.queries = queries

    async def on_newest(self, survey: Survey, stages: list[Document], permissions: tuple[int, ...]) -> None:
        """Return when a pipeline runs on the newest alert that its filter may see.

        Raises
        ------
        BadRequest : MongoDB refuses it, or it takes too long
        NoAlerts : there is no such alert
        """
        reading = Reading(TRIAL_MS, "filter", _without_cutouts(survey), sort=[("$natural", -1)])
        alert = await self.queries.find_one(survey.alerts, _visible(survey, permissions), reading)
        if alert is None:
            raise NoAlerts(f"no alerts in {survey.alerts} to test the pipeline on")
        try:
            await self._run(survey, stages, [alert], permissions, TRIAL_MS)
        except QueryError as error:
            raise BadRequest(str(error)) from None

    async def over(
        self, survey: Survey, stages: list[Document], permissions: tuple[int, ...], trial: Trial, user: User
    ) -> AsyncIterator[Document]:
        """What a pipeline lets through of the alerts of a trial, one by one, within its time."""
        seen = user.sees(survey.name)
        if seen is not True:
            permissions = tuple(set(permissions) & (seen or frozenset()))
        condition = _visible(survey, permissions)
        if trial.object_ids:
            condition[survey.object_id] = {"$in": trial.object_ids}
        if trial.start_date is not None:
            condition["candidate.jd"] = {"$gte": trial.start_date, "$lte": trial.end_date}
        deadline = asyncio.get_running_loop().time() + trial.max_time_ms / 1000
        reading = Reading(trial.max_time_ms, f"{user.name}: filter test", _without_cutouts(survey))
        batch: list[Document] = []
        try:
            async for alert in self.queries.find(survey.alerts, condition, reading):
                batch.append(alert)
                if len(batch) == BATCH:
                    for row in await self._run(survey, stages, batch, permissions, _left(deadline)):
                        yield row
                    batch = []
            for row in await self._run(survey, stages, batch, permissions, _left(deadline)) if batch else ():
                yield row
        except QueryError as error:
            raise BadRequest(f"failure: {error}") from None

    async def _run(
        self, survey: Survey, stages: list[Document], alerts: list[Document], permissions: tuple[int, ...], time_ms: int
    ) -> list[Document]:
        """Rows of some alerts, each as by itself."""
        compiled = compile_stages(stages)
        reading = Reading(time_ms, "filter")
        wanted = {"_id": {"$in": list({alert[survey.object_id] for alert in alerts})}}
        objects = {each["_id"]: each async for each in self.queries.find(survey.aux, wanted, reading)}

        def encode() -> list[RawBSONDocument]:
            return [
                RawBSONDocument(bson.encode(enriched(alert, objects.get(alert[survey.object_id], {}), survey, permissions, compiled.reads)))
                for alert in alerts
            ]  # fmt: skip

        documents = await asyncio.to_thread(encode)
        together = [documents] if compiled.by_batch else [[document] for document in documents]
        rows = [row for part in together for row in await self.queries.run(compiled.stages, part, time_ms)]
        return [{key: value for key, value in row.items() if key != CARRIER} for row in rows]


def _visible(survey: Survey, permissions: tuple[int, ...]) -> Document:
    if survey.program_field is None:
        return {}
    return {f"candidate.{survey.program_field}": {"$in": list(permissions)}}


def _without_cutouts(survey: Survey) -> dict[str, Any]:
    return dict.fromkeys(survey.cutouts.values(), 0)


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
