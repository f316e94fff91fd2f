"""Stored alerts as filters saw them in their night."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from kowalski.alerts.parts import joined
from kowalski.alerts.survey import Survey, get_survey
from kowalski.api.errors import BadRequest
from kowalski.api.services.rights import User
from kowalski.database.links import COLLECTION as LINKS
from kowalski.database.links import end_of, links_of
from kowalski.database.queries import Document, Queries, QueryError, Reading
from kowalski.filters.companions import Companion, companions_of
from kowalski.filters.compile import Reads
from kowalski.filters.enrich import ELSEWHERE, enriched
from kowalski.filters.sight import Sight
from kowalski.filters.watching import NOTHING, WATCHED, Watched, places_of
from kowalski.log import get_logger
from kowalski.watchlists.matching import ListKey, Lists, matches

log = get_logger(__name__)

#: alerts that are taken at once
BATCH = 100
#: watchlists that are remembered, with their regions
KNOWN = 10


class PastAlerts:
    """Reads alerts for filters: each with its object's matches and history as they were known at its time."""

    def __init__(self, queries: Queries):
        self.queries = queries
        self._known: Lists = {}

    async def newest(self, sight: Sight, time_ms: int) -> Document | None:
        """The alert that was stored last of those that a filter may see; None where there is none, or none is found in time."""
        survey = sight.survey
        if survey.program_field is not None and not sight.permissions:
            return None
        reading = Reading(time_ms, "filter", without_cutouts(survey), sort=[("$natural", -1)])
        try:
            return await self.queries.find_one(survey.alerts, sight.condition, reading)
        except QueryError as error:  # alerts of its programmes are so rare that there are many to go through
            log.warning("no newest alert in %s of programmes %s: %s", survey.alerts, sight.permissions, error)
            return None

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

    async def as_seen(self, sight: Sight, alerts: list[Document], reads: Reads, time_ms: int) -> list[RawBSONDocument]:
        """What a filter is fed for some alerts."""
        oid = sight.survey.object_id
        ids = {alert[oid] for alert in alerts}
        objects = await self._by_id(sight.survey, ids, time_ms)
        asked = {other.survey.name for other in sight.others} if reads.wants(ELSEWHERE) else set()
        elsewhere = await self._companions(sight.survey, ids, asked, time_ms) if asked else {}
        watches = sight.watchlists if reads.wants(WATCHED) else ()
        watched = await self._watched(sight.survey, alerts, watches, time_ms) if watches else NOTHING

        def encode() -> list[RawBSONDocument]:
            fed = []
            for place, alert in enumerate(alerts):
                key, rows = alert[oid], watched.rows(place, watches)
                fed.append(enriched(alert, objects.get(key, {}), sight, reads, elsewhere.get(key, ()), rows))
            return [RawBSONDocument(bson.encode(document)) for document in fed]

        return await asyncio.to_thread(encode)

    async def _companions(
        self, survey: Survey, ids: set[str], names: set[str], time_ms: int
    ) -> dict[str, list[Companion]]:
        """As `Companions.of`."""
        ends = [end_of(survey.name, each) for each in ids]
        pairs = self.queries.find(LINKS, {"objects": {"$in": ends}}, Reading(time_ms, "filter"))
        links = [link for link in links_of(ends, [each async for each in pairs]) if link.other_survey in names]
        auxes, candidates = dict[str, Any](), dict[str, Any]()
        for name in {link.other_survey for link in links}:
            other, its = get_survey(name), {link.other_id for link in links if link.other_survey == name}
            auxes[name] = await self._by_id(other, its, time_ms)
            reading = Reading(time_ms, "filter", {other.object_id: 1, "candidate": 1}, sort=[("candidate.jd", 1)])
            found = candidates[name] = dict[str, list[Document]]()
            async for alert in self.queries.find(other.alerts, {other.object_id: {"$in": list(its)}}, reading):
                found.setdefault(alert[other.object_id], []).append(alert["candidate"])
        return companions_of(links, auxes, candidates)

    async def _watched(self, survey: Survey, alerts: list[Document], keys: Iterable[ListKey], time_ms: int) -> Watched:
        """What alerts match in watchlists as these are now.

        Raises
        ------
        BadRequest : there is one no more
        """
        known = {key: self._known[key] for key in keys if key in self._known}
        asking, reading = matches(keys, places_of(alerts, survey), known), Reading(time_ms, "filter")
        try:
            question = next(asking)
            while True:
                answer = self.queries.aggregate(question.collection, question.pipeline, reading, disk=False)
                question = asking.send([row async for row in answer])
        except StopIteration as done:
            watched = Watched(done.value)
        self._known = dict([*self._known.items(), *known.items()][-KNOWN:])
        if lack := watched.lacks(tuple(keys)):
            raise BadRequest(lack)
        return watched

    async def _by_id(self, survey: Survey, ids: set[str], time_ms: int) -> dict[str, Document]:
        """The documents of objects, with the points of their parts."""
        reading = Reading(time_ms, "filter")
        found = self.queries.find(survey.aux, {"_id": {"$in": list(ids)}}, reading)
        owns = {each["_id"]: each async for each in found}
        for key, own in owns.items():
            if older := own.get("older"):
                parts = self.queries.find(survey.older, {"_id": {"$in": older}}, reading)
                owns[key] = joined(own, [part async for part in parts], survey.history_fields)
        return owns


def shared_with(user: User, sight: Sight) -> Sight:
    """What a filter and a user may both see.

    Raises
    ------
    BadRequest : the survey has no programmes, and he may not see it
    """
    if sight.survey.program_field is None and user.sees(sight.survey.name) is not True:
        raise BadRequest(f"you may not see {sight.survey.alerts}")
    others = [other for other in sight.others if other.survey.program_field or user.sees(other.survey.name) is True]
    return replace(_narrowed(user, sight), others=tuple(_narrowed(user, other) for other in others))


def hidden_from(sight: Sight, shared: Sight) -> str:
    """What to say to a user who sees less than a filter does; empty where he sees as much."""
    if hidden := sorted(set(sight.permissions) - set(shared.permissions)):
        return f"the filter sees programids {hidden}, which you may not see"
    return "" if shared.others == sight.others else "the filter sees more of other surveys than you may see"


def _narrowed(user: User, sight: Sight) -> Sight:
    seen = user.sees(sight.survey.name)
    shared = sight.permissions if seen is True else tuple(sorted(set(sight.permissions) & (seen or frozenset())))
    return replace(sight, permissions=shared)


def without_cutouts(survey: Survey) -> dict[str, Any]:
    """The projection of an alert that leaves its images out."""
    return dict.fromkeys(survey.cutouts.values(), 0)
