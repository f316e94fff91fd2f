"""Sky maps: what requests about them come to."""

import asyncio
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.skymaps import NewSkymap, SkymapQuery
from kowalski.database.skymaps import Document, Skymaps
from kowalski.errors import KowalskiError
from kowalski.skymaps.cells import Cells
from kowalski.skymaps.contours import key_of
from kowalski.skymaps.keeping import Keeper, levels_of, plain, said
from kowalski.skymaps.sources import given_source, noticed_sources
from kowalski.skymaps.voevent import read_voevent


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
        self.keeper = Keeper(stored, hosts)

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
        kept = await self.keeper.add(event, sources, wanted.contours)
        told = _told(kept.document, levels_of(kept.document))
        if kept.is_new:
            return f"added skymap for {kept.document['dateobs']} with contours {said(kept.levels)}", told
        if kept.levels:
            return f"updated skymap for {kept.document['dateobs']} to add contours {said(kept.levels)}", told
        if kept.has_new_cells:
            return f"updated skymap for {kept.document['dateobs']} to add its cells", told
        raise KnownSkymap(told)

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
            raise BadRequest(f"skymap exists but is missing contours {said(missing)}")
        return {
            **{key: value for key, value in found.items() if key not in ("_id", "cells")},
            "dateobs": _iso(found["dateobs"]),
        }

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

    async def cells(self, name: str, event: Document, level: float) -> Cells:
        """The cells of a map that the region of a level (percent) is made of, and maybe more.

        Raises
        ------
        BadRequest : there is no such map, or it has no cells
        """
        found = await self.stored.find(name, event, {"cells": 1})
        if found is None:
            raise BadRequest("ValueError: Skymap not found")
        return await self.keeper.cells(found, level)


def _told(document: Document, levels: list[float]) -> Document:
    name = document["localization_name"]
    return {"dateobs": _iso(document["dateobs"]), "localization_name": name, "contours": plain(levels)}


def _iso(moment: Any) -> str:
    return str(moment.isoformat())
