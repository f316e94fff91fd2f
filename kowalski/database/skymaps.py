"""Sky maps of events: when, their names, and contours of their credible regions."""

from typing import Any

from bson.errors import InvalidDocument
from pymongo.errors import DocumentTooLarge, DuplicateKeyError

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.errors import SkymapError
from kowalski.log import get_logger
from kowalski.settings import Database

log = get_logger(__name__)

Document = dict[str, Any]

#: numbers beyond 64 bits, texts that are no Unicode, documents of more than 16 MB
UNSTORABLE = (OverflowError, UnicodeEncodeError, InvalidDocument, DocumentTooLarge)


class Skymaps:
    """Reads and writes ``skymaps``: ``{dateobs, localization_name, aliases, triggerid, contours}``; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.collection = self.client[settings.db]["skymaps"]

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

    async def find(self, name: str | None, event: Document, projection: Document | None = None) -> Document | None:
        """The latest map of an event: of one of its dates, triggers or sets of aliases, and of a name if one is given."""
        condition = {**event, **({"localization_name": name} if name is not None else {})}
        with translated("look up a sky map"):
            try:
                return await self.collection.find_one(condition, projection, sort=[("dateobs", -1), ("_id", -1)])
            except UNSTORABLE:  # what BSON can't hold is in no map
                return None

    async def add(self, document: Document) -> bool:
        """A map is stored; False where there is one of its name and moment.

        Raises
        ------
        SkymapError : MongoDB can't hold it
        """
        with translated("store a sky map"):
            try:
                await self.collection.insert_one(document)
            except DuplicateKeyError:
                return False
            except UNSTORABLE as error:
                raise SkymapError(f"the sky map's names can't be stored: {error}") from None
        return True

    async def add_contours(self, map_id: Any, contours: Document) -> None:
        """A stored map has these contours too; their keys may have dots."""
        joined: Any = "$contours"
        for key, value in contours.items():
            joined = {"$setField": {"field": key, "input": joined, "value": {"$literal": value}}}
        with translated("store contours"):
            await self.collection.update_one({"_id": map_id}, [{"$set": {"contours": joined}}])

    async def remove(self, map_id: Any) -> int:
        """A map is gone; how many are."""
        with translated("remove a sky map"):
            return int((await self.collection.delete_one({"_id": map_id})).deleted_count)
