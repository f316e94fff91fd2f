"""Sky maps of events: when, their names, contours of their credible regions, and their cells.

The cells lie in ``skymap_cells``, in pieces of a few MB, densest first. They are written before the map that names them, so that
no map has a part of its cells.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from bson.errors import InvalidDocument
from pymongo.errors import DocumentTooLarge, DuplicateKeyError

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.errors import SkymapError
from kowalski.log import get_logger
from kowalski.settings import Database

log = get_logger(__name__)

Document = dict[str, Any]

#: after which pieces of cells that no map names go: whoever wrote them was cut off
FORGOTTEN_AFTER = timedelta(days=1)
#: numbers beyond 64 bits, texts that are no Unicode, documents of more than 16 MB
UNSTORABLE = (OverflowError, UnicodeEncodeError, InvalidDocument, DocumentTooLarge)


class Skymaps:
    """Reads and writes ``skymaps``: ``{dateobs, localization_name, aliases, triggerid, contours, cells}``; use it in an event loop.

    ``cells`` is what `Cells.summary` tells, and ``store``, under which their pieces lie.
    """

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.collection = self.client[settings.db]["skymaps"]
        self._cells = self.client[settings.db]["skymap_cells"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """One map of a name and moment; where an older version left several, that is said and they stay."""
        keys = [("dateobs", 1), ("localization_name", 1)]
        with translated("indexes of skymaps"):
            try:
                await self.collection.create_index(keys, name="dateobs_localization_name", unique=True)
            except DuplicateKeyError as error:
                log.warning("skymaps: several have the same name and moment: %s", error)

            await self._cells.create_index([("store", 1), ("number", 1)], name="store_number", unique=True)

    async def forget_cells(self) -> None:
        """Pieces of cells that no map names are gone, but for those that are being written."""
        with translated("look for cells of no sky map"):
            old = {"store": {"$lt": ObjectId.from_datetime(datetime.now(UTC) - FORGOTTEN_AFTER)}}
            for store in await self._cells.distinct("store", old):
                if await self.collection.find_one({"cells.store": store}, {"_id": 1}) is None:
                    await self._cells.delete_many({"store": store})

    async def find(self, name: str | None, event: Document, projection: Document | None = None) -> Document | None:
        """The latest map of an event: of one of its dates, triggers or sets of aliases, and of a name if one is given."""
        condition = {**event, **({"localization_name": name} if name is not None else {})}
        with translated("look up a sky map"):
            try:
                return await self.collection.find_one(condition, projection, sort=[("dateobs", -1), ("_id", -1)])
            except UNSTORABLE:  # what BSON can't hold is in no map
                return None

    async def add(self, document: Document, cells: Document, pieces: Sequence[bytes]) -> Any:
        """A map is stored with its cells; its id, or None where there is one of its name and moment.

        Raises
        ------
        SkymapError : MongoDB can't hold it
        """
        store = await self._put(pieces)
        with translated("store a sky map"):
            try:
                added = await self.collection.insert_one({**document, "cells": {**cells, "store": store}})
            except DuplicateKeyError:
                await self._drop(store)
                return None
            except UNSTORABLE as error:
                await self._drop(store)
                raise SkymapError(f"the sky map's names can't be stored: {error}") from None
        return added.inserted_id

    async def add_cells(self, map_id: Any, cells: Document, pieces: Sequence[bytes]) -> None:
        """A map that was stored by an older version has its cells, too."""
        store = await self._put(pieces)
        with translated("store a sky map's cells"):
            await self.collection.update_one({"_id": map_id}, {"$set": {"cells": {**cells, "store": store}}})

    async def cells(self, store: Any, count: int) -> list[bytes]:
        """The first pieces of a map's cells."""
        with translated("read a sky map's cells"):
            found = self._cells.find({"store": store, "number": {"$lt": count}}).sort("number", 1)
            return [document["cells"] async for document in found]

    async def _put(self, pieces: Sequence[bytes]) -> ObjectId:
        store = ObjectId()
        with translated("store a sky map's cells"):
            for number, piece in enumerate(pieces):
                await self._cells.insert_one({"store": store, "number": number, "cells": piece})
        return store

    async def _drop(self, store: Any) -> None:
        await self._cells.delete_many({"store": store})

    async def add_contours(self, map_id: Any, contours: Document) -> None:
        """A stored map has these contours too; their keys may have dots."""
        joined: Any = "$contours"
        for key, value in contours.items():
            joined = {"$setField": {"field": key, "input": joined, "value": {"$literal": value}}}
        with translated("store contours"):
            await self.collection.update_one({"_id": map_id}, [{"$set": {"contours": joined}}])

    async def remove(self, map_id: Any) -> int:
        """A map is gone with its cells; how many are."""
        with translated("remove a sky map"):
            found = await self.collection.find_one_and_delete({"_id": map_id}, {"cells.store": 1})
            if found is not None and "cells" in found:
                await self._drop(found["cells"]["store"])
            return int(found is not None)
