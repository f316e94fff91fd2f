"""Watchlists as the API changes them: a new version is seen whole or not at all, and what a killed upload leaves is found again.

A list's document says which versions are being uploaded (``uploads``, each heard of every `BEAT` s) and of which the rows are still to
go (``gone``); one that has no version is not there for anybody.
"""

from typing import Any

from bson.codec_options import CodecOptions
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError

from kowalski.database.async_client import connect_async
from kowalski.database.client import DUPLICATE_KEY, faults_of, translated
from kowalski.database.watchlists import LIST_INDEXES, LISTS, ROW_INDEXES, ROWS, rows_of
from kowalski.errors import WatchlistError
from kowalski.settings import Database

Document = dict[str, Any]

#: s between an upload's signs of life, and without one until it is taken for dead
BEAT, DEAD = 15, 120
#: fields that are ours alone
HIDDEN = {"uploads": 0, "gone": 0}
RAW: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument)


class WatchlistStore:
    """Reads and writes `LISTS` and `ROWS`; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        database = self.client[settings.db]
        self.lists, self.rows = database[LISTS], database[ROWS]
        self.raw_rows = database.get_collection(ROWS, codec_options=RAW)
        self.filters = database["filters"]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ensure_indexes(self) -> None:
        """One list of a name in a group, one row of an id in a version."""
        with translated("indexes of watchlists"):
            for collection, indexes in ((self.lists, LIST_INDEXES), (self.rows, ROW_INDEXES)):
                for index in indexes:
                    await collection.create_index(index.keys, name=index.name, **index.options)

    async def find(self, condition: Document) -> list[Document]:
        """The lists that meet a condition, by group and name."""
        with translated("read watchlists"):
            found = self.lists.find({"version": {"$ne": None}, **condition}, HIDDEN)
            return await found.sort([("group_id", 1), ("name", 1)]).to_list(None)

    async def first_rows(self, version: ObjectId, skip: int, limit: int) -> list[Document]:
        """Rows of a version, by their numbers."""
        with translated("read rows of a watchlist"):
            return await self.rows.find(rows_of(version)).sort("_id", ASCENDING).skip(skip).limit(limit).to_list(None)

    async def users_of(self, group_id: int, name: str) -> list[int]:
        """Filters that declare a list."""
        with translated("read filters"):
            found = await self.filters.find({"group_id": group_id, "watchlists": name}, {"filter_id": 1}).to_list(None)
        return sorted(each["filter_id"] for each in found)

    # an upload ---------------------------------------------------------------------------------------------------

    async def begin(self, group_id: int, name: str) -> tuple[str, ObjectId]:
        """A new version of a list is marked as being uploaded: the list's id, and the version."""
        await self.ensure_indexes()
        version = ObjectId()
        new: Document = {"_id": str(ObjectId()), "version": None, "gone": []}
        with translated("begin a watchlist"):
            while True:
                try:
                    found = await self.lists.find_one_and_update(
                        {"group_id": group_id, "name": name},
                        {"$setOnInsert": new, "$push": {"uploads": {"version": version}}},
                        {"_id": 1},
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                except DuplicateKeyError:  # somebody makes it at the same moment
                    continue
                await self.beat(found["_id"], version)
                return found["_id"], version

    async def beat(self, list_id: str, version: ObjectId) -> None:
        """An upload is alive."""
        with translated("keep a watchlist's upload"):
            mark = {"_id": list_id, "uploads.version": version}
            await self.lists.update_one(mark, {"$currentDate": {"uploads.$.at": True}})

    async def write(self, documents: bytes) -> None:
        """Rows of a version are stored, given one behind the other as BSON.

        Raises
        ------
        WatchlistError : two have the same id
        """
        with translated("store rows of a watchlist"):
            try:
                await self.raw_rows.insert_many(_split(documents), ordered=False)
            except BulkWriteError as error:
                twice = next((each for each in error.details["writeErrors"] if each["code"] == DUPLICATE_KEY), None)
                if faults_of(error) or twice is None:
                    raise
                raise WatchlistError(await self._said_twice(twice["op"])) from None

    async def _said_twice(self, row: RawBSONDocument) -> str:
        same = await self.rows.find_one({"id": row["id"], "version": row["version"]}, {"_id": 1})
        numbers = sorted({row["_id"]["row"], *([same["_id"]["row"]] if same else [])})
        return f"rows {' and '.join(map(str, numbers))} have the same id {row['id']!r}: leave one of them out"

    async def finish(self, list_id: str, version: ObjectId, told: Document, new: bool) -> Document | None:
        """A version is the one that is seen, at once; None where the list is there though it should be ``new``, or is not though it should.

        Raises
        ------
        WatchlistError : the upload was taken for dead meanwhile, or the list was removed
        """
        was = [{"$cond": [{"$eq": ["$version", None]}, [], ["$version"]]}]
        others = {"$filter": {"input": "$uploads", "cond": {"$ne": ["$$this.version", version]}}}
        change: Document = {
            **{name: {"$literal": value} for name, value in told.items()},
            **{"version": version, "at": "$$NOW", "uploads": others, "gone": {"$concatArrays": ["$gone", *was]}},
            "made_at": {"$ifNull": ["$made_at", "$$NOW"]},
        }
        condition: Document = {"_id": list_id, "uploads.version": version} | {"version": None if new else {"$ne": None}}
        with translated("finish a watchlist"):
            after = ReturnDocument.AFTER
            done = await self.lists.find_one_and_update(condition, [{"$set": change}], HIDDEN, return_document=after)
            if (
                done is None
                and await self.lists.find_one({"_id": list_id, "uploads.version": version}, {"_id": 1}) is None
            ):
                raise WatchlistError("nothing was heard of this upload for too long, or the list was removed: send it again")  # fmt: skip
        return done

    async def give_up(self, list_id: str, version: ObjectId) -> None:
        """An upload is over without a result; its rows go."""
        with translated("give up a watchlist's upload"):
            mark = {"_id": list_id, "uploads.version": version}
            await self.lists.update_one(mark, {"$pull": {"uploads": {"version": version}}, "$push": {"gone": version}})
        await self.tidy(list_id)

    async def remove(self, list_id: str) -> None:
        """A list is there for nobody any more, at once; then its rows go, and its document."""
        versions = {"$concatArrays": ["$gone", "$uploads.version", ["$version"]]}
        with translated("remove a watchlist"):
            change: list[Document] = [{"$set": {"gone": versions, "version": None, "uploads": []}}]
            await self.lists.update_one({"_id": list_id, "version": {"$ne": None}}, change)
        await self.tidy(list_id)

    async def tidy(self, list_id: str) -> None:
        """Rows that no version needs are gone, those of dead uploads too, and a list that never came to be."""
        dead = {
            "$lt": [{"$ifNull": ["$$this.at", {"$toDate": "$$this.version"}]}, {"$subtract": ["$$NOW", 1000 * DEAD]}]
        }
        gone = {"$map": {"input": {"$filter": {"input": "$uploads", "cond": dead}}, "in": "$$this.version"}}
        alive = {"$filter": {"input": "$uploads", "cond": {"$not": [dead]}}}
        with translated("tidy a watchlist"):
            change = [{"$set": {"gone": {"$concatArrays": ["$gone", gone]}, "uploads": alive}}]
            found = await self.lists.find_one_and_update({"_id": list_id}, change, return_document=ReturnDocument.AFTER)
            for version in (found or {}).get("gone", ()):
                await self.rows.delete_many(rows_of(version))
                await self.lists.update_one({"_id": list_id}, {"$pull": {"gone": version}})
            await self.lists.delete_one({"_id": list_id, "version": None, "uploads": [], "gone": []})

    async def tidy_all(self) -> None:
        """`tidy` whatever has something that may have to go."""
        with translated("tidy watchlists"):
            unfinished = {"$or": [{"uploads.0": {"$exists": True}}, {"gone.0": {"$exists": True}}, {"version": None}]}
            found = await self.lists.find(unfinished, {"_id": 1}).to_list(None)
        for each in found:
            await self.tidy(each["_id"])


def _split(documents: bytes) -> list[RawBSONDocument]:
    """Documents that stand one behind the other."""
    found, at = [], 0
    while at < len(documents):
        size = int.from_bytes(documents[at : at + 4], "little")
        found.append(RawBSONDocument(documents[at : at + size]))
        at += size
    return found
