"""Sky maps: fetched from where they may be, turned into contours in processes of their own, stored."""

import asyncio
from datetime import datetime
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.skymaps import NewSkymap, SkymapQuery
from kowalski.database.skymaps import Document, Skymaps
from kowalski.errors import KowalskiError
from kowalski.skymaps.contours import key_of
from kowalski.skymaps.drawing import draw
from kowalski.skymaps.fetch import NotThere, fetch
from kowalski.skymaps.sources import Source, given_source, noticed_sources
from kowalski.skymaps.voevent import read_voevent

#: maps that are fetched or drawn at once; others wait
AT_ONCE = 2
#: contours that a stored map may have
MAX_LEVELS = 20


class KnownSkymap(KowalskiError):
    """The map is stored with all these contours; ``data`` tells of it."""

    http_status = 409

    def __init__(self, data: Document):
        super().__init__("skymap already exists with the same contours")
        self.data = data


class SkymapService:
    """Adds, shows and removes sky maps; ``hosts`` are those that maps may be fetched from."""

    def __init__(self, stored: Skymaps, hosts: tuple[str, ...]):
        self.stored = stored
        self.hosts = frozenset(host.lower() for host in hosts)
        self._places = asyncio.Semaphore(AT_ONCE)

    def close(self) -> None:
        """End the connections."""
        self.stored.close()

    async def add(self, wanted: NewSkymap) -> tuple[str, Document]:
        """A map with its contours is stored: what to say, and what is stored of it.

        Of one that is stored already, the missing contours are added.

        Raises
        ------
        KnownSkymap : there is none missing
        BadRequest, SkymapError : the map can't be read, or may not be fetched
        """
        event: Document = {"dateobs": wanted.dateobs, "aliases": wanted.aliases, "triggerid": wanted.triggerid}
        if wanted.voevent is None:
            sources = [given_source(wanted.skymap or {})]
        else:
            notice = await asyncio.to_thread(read_voevent, wanted.voevent)
            sources = noticed_sources(notice)
            event["dateobs"] = notice.dateobs
            event["aliases"] = list(dict.fromkeys([*wanted.aliases, *notice.aliases]))
            if wanted.triggerid is None:
                event["triggerid"] = notice.trigger_id
        event["dateobs"] = _stored_moment(event["dateobs"])
        if event["triggerid"] is None:
            del event["triggerid"]
        for source in sources[:-1]:
            try:
                return await self._add(event, source, wanted.contours)
            except NotThere:
                continue
        return await self._add(event, sources[-1], wanted.contours)

    async def _add(self, event: Document, source: Source, levels: list[float]) -> tuple[str, Document]:
        document: Document = {**event, "localization_name": source.name}
        known = await self._known(document)
        if known is None:
            made = await self._drawn(source, levels)
            if await self.stored.add({**document, "contours": made}):
                return f"added skymap for {event['dateobs']} with contours {_said(levels)}", _told(document, levels)
            known = await self._known(document)  # somebody was faster
            if known is None:
                raise BadRequest("the sky map was removed while it was added: try again")
        missing = [level for level in levels if key_of(level) not in known["contours"]]
        all_levels = [*_levels(known), *missing]
        if not missing:
            raise KnownSkymap(_told(known, all_levels))
        if len(all_levels) > MAX_LEVELS:
            raise BadRequest(f"contours: a sky map has {MAX_LEVELS} at most, this one has {_said(_levels(known))}")
        await self.stored.add_contours(known["_id"], await self._drawn(source, missing))
        return f"updated skymap for {event['dateobs']} to add contours {_said(missing)}", _told(known, all_levels)

    async def _drawn(self, source: Source, levels: list[float]) -> Document:
        """The contours of a map, fetched before if need be."""
        async with self._places:
            if source.url is not None:
                source = source.fetched(await fetch(source.url, self.hosts))
            return await draw(source, levels)

    async def get(self, asked: SkymapQuery) -> Document:
        """A stored map.

        Raises
        ------
        BadRequest : there is none, or one of the contours asked for is missing
        """
        found = await self.stored.find(asked.localization_name, asked.event)
        if found is None:
            raise BadRequest("no skymap found")
        missing = [level for level in asked.contours or [] if key_of(level) not in found["contours"]]
        if missing:
            raise BadRequest(f"skymap exists but is missing contours {_said(missing)}")
        return {**{key: value for key, value in found.items() if key != "_id"}, "dateobs": _iso(found["dateobs"])}

    async def remove(self, asked: SkymapQuery) -> int:
        """A stored map is gone; how many are."""
        found = await self.stored.find(asked.localization_name, asked.event, {"_id": 1})
        if found is None:
            raise BadRequest("no skymap found")
        return await self.stored.remove(found["_id"])

    async def contour(self, name: str, event: Document, level: float) -> Document:
        """The geometry of one contour of a map.

        Raises
        ------
        BadRequest : there is no such map, or it lacks the contour
        """
        found = await self.stored.find(name, event)
        if found is None:
            raise BadRequest("ValueError: Skymap not found")
        if key_of(level) not in found["contours"]:
            raise BadRequest(f"ValueError: Contour level {level:g} not found in skymap")
        return {"type": "MultiPolygon", "coordinates": found["contours"][key_of(level)]["coordinates"]}

    async def _known(self, document: Document) -> Document | None:
        """The map of the same name of the same moment, trigger, or set of aliases."""
        same: list[Document] = [{"dateobs": document["dateobs"]}]
        if "triggerid" in document:
            same.append({"triggerid": document["triggerid"]})
        if document["aliases"]:
            same.append({"aliases": {"$all": document["aliases"], "$size": len(document["aliases"])}})
        return await self.stored.find(document["localization_name"], {"$or": same})


def _levels(document: Document) -> list[float]:
    return [float(key.removeprefix("contour")) for key in document["contours"] if key.startswith("contour")]


def _said(levels: list[float]) -> str:
    return str([int(level) if level == int(level) else level for level in levels])


def _told(document: Document, levels: list[float]) -> Document:
    shown = [int(level) if level == int(level) else level for level in levels]
    return {"dateobs": _iso(document["dateobs"]), "localization_name": document["localization_name"], "contours": shown}


def _iso(moment: Any) -> str:
    return str(moment.isoformat())


def _stored_moment(moment: datetime | None) -> datetime | None:
    """A moment as MongoDB keeps it, in ms."""
    return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)
