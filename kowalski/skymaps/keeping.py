"""Sky maps: fetched from where they may be, drawn in processes of their own, and stored once each."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kowalski.database.skymaps import Document, Skymaps
from kowalski.errors import SkymapError
from kowalski.skymaps.cells import Cells, pieces_for
from kowalski.skymaps.contours import key_of
from kowalski.skymaps.drawing import Drawn, draw
from kowalski.skymaps.fetch import NotThere, fetch
from kowalski.skymaps.sources import Source

#: maps that are fetched or drawn at once; others wait
AT_ONCE = 2
#: contours that a stored map may have
MAX_LEVELS = 20


@dataclass(frozen=True)
class Kept:
    """A map that is stored.

    Attributes
    ----------
    document : as it is stored now, without its cells where these were there before
    is_new : whether it was not stored before
    levels : those whose contours were not
    has_new_cells : whether its cells were not
    """

    document: Document
    is_new: bool
    levels: list[float]
    has_new_cells: bool


class Keeper:
    """Stores sky maps, each once; ``hosts`` are those that maps may be fetched from."""

    def __init__(self, stored: Skymaps, hosts: tuple[str, ...]):
        self.stored = stored
        self.hosts = frozenset(host.lower() for host in hosts)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def add(self, event: Document, sources: list[Source], levels: list[float]) -> Kept:
        """A map of an event is stored with its contours and cells; of one that is stored already, what is missing is added.

        Parameters
        ----------
        event : ``dateobs``, ``aliases`` and ``triggerid``
        sources : the first one that there is something at is taken

        Raises
        ------
        SkymapError : the map can't be read, or may not be fetched
        """
        event = {key: value for key, value in event.items() if value is not None}
        event["dateobs"] = stored_moment(event["dateobs"])
        for source in sources[:-1]:
            try:
                return await self._add(event, source, levels)
            except NotThere:
                continue
        return await self._add(event, sources[-1], levels)

    async def cells(self, document: Document, level: float = 100.0) -> Cells:
        """The cells of a stored map that the region of a level (percent) is made of, and maybe more.

        Raises
        ------
        SkymapError : it was stored without
        """
        if "cells" not in document:
            raise SkymapError("this sky map was stored by an older version, without its cells: PUT it once more")
        noted = document["cells"]
        pieces = await self.stored.cells(noted["store"], pieces_for(noted, level))
        if not pieces:
            raise SkymapError("this sky map was removed a moment ago")
        return await asyncio.to_thread(Cells.from_pieces, pieces, noted)

    async def _add(self, event: Document, source: Source, levels: list[float]) -> Kept:
        document: Document = {**event, "localization_name": source.name}
        known = await self._known(document)
        if known is None:
            drawn = await self._drawn(source, levels)
            made = {**document, "contours": drawn.contours}
            if (map_id := await self.stored.add(made, drawn.cells, drawn.pieces)) is not None:
                return Kept({**made, "_id": map_id}, True, levels, True)
            known = await self._known(document)  # somebody was faster
            if known is None:
                raise SkymapError("the sky map was removed while it was added: try again")
        missing = [level for level in levels if key_of(level) not in known["contours"]]
        if len(levels_of(known)) + len(missing) > MAX_LEVELS:
            raise SkymapError(f"contours: a sky map has {MAX_LEVELS} at most, this one has {said(levels_of(known))}")
        lacks_cells = "cells" not in known
        if not missing and not lacks_cells:
            return Kept(known, False, [], False)
        drawn = await self._drawn(source, missing)
        if lacks_cells:
            await self.stored.add_cells(known["_id"], drawn.cells, drawn.pieces)
        if missing:
            await self.stored.add_contours(known["_id"], drawn.contours)
        return Kept({**known, "contours": {**known["contours"], **drawn.contours}}, False, missing, lacks_cells)

    async def _drawn(self, source: Source, levels: list[float]) -> Drawn:
        """A map with contours, fetched before if need be."""
        async with self._places:
            if source.url is not None:
                source = source.fetched(await fetch(source.url, self.hosts))
            return await draw(source, levels)

    async def _known(self, document: Document) -> Document | None:
        """The map of the same name of the same moment, trigger, or set of aliases."""
        same: list[Document] = [{"dateobs": document["dateobs"]}]
        if "triggerid" in document:
            same.append({"triggerid": document["triggerid"]})
        if document["aliases"]:
            same.append({"aliases": {"$all": document["aliases"], "$size": len(document["aliases"])}})
        return await self.stored.find(document["localization_name"], {"$or": same})


def levels_of(document: Document) -> list[float]:
    """The levels of a stored map's contours."""
    return [float(key.removeprefix("contour")) for key in document["contours"] if key.startswith("contour")]


def plain(levels: list[float]) -> list[float]:
    """Levels, whole ones as integers."""
    return [int(level) if level == int(level) else level for level in levels]


def said(levels: list[float]) -> str:
    """Levels as they are written in messages."""
    return str(plain(levels))


def stored_moment(moment: Any) -> datetime:
    """A moment as MongoDB keeps it, in ms."""
    kept: datetime = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return kept
