"""Objects by id, candid, position or name, in all surveys of which a user sees something."""

import asyncio
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from kowalski.alerts.survey import Survey, known_surveys
from kowalski.api.models.positions import Position
from kowalski.api.models.questions import Question
from kowalski.api.services.cone_pipelines import distance_arcsec
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.database.queries import POSITION, Document
from kowalski.gathering import listed

#: arcsec around what TNS has within which an object is taken for the same
SAME = 3.0
#: alerts around a position that are looked at, in one survey, and objects there that are told, the nearest
AROUND, NEAREST = 5000, 200
#: objects that are told where an id is only begun, and characters that it has to have for that
BEGUN, SHORTEST = 20, 4
#: ms that a search may take
PATIENCE = 10_000
TNS = "TNS"


@dataclass(frozen=True)
class Hit:
    """An object that was found.

    Attributes
    ----------
    alerts : how many, about; None: not counted
    last_jd : of its last alert, with ``ra`` and ``dec`` (deg) of one of them
    distance : arcsec from the position that was asked for
    candid : the alert that was asked for
    """

    survey: str
    object_id: str
    ra: float | None = None
    dec: float | None = None
    alerts: int | None = None
    last_jd: float | None = None
    distance: float | None = None
    candid: int | None = None


@dataclass(frozen=True)
class Searched:
    """What a search found, the nearest first, and what it tried, in words; ``more``: there may be more than was found."""

    hits: list[Hit]
    tried: list[str]
    more: bool = False


class ObjectSearch:
    """Searches on behalf of one user."""

    def __init__(self, reads: Reads):
        self.reads = reads
        self.surveys = [survey for survey in known_surveys() if reads.user.sees(survey.name)]
        self.plain = replace(PLAIN, max_time_ms=PATIENCE)

    async def find(self, asked: Question) -> Searched:
        """All that a question may mean; ids that are only begun, where nothing else is found."""
        if asked.position is not None:
            return await self._at(asked.position, asked.radius, [])
        tried, looks, more = list[str](), [], False
        if asked.candid is not None:
            tried.append(f"an alert with the candid {asked.candid}")
            looks.append(self._each(self._of_candid, asked.candid))
        if asked.ids:
            tried.append(f"an object with the id {' or '.join(asked.ids[:2])}")
            looks.append(self._each(self._of_ids, asked.ids))
        hits = [hit for found in await asyncio.gather(*looks) for hit in found]
        if asked.name is not None and not hits:
            named = await self._named(asked.name)
            hits, tried, more = named.hits, [*tried, *named.tried], named.more
        if asked.ids and not hits and len(asked.text) >= SHORTEST:
            tried.append(f"objects whose id begins with {asked.text}")
            hits = await self._each(self._begun, asked.ids)
        return Searched(await self._told(_once(hits)), tried, more or len(hits) >= BEGUN)

    async def _each(self, look: Any, what: Any) -> list[Hit]:
        return [
            hit for found in await asyncio.gather(*(look(survey, what) for survey in self.surveys)) for hit in found
        ]

    async def _of_candid(self, survey: Survey, candid: int) -> list[Hit]:
        reading = replace(self.plain, projection={"_id": 0, survey.object_id: 1})
        found = await self.reads.find_one(survey.alerts, {"candid": candid}, reading)
        return [Hit(survey.name, found[survey.object_id], candid=candid)] if found else []

    async def _of_ids(self, survey: Survey, ids: Iterable[str]) -> list[Hit]:
        """Objects of these ids, of which there is an alert or a history."""
        chosen, key = {"$in": list(ids)}, survey.object_id
        alert, object_ = await asyncio.gather(
            self.reads.find_one(survey.alerts, {key: chosen}, replace(self.plain, projection={"_id": 0, key: 1})),
            self.reads.find_one(survey.aux, {"_id": chosen}, replace(self.plain, projection={"_id": 1})),
        )
        found = [*([alert[key]] if alert else []), *([object_["_id"]] if object_ else [])]
        return [Hit(survey.name, object_id) for object_id in dict.fromkeys(found)]

    async def _begun(self, survey: Survey, ids: Iterable[str]) -> list[Hit]:
        beginnings = [re.compile(f"^{re.escape(each)}") for each in ids]
        reading = replace(self.plain, projection={"_id": 1}, sort=[("_id", 1)], limit=BEGUN)
        found = await listed(self.reads.find(survey.aux, {"_id": {"$in": beginnings}}, reading))
        return [Hit(survey.name, row["_id"]) for row in found]

    async def _named(self, name: str) -> Searched:
        """What lies where TNS has something of that name."""
        tried = [f"TNS's {name}"]
        if not self.reads.user.may_read(TNS):
            return Searched([], tried)
        row = await self.reads.find_one(TNS, {"objname": name}, self.plain)
        if row is None:
            return Searched([], [f"{tried[0]}, which is not in the archive's copy of TNS"])
        return await self._at((row["ra"], row["dec"]), SAME, tried)

    async def _at(self, position: Position, radius: float, tried: list[str]) -> Searched:
        """Objects around a position, the nearest first."""
        found = await asyncio.gather(*(self._around(survey, position, radius) for survey in self.surveys))
        hits = sorted((hit for hits in found for hit in hits), key=lambda hit: hit.distance or 0.0)
        more = len(hits) > NEAREST or any(sum(hit.alerts or 0 for hit in hits) >= AROUND for hits in found)
        where = f'{position[0]:.5f} {position[1]:+.5f} within {radius:g}"'
        tried = [*tried, f"objects at {where}, in {', '.join(survey.name for survey in self.surveys)}"]
        return Searched(hits[:NEAREST], tried, more)

    async def _around(self, survey: Survey, position: Position, radius: float) -> list[Hit]:
        centre = [[position[0] - 180.0, position[1]], math.radians(radius / 3600)]
        pipeline: list[Document] = [
            {"$match": {POSITION: {"$geoWithin": {"$centerSphere": centre}}}},
            {"$limit": AROUND},
            {
                "$group": {
                    "_id": f"${survey.object_id}",
                    "alerts": {"$sum": 1},
                    "last_jd": {"$max": "$candidate.jd"},
                    "ra": {"$last": "$candidate.ra"},
                    "dec": {"$last": "$candidate.dec"},
                }
            },
        ]
        found = await listed(self.reads.united(survey.alerts, [pipeline], self.plain))
        return [
            Hit(survey.name, row.pop("_id"), **row, distance=distance_arcsec(position, [row["ra"] - 180.0, row["dec"]]))
            for row in found
        ]

    async def _told(self, hits: list[Hit]) -> list[Hit]:
        """Several hits with where and when their last alerts were; one needs it not."""
        return list(await asyncio.gather(*map(self._with_last, hits))) if len(hits) > 1 else hits

    async def _with_last(self, hit: Hit) -> Hit:
        survey = next(each for each in self.surveys if each.name == hit.survey)
        if hit.last_jd is not None:
            return hit
        shown = {"_id": 0, "candidate.jd": 1, "candidate.ra": 1, "candidate.dec": 1}
        reading = replace(self.plain, projection=shown, sort=[("candidate.jd", -1)])
        chosen = {survey.object_id: hit.object_id}
        number, last = await asyncio.gather(
            self.reads.count(survey.alerts, chosen, self.plain), self.reads.find_one(survey.alerts, chosen, reading)
        )
        place = last["candidate"] if last else {}
        return replace(hit, alerts=number, last_jd=place.get("jd"), ra=place.get("ra"), dec=place.get("dec"))


def _once(hits: list[Hit]) -> list[Hit]:
    """Each object once: as an alert's, where a number is both a candid and an object's id."""
    found: dict[tuple[str, str], Hit] = {}
    for hit in hits:
        found.setdefault((hit.survey, hit.object_id), hit)
    return list(found.values())
