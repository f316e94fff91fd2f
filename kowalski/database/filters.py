"""Users' filters as stored, and the runs of their pipelines on documents that are not."""

from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import ExecutionTimeout

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.errors import DatabaseError

INDEXES = [Index("catalog_active", [("catalog", 1), ("active", 1)])]
#: made by the API, which alone adds filters
FILTER_ID = Index("filter_id", [("filter_id", 1)], {"unique": True})

_VERSION = {"$filter": {"input": "$fv", "cond": {"$eq": ["$$this.fid", "$active_fid"]}}}
#: what tells one state of a filter document from another, by whatever means it was changed; of the pipeline a hash, for it may be long
SIGNATURE: dict[str, Any] = {
    **dict.fromkeys(
        ("filter_id", "group_id", "active_fid", "permissions", "surveys", "watchlists", "update_annotations"), 1
    ),
    **dict.fromkeys(("autosave", "auto_followup", "last_modified"), 1),
    "version": {"$toHashedIndexKey": {"$cond": [{"$isArray": "$fv"}, _VERSION, "$fv"]}},
}


class FilterTimeout(DatabaseError):
    """A pipeline took longer than it may."""


class Filters:
    """Reads ``filters``; runs pipelines on the read-only connection."""

    def __init__(self, database: MongoDatabase, reader: MongoDatabase):
        self.collection = database["filters"]
        self.reader = reader

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated("indexes of filters"):
            ensure_indexes(self.collection, INDEXES)

    def active(self, catalog: str) -> list[dict[str, Any]]:
        """Signatures of a catalogue's active filters: ``_id`` and what changes when the filter does."""
        with translated("read filters"):
            return list(self.collection.find({"catalog": catalog, "active": True}, SIGNATURE).sort("filter_id", 1))

    def read(self, ids: list[Any]) -> list[dict[str, Any]]:
        """Whole filter documents."""
        with translated("read filters"):
            return list(self.collection.find({"_id": {"$in": ids}}))

    def put(self, document: dict[str, Any]) -> None:
        """Store a filter, in place of the one with the same filter_id."""
        with translated("store a filter"):
            self.collection.replace_one({"filter_id": document["filter_id"]}, document, upsert=True)

    def run(self, stages: list[dict[str, Any]], documents: list[RawBSONDocument], max_time_ms: int) -> list[dict[str, Any]]:  # fmt: skip
        """The output of a pipeline over some documents, which are sent along.

        Raises
        ------
        FilterTimeout : it took longer than ``max_time_ms``
        DatabaseError : the server refused a stage or an expression
        """
        pipeline = [{"$documents": {"$literal": documents}}, *stages]
        with translated("run a filter"):
            try:
                return list(self.reader.aggregate(pipeline, maxTimeMS=max_time_ms, allowDiskUse=False))
            except ExecutionTimeout:
                raise FilterTimeout(f"took longer than {max_time_ms} ms") from None
