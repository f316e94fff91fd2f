"""Filters that are being written: checked, explained and replayed before they are saved."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from bson import json_util

from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import NewVersion, Replay, ToExplain
from kowalski.api.services.filter_trials import chosen
from kowalski.api.services.filters import FilterService
from kowalski.api.services.funnels import Funnel
from kowalski.api.services.past_alerts import shared_with
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.api.services.replays import NAMED
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, Reading
from kowalski.errors import FilterError
from kowalski.filters.compile import parse_pipeline
from kowalski.filters.definition import version_of
from kowalski.filters.explain import MISSING, value_at
from kowalski.filters.language import OPERATORS
from kowalski.nesting import is_too_deep

#: what a draft is called beside the version that it is compared with
DRAFT = "draft"
PLACE = re.compile(r"line (\d+) column (\d+)")


class Drafts:
    """Answers for users what `FilterService` would say of a filter, were it saved as it is now; nothing is saved."""

    def __init__(self, filters: FilterService):
        self.filters = filters

    async def check(self, wanted: NewVersion, user: User) -> Document:
        """Whether it could be saved, by the very check of ``POST /api/filters``; if not, why and where. How much it passes is looked at later.

        ``{ok, message}``, where it fails and that is known with ``stage`` (from 1), ``path`` in it, or ``line`` and ``column``.
        """
        try:
            checked = await self.filters.check(wanted, user)
        except BadRequest as error:
            return {"ok": False, "message": str(error), **await self._place(wanted, str(error), user)}
        not_run = checked.said.partition(": not run, ")[2]
        return {
            "ok": True,
            "message": f"It can be saved; not tried: {not_run}."
            if not_run
            else "It can be saved: it runs on the newest alert.",
        }

    async def explain(self, wanted: NewVersion, asked: ToExplain, user: User) -> list[Document]:
        """Why alerts would pass it or not, as `Explanations.of`."""
        _, stored, sight = await self.filters.sight_of(wanted, user)
        return await self.filters.explanations.of(stored or {}, {"pipeline": wanted.pipeline}, sight, asked, user)

    async def replay(self, wanted: NewVersion, asked: Replay, compared: bool, user: User) -> Document:
        """What it would make of past alerts, as `Replays.over`; with the number of alerts ``left`` after each stage.

        ``compared``: with the filter's active version.
        """
        _, stored, sight = await self.filters.sight_of(wanted, user)
        versions = {DRAFT: _parsed(wanted.pipeline)}
        if compared and stored is not None:
            versions |= _active(stored)
        funnel = Funnel()
        told = await self.filters.replays.over(versions, sight, asked, user, funnel)
        for stage, left in zip(told["stages"], funnel.left, strict=False):
            stage["left"] = left
        return told | {"counted": funnel.alerts, "refused": funnel.refused}

    async def count(self, wanted: NewVersion, asked: Replay, user: User) -> int:
        """How many alerts a replay has before it."""
        _, _, sight = await self.filters.sight_of(wanted, user)
        shared = shared_with(user, sight)
        condition = shared.condition | chosen(shared.survey, asked.object_ids, asked.start, asked.end)
        return await self.filters.past.queries.count(shared.survey.alerts, condition, PLAIN)

    async def values(self, wanted: NewVersion, candids: list[int], field: str, user: User) -> list[float]:
        """The numbers that some alerts have in a field, as far as the user sees them."""
        _, _, sight = await self.filters.sight_of(wanted, user)
        reading = Reading(PLAIN.max_time_ms, f"{user.name}: filter replay", {"_id": 0, field: 1})
        condition = {"candid": {"$in": candids[:NAMED]}}
        found = Reads(self.filters.past.queries, user).find(sight.survey.alerts, condition, reading)
        return [value async for value in _numbers(found, field)]

    async def _place(self, wanted: NewVersion, message: str, user: User) -> Document:
        """Where in a pipeline it fails."""
        if found := PLACE.search(message):
            return {"line": int(found[1]), "column": int(found[2])}
        try:
            stages = parse_pipeline(wanted.pipeline)
        except FilterError:
            return _refused(wanted.pipeline)
        try:
            _, _, sight = await self.filters.sight_of(wanted, user)
            rehearsal = self.filters.trials.rehearsal(shared_with(user, sight))
        except BadRequest:
            return {}
        for number in range(1, len(stages) + 1):
            try:
                await rehearsal.of(stages[:number])
            except BadRequest:
                return {"stage": number, "path": next(iter(stages[number - 1]))}
        return {}


async def _numbers(found: AsyncIterator[Document], field: str) -> AsyncIterator[float]:
    async for document in found:
        value = value_at(document, field)
        if value is not MISSING and isinstance(value, int | float) and not isinstance(value, bool):
            yield float(value)


def _parsed(pipeline: Any) -> list[Document]:
    try:
        return parse_pipeline(pipeline)
    except FilterError as error:
        raise BadRequest(str(error)) from None


def _active(stored: Document) -> dict[str, list[Document]]:
    """The active version of a filter, by its id."""
    try:
        version = version_of(stored)
    except FilterError as error:
        raise BadRequest(str(error)) from None
    return {version["fid"]: _parsed(version["pipeline"])}


def _refused(pipeline: Any) -> Document:
    """The stage that is not allowed, and the way to what is not allowed in it."""
    try:
        stages = json_util.loads(pipeline) if isinstance(pipeline, str) else pipeline
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return {}
    if is_too_deep(stages):
        return {}
    for number, stage in enumerate(stages if isinstance(stages, list) else (), 1):
        try:
            parse_pipeline([stage])
        except FilterError:
            return {"stage": number, "path": ".".join(next(_strange(stage), next(iter(_keys(stage)), [])))}
    return {}


def _strange(value: Any, depth: int = 0) -> Iterator[list[str]]:
    """The ways to operators that are not allowed; the stage's own name may be any."""
    if isinstance(value, dict):
        for key, item in value.items():
            if depth and key.startswith("$") and key not in OPERATORS:
                yield [key]
            elif key != "$literal":
                yield from ([key, *way] for way in _strange(item, depth + 1))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from ([str(place), *way] for way in _strange(item, depth + 1))


def _keys(stage: Any) -> Iterator[list[str]]:
    return ([key] for key in stage) if isinstance(stage, dict) else iter(())
