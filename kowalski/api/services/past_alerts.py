"""Stored alerts as filters saw them in their night."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from kowalski.alerts.survey import Survey
from kowalski.api.errors import BadRequest
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, Queries, Reading
from kowalski.filters.compile import Reads
from kowalski.filters.enrich import enriched

#: alerts that are taken at once
BATCH = 100


class PastAlerts:
    """Reads alerts for filters: each with its object's matches and history as they were known at its time."""

    def __init__(self, queries: Queries):
        self.queries = queries

    async def newest(self, survey: Survey, permissions: Iterable[int], time_ms: int) -> Document | None:
        """The alert that was stored last of those that a filter may see."""
        reading = Reading(time_ms, "filter", without_cutouts(survey), sort=[("$natural", -1)])
        return await self.queries.find_one(survey.alerts, of_programmes(survey, permissions), reading)

    async def batches(
        self, survey: Survey, condition: Document, comment: str, time_ms: int, **how: Any
    ) -> AsyncIterator[list[Document]]:
        """Alerts that meet a condition, without their cutouts, some at a time."""
        reading = Reading(time_ms, comment, without_cutouts(survey), **how)
        batch: list[Document] = []
        async for alert in self.queries.find(survey.alerts, condition, reading):
            batch.append(alert)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def as_seen(
        self, survey: Survey, alerts: list[Document], permissions: tuple[int, ...], reads: Reads, time_ms: int
    ) -> list[RawBSONDocument]:
        """What a filter of some programmes is fed for some alerts."""
        wanted = {"_id": {"$in": list({alert[survey.object_id] for alert in alerts})}}
        found = self.queries.find(survey.aux, wanted, Reading(time_ms, "filter"))
        objects = {each["_id"]: each async for each in found}

        def encode() -> list[RawBSONDocument]:
            return [
                RawBSONDocument(
                    bson.encode(
                        enriched(alert, objects.get(alert[survey.object_id], {}), survey, permissions, reads)
                    )
                )
                for alert in alerts
            ]  # fmt: skip

        return await asyncio.to_thread(encode)


def shared_programmes(survey: Survey, permissions: Iterable[int], user: User) -> tuple[int, ...]:
    """Those of a filter's programmes that a user may see himself.

    Raises
    ------
    BadRequest : the survey has no programmes, and he may not see it
    """
    seen = user.sees(survey.name)
    if survey.program_field is None and seen is not True:
        raise BadRequest(f"you may not see {survey.alerts}")
    return tuple(permissions) if seen is True else tuple(sorted(set(permissions) & (seen or frozenset())))


def of_programmes(survey: Survey, permissions: Iterable[int]) -> Document:
    """The condition on alerts that a filter with these permissions sees."""
    if survey.program_field is None:
        return {}
    return {f"candidate.{survey.program_field}": {"$in": list(permissions)}}


def without_cutouts(survey: Survey) -> dict[str, Any]:
    """The projection of an alert that leaves its images out."""
    return dict.fromkeys(survey.cutouts.values(), 0)
