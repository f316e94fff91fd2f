"""Watchlists as they are stored, and what workers read of them.

A list is one document of `LISTS`; its rows are those of `ROWS` that have its version, and come and go with it: a new
version's are written first, then the list changes to it in one step, then the old one's go.
"""

from typing import Any, NamedTuple

from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index

LISTS, ROWS = "watchlists", "watchlist_rows"
LIST_INDEXES = [Index("group_id_name", [("group_id", 1), ("name", 1)], {"unique": True})]
#: a row's ``_id`` is its version and number, so that a version's rows need no index of their own
ROW_INDEXES = [
    Index("id_version", [("id", 1), ("version", 1)], {"unique": True, "partialFilterExpression": {"id": {"$exists": True}}}),
    Index("pixel_version", [("coordinates.pixel", 1), ("version", 1)], {"partialFilterExpression": {"coordinates.pixel": {"$exists": True}}}),
]  # fmt: skip
#: ms that looking for the rows of a batch may take
MAX_TIME_MS = 10_000

Row = dict[str, Any]


class Question(NamedTuple):
    """What is to be read: a pipeline over a collection."""

    collection: str
    pipeline: list[Row]


def rows_of(version: ObjectId) -> Row:
    """The condition on the rows of a version, which are in their order."""
    return {"_id": {"$gte": {"version": version, "row": MinKey()}, "$lte": {"version": version, "row": MaxKey()}}}


class Watchlists:
    """Answers questions about watchlists, for whom waits."""

    def __init__(self, database: MongoDatabase):
        self.database = database

    def answer(self, question: Question) -> list[Row]:
        """The rows that a pipeline gives.

        Raises
        ------
        DatabaseError : MongoDB refuses it, or it takes longer than `MAX_TIME_MS`
        """
        with translated("read watchlists"):
            return list(self.database[question.collection].aggregate(question.pipeline, maxTimeMS=MAX_TIME_MS))
