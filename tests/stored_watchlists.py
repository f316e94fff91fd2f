"""Watchlists put into a database as an upload would, and places looked for in them."""

import io
from collections.abc import Sequence
from typing import Any

import bson
from bson.objectid import ObjectId

from kowalski.database.client import MongoDatabase
from kowalski.database.indexes import ensure_indexes
from kowalski.database.watchlists import LIST_INDEXES, LISTS, ROW_INDEXES, ROWS, Question, Watchlists
from kowalski.watchlists.matching import ListKey, Lists, Matches, Place, answered, matches
from kowalski.watchlists.reading import documents
from kowalski.watchlists.rows import Rows, Wanted

Row = dict[str, Any]


def read(data: bytes, kind: str | None = None, radius: float = 2.0) -> tuple[list[Row], Row]:
    """The documents of a file, and what the list says of them."""
    rows = Rows(Wanted("list", str(ObjectId()), kind, radius))
    found = [bson.decode(document) for document in documents(io.BytesIO(data), rows)]
    return found, rows.told


def csv_of(names: str, rows: Sequence[Sequence[Any]]) -> bytes:
    """A CSV file."""
    return "\n".join([names, *(",".join(map(str, row)) for row in rows)]).encode()


def put(database: MongoDatabase, key: ListKey, data: bytes, kind: str | None = None, radius: float = 2.0) -> ObjectId:
    """A list has the rows of a file from now on; its version."""
    ensure_indexes(database[LISTS], LIST_INDEXES)
    ensure_indexes(database[ROWS], ROW_INDEXES)
    found, told = read(data, kind, radius)
    database[ROWS].insert_many(found)
    version: ObjectId = found[0]["version"]
    condition = {"group_id": key.group_id, "name": key.name}
    before = database[LISTS].find_one_and_update(condition, {"$set": {**told, "version": version}}, upsert=True)
    if before is not None:
        database[ROWS].delete_many({"version": before["version"]})
    return version


class Seeker:
    """Looks for places, and keeps the questions that MongoDB was asked."""

    def __init__(self, database: MongoDatabase):
        self.watchlists = Watchlists(database)
        self.known: Lists = {}
        self.questions: list[Question] = []

    def find(self, keys: Sequence[ListKey], places: Sequence[Place]) -> Matches:
        """What the places match."""
        self.questions.clear()

        def answer(question: Question) -> list[Row]:
            self.questions.append(question)
            return self.watchlists.answer(question)

        return answered(matches(keys, places, self.known), answer)
