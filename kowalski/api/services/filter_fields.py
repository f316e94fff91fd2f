"""Names of the fields that a filter may use: those of its survey's schema, and those that recent alerts have."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import bson

from kowalski.alerts.drift import fields_of
from kowalski.alerts.schemas import own_schema, store_of
from kowalski.alerts.survey import Survey
from kowalski.api.services.past_alerts import PastAlerts, shared_with
from kowalski.api.services.rights import User
from kowalski.database.queries import QueryError
from kowalski.errors import ConfigError, PacketError
from kowalski.filters.compile import CARRIER, EVERYTHING
from kowalski.filters.sight import Sight
from kowalski.log import get_logger
from kowalski.settings import Config

log = get_logger(__name__)

#: alerts that are looked at, and ms that this may take
ALERTS, TIME_MS = 20, 5000
#: items of a list that are looked at
ITEMS = 5
#: s for which what was found is remembered, and how many of such
KEPT, KNOWN = 600, 50
#: names at most, and levels
MOST, DEEPEST = 5000, 6

Fields = dict[str, str]
"""Dotted name -> kind."""


class FilterFields:
    """Tells names to users, of alerts that they and their filter may both see."""

    def __init__(self, past: PastAlerts, config: Config):
        self.past = past
        self.config = config
        self._declared: dict[str, Fields] = {}
        self._known: dict[Any, tuple[float, Fields]] = {}

    async def of(self, sight: Sight, user: User) -> Fields:
        """All that are known, by name."""
        shared = shared_with(user, sight)
        key = (shared.survey.name, shared.key)
        at, known = self._known.get(key, (0.0, {}))
        if not known or time.monotonic() - at > KEPT:
            known = await self._all(shared)
            self._known[key] = time.monotonic(), known
            self._known = dict([*self._known.items()][-KNOWN:])
        return known

    async def _all(self, sight: Sight) -> Fields:
        survey = sight.survey
        if survey.name not in self._declared:
            self._declared[survey.name] = await asyncio.to_thread(declared, survey, self.config)
        found: Fields = dict(self._declared[survey.name])
        alerts = self.past.batches(survey, sight.condition, "filter fields", TIME_MS, sort=[("candidate.jd", -1)], limit=ALERTS)  # fmt: skip
        try:
            async for batch in alerts:
                for raw in await self.past.as_seen(sight, batch, EVERYTHING, TIME_MS):
                    for name, kind in _walk(bson.decode(raw.raw), "", 0):
                        if kind or name not in found:
                            found[name] = kind or "null"
        except QueryError as error:  # of a rare programme it may take too long: what is declared is known all the same
            log.info("fields of %s are completed by its schema alone: %s", survey.name, error)
        found.pop(CARRIER, None)
        return dict(sorted(found.items())[:MOST])


def declared(survey: Survey, config: Config) -> Fields:
    """Those of the survey's own schema, if it is here, and those without which its packets can't be processed; no cutouts."""
    fields = {path: frozenset([kind]) for path, kind in (survey.needed | survey.used).items()}
    try:
        schema = own_schema(survey, store_of(survey, config))
        fields |= fields_of(schema) if schema is not None else {}
    except (ConfigError, PacketError) as error:  # what alerts have is found all the same
        log.info("fields of %s are completed by what its alerts have alone: %s", survey.name, error)
    hidden = tuple(survey.cutouts.values())
    named = {path.replace("[]", "").replace("{}", ""): kinds for path, kinds in fields.items()}
    return {
        path: " or ".join(sorted(kinds - {"null"})) for path, kinds in named.items() if path.split(".")[0] not in hidden
    }


def _walk(value: Any, before: str, depth: int) -> Iterator[tuple[str, str]]:
    """Dotted names of all that a document holds, those in lists as MongoDB looks through them; the kind, empty where there is null."""
    if isinstance(value, list):
        for item in value[:ITEMS]:
            yield from _walk(item, before, depth)
    elif isinstance(value, dict) and depth < DEEPEST:
        for key, item in value.items():
            name = f"{before}.{key}" if before else key
            yield name, _kind(item)
            yield from _walk(item, name, depth + 1)


def _kind(value: Any) -> str:
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "text"),
        (list, "array"),
        (dict, "record"),
    ):
        if isinstance(value, kind):
            return name
    return "" if value is None else type(value).__name__
