"""Users' filters as the API changes them: every change is one atomic step."""

from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.database.filters import FILTER_ID
from kowalski.log import get_logger
from kowalski.settings import Database

log = get_logger(__name__)

Document = dict[str, Any]


class FilterStore:
    """Reads and writes ``filters``; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.collection = self.client[settings.db]["filters"]
        self.checks = self.client[settings.db]["filter_checks"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """There is one filter of a filter_id; where an older version left several, that is said and they stay."""
        with translated("indexes of filters"):
            await self.checks.create_index([("filter_id", 1), ("at", -1)], name="filter_id_at")
            try:
                await self.collection.create_index(FILTER_ID.keys, name=FILTER_ID.name, **FILTER_ID.options)
            except DuplicateKeyError as error:
                log.warning("filters: several have the same filter_id, see ./kowalski.py migrate --check: %s", error)

    async def get(self, filter_id: int) -> Document | None:
        """The filter with this id, or None."""
        with translated("read a filter"):
            return await self.collection.find_one({"filter_id": filter_id})

    async def all(self, groups: list[int] | None) -> list[Document]:
        """The filters of some groups, or all, by id; of their versions only the ids."""
        condition: Document = {} if groups is None else {"group_id": {"$in": groups}}
        with translated("read filters"):
            return await self.collection.find(condition, {"fv.pipeline": 0}).sort("filter_id", 1).to_list(None)

    async def of_allocation(self, allocation_id: int, but: int) -> list[Document]:
        """Filters whose follow-up uses an allocation, without one of them."""
        condition = {"auto_followup.allocation_id": allocation_id, "filter_id": {"$ne": but}}
        with translated("read filters"):
            return await self.collection.find(condition, {"filter_id": 1, "auto_followup": 1}).to_list(None)

    async def add(self, document: Document) -> bool:
        """A new filter is stored; False where there is one with its id."""
        now = datetime.now(UTC)
        with translated("store a filter"):
            if await self.collection.find_one({"filter_id": document["filter_id"]}, {"_id": 1}):
                return False
            try:
                await self.collection.insert_one({**document, "created_at": now, "last_modified": now})
            except DuplicateKeyError:
                return False
        return True

    async def push(self, before: Document, version: Document, changes: Document) -> Document | None:
        """A version is the filter's latest and active one, with other changes; None where another became active since ``before``."""
        change = {
            "$push": {"fv": version},
            "$set": {**changes, "active_fid": version["fid"], "last_modified": datetime.now(UTC)},
        }
        return await self._change(_as_it_was(before), change)

    async def change(self, filter_id: int, changes: Document, before: Document | None = None) -> Document | None:
        """Fields of a filter change, an ``active_fid`` only to one of its versions; the filter, or None if that isn't so.

        Where ``before`` is given, also None where another version became active since.
        """
        condition: Document = {"filter_id": filter_id} if before is None else _as_it_was(before)
        if "active_fid" in changes:
            condition["fv.fid"] = changes["active_fid"]
        return await self._change(condition, {"$set": {**changes, "last_modified": datetime.now(UTC)}})

    async def checked(self, filter_id: int, fid: str, check: Document) -> None:
        """Keep what came of looking at a version when it was activated."""
        document = {"_id": f"{filter_id}:{fid}", "filter_id": filter_id, "fid": fid, "at": datetime.now(UTC), **check}
        with translated("store a check of a filter"):
            await self.checks.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def checks_of(self, filter_id: int) -> list[Document]:
        """What came of the last activations, the newest first."""
        with translated("read checks of a filter"):
            return await self.checks.find({"filter_id": filter_id}).sort("at", -1).limit(20).to_list(None)

    async def remove(self, filter_id: int) -> bool:
        """A filter is gone; whether there was one."""
        with translated("remove a filter"):
            await self.checks.delete_many({"filter_id": filter_id})
            return bool((await self.collection.delete_one({"filter_id": filter_id})).deleted_count)

    async def _change(self, condition: Document, change: Document) -> Document | None:
        with translated("change a filter"):
            return await self.collection.find_one_and_update(condition, change, return_document=ReturnDocument.AFTER)


def _as_it_was(document: Document) -> Document:
    """The condition on a filter to have the version active that it had."""
    return {"_id": document["_id"], "active_fid": document.get("active_fid")}
