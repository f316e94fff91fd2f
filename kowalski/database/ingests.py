"""What is being ingested: where it goes until all of it is there, which rows are done, and the rows themselves."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import Index, create_indexes
from kowalski.database.rematches import Rematches

Document = dict[str, Any]

#: what the name of a collection that is not yet whole begins with
INCOMING = "_incoming_"
#: figures of what became of rows
COUNTS = ("read", "stored", "known", "cut", "rejected")


class Written(NamedTuple):
    """What became of some documents.

    Attributes
    ----------
    stored : how many are new, or new in part
    known : how many were there, the same
    clashes : places, in the list, of those of whose identifier there is another
    """

    stored: int
    known: int
    clashes: list[int]


class Ingests:
    """Reads and writes ``ingests``, a document for each target, ``ingest_stretches``, one for each range of a file's rows, and the targets."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self.runs = database["ingests"]
        self.stretches = database["ingest_stretches"]

    def unfinished(self, target: str) -> Document | None:
        """What is known of an ingestion into a collection that did not come to its end."""
        with translated("look up ingestions"):
            return self.runs.find_one({"_id": target, "finished": None})

    def all_unfinished(self) -> dict[str, datetime]:
        """Collection -> since when, of every ingestion that did not come to its end yet."""
        with translated("look up ingestions"):
            return {each["_id"]: each["started"] for each in self.runs.find({"finished": None}, sort=[("_id", 1)])}

    def exists(self, collection: str) -> bool:
        """Whether there is a collection of a name."""
        with translated("list collections"):
            return collection in self.database.list_collection_names(filter={"name": collection})

    def begin(self, target: str, recipe: str, collections: Sequence[str], staged: bool) -> None:
        """An ingestion begins; where it is staged, what an earlier one left half done is gone."""
        with translated("begin an ingestion"):
            for name in collections if staged else ():
                self.database.drop_collection(INCOMING + name)
            self.stretches.delete_many({"into": target})
            self.runs.replace_one(
                {"_id": target},
                {"recipe": recipe, "staged": staged, "started": datetime.now(UTC), "finished": None},
                upsert=True,
            )

    def finish(self, target: str, indexes: dict[str, list[Index]], staged: bool, source: Document) -> None:
        """An ingestion is at its end: what was staged has its indexes, and takes the place of what was there, at once.

        Of each collection it is noted which version of the catalogue it holds now (``source``: see `kowalski.ingesters.source`).
        """
        with translated(f"put {target} in place"):
            for name, wanted in indexes.items():
                collection = self.database[INCOMING + name if staged else name]
                if missing := _lacking(collection, wanted):
                    create_indexes(collection, missing)
                if staged and self._is_there(collection.name):
                    collection.rename(name, dropTarget=True)
                Rematches(self.database).forget(name)
                CatalogVersions(self.database).ingested(name, source, datetime.now(UTC), anew=staged)
            self.runs.update_one({"_id": target}, {"$set": {"finished": datetime.now(UTC), "source": source}})

    def _is_there(self, name: str) -> bool:
        return bool(self.database.list_collection_names(filter={"name": name}))

    def counts(self, target: str) -> dict[str, int]:
        """What became of the rows of all stretches so far."""
        sums: Document = {name: {"$sum": f"${name}"} for name in COUNTS}
        with translated("sum up an ingestion"):
            found = list(self.stretches.aggregate([{"$match": {"into": target}}, {"$group": {"_id": None, **sums}}]))
        return {name: int(found[0][name]) if found else 0 for name in COUNTS}

    def done(self, target: str, file: str, size: int, first: int) -> tuple[int, bool]:
        """Before which row of a stretch all is done, and whether that is its end.

        Only if the file has its size of then: another one's rows are not done.
        """
        with translated("look up a stretch"):
            found = self.stretches.find_one({"into": target, "file": file, "first": first, "size": size})
        return (found["done"], found["whole"]) if found else (first, False)

    def mark(self, target: str, file: str, size: int, first: int, done: int, counts: dict[str, int]) -> None:
        """The rows of a stretch before one are done, and some more are counted."""
        key = {"into": target, "file": file, "first": first}
        with translated("mark a stretch"):
            self.stretches.update_one(
                key, {"$set": {"done": done, "size": size, "whole": False}, "$inc": counts}, upsert=True
            )

    def mark_whole(self, target: str, file: str, size: int, first: int) -> None:
        """All of a stretch is done."""
        with translated("mark a stretch"):
            self.stretches.update_one(
                {"into": target, "file": file, "first": first},
                {"$set": {"whole": True, "size": size}, "$setOnInsert": {"done": first}},
                upsert=True,
            )

    def ensure_indexes(self) -> None:
        """Stretches are found by their file."""
        with translated("indexes of ingest_stretches"):
            self.stretches.create_index([("into", 1), ("file", 1), ("first", 1)], name="into_file_first", unique=True)

    def write(self, collection: str, documents: list[Document]) -> Written:
        """Documents are there; of each identifier the first one stays."""
        if not documents:
            return Written(0, 0, [])
        with translated(f"write {collection}"):
            try:
                self.database[collection].insert_many(documents, ordered=False)
            except BulkWriteError as error:
                if faults_of(error):
                    raise
                places = sorted(fault["index"] for fault in error.details["writeErrors"])
            else:
                return Written(len(documents), 0, [])
            ids = [documents[place]["_id"] for place in places]
            there = {each["_id"]: each for each in self.database[collection].find({"_id": {"$in": ids}})}
        clashes = [place for place in places if there.get(documents[place]["_id"]) != documents[place]]
        return Written(len(documents) - len(places), len(places) - len(clashes), clashes)

    def merge(self, collection: str, documents: Iterable[Document]) -> Written:
        """The fields of documents are there, beside those that the ones of the same ``_id`` have."""
        updates = [UpdateOne({"_id": each["_id"]}, {"$set": {k: v for k, v in each.items() if k != "_id"}}, upsert=True) for each in documents]  # fmt: skip
        if not updates:
            return Written(0, 0, [])
        with translated(f"write {collection}"):
            result = self.database[collection].bulk_write(updates, ordered=False)
        changed = result.upserted_count + result.modified_count
        return Written(changed, len(updates) - changed, [])

    def differing(self, collection: str, documents: Sequence[Document], every: int) -> tuple[list[Any], list[Any]]:
        """Identifiers of documents that are not there, and, of each ``every``-th, those whose fields differ."""
        ids = [each["_id"] for each in documents]
        with translated(f"compare {collection}"):
            there = {each["_id"] for each in self.database[collection].find({"_id": {"$in": ids}}, {"_id": 1})}
            sample = {each["_id"]: each for each in documents[::every]}
            stored = list(self.database[collection].find({"_id": {"$in": list(sample)}}))
        lacking = [each for each in ids if each not in there]
        other = [each["_id"] for each in stored if any(each.get(k) != v for k, v in sample[each["_id"]].items())]
        return lacking, other

    def count(self, collection: str) -> int:
        """Documents in a collection."""
        with translated(f"count {collection}"):
            return self.database[collection].count_documents({})


def _lacking(collection: Collection[Document], wanted: Iterable[Index]) -> list[Index]:
    """The indexes that a collection lacks, whatever the names of those that it has."""
    there = [list(each["key"]) for each in collection.index_information().values()]
    return [index for index in wanted if [tuple(key) for key in index.keys] not in there]
