"""Where the matching of all stored objects with a catalogue stands: ``rematches``, one document per survey and catalogue.

It goes through the objects in the order of their ids, so that what is done is told by the last of these. It is for one version of the
catalogue: what was begun with another is begun anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from bson.objectid import ObjectId

from kowalski.database.client import MongoDatabase, translated
from kowalski.errors import DatabaseError

Version = dict[str, Any]


class Rows(NamedTuple):
    """A collection: what no other one has, and about how many documents are in it."""

    uuid: str
    rows: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a survey's objects are matched with a catalogue.

    Attributes
    ----------
    begun : when, by the server's clock
    after : id of the last object that is done; all before it are, too
    done, matched, unplaced : objects that are done, that have a row of the catalogue, and of which no first alert is known
    """

    survey: str
    catalog: str
    version: Version
    begun: datetime
    after: str = ""
    done: int = 0
    matched: int = 0
    unplaced: int = 0
    finished_at: datetime | None = None

    @property
    def key(self) -> str:
        """``_id`` of its document."""
        return f"{self.survey}:{self.catalog}"


class Rematches:
    """Reads and writes standings; of two processes that match the same, the one that came later goes on."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self.collection = database["rematches"]
        self._holder = ObjectId()

    def collection_of(self, catalog: str) -> Rows | None:
        """The collection of a catalogue, as the database's metadata have it; None: there is none."""
        with translated(f"look up {catalog}"):
            found = next(iter(self.database.list_collections(filter={"name": catalog})), None)
            if found is None:
                return None
            return Rows(bytes(found["info"]["uuid"]).hex(), self.database[catalog].estimated_document_count())

    @translated("ask the server's clock")
    def now(self) -> datetime:
        """The server's time: those of several hosts may differ."""
        at: datetime = self.database.command("hello")["localTime"]
        return at

    @translated("read where matching stands")
    def standings(self, catalog: str) -> dict[str, Standing]:
        """What was begun with a catalogue, by survey."""
        found = self.collection.find({"catalog": catalog}, {"_id": 0, "holder": 0})
        return {document["survey"]: Standing(**document) for document in found}

    @translated("read where matching stands")
    def unfinished(self) -> list[Standing]:
        """What was begun with any catalogue, and is not at its end."""
        found = self.collection.find({"finished_at": None}, {"_id": 0, "holder": 0}, sort=[("_id", 1)])
        return [Standing(**document) for document in found]

    def begin(self, catalog: str, versions: Mapping[str, Version]) -> list[Standing]:
        """Begin with the objects of some surveys anew, each with its version of a catalogue."""
        begun = self.now()
        fresh = [Standing(survey, catalog, version, begun) for survey, version in versions.items()]
        self.take(fresh)
        return fresh

    @translated("write where matching stands")
    def take(self, standings: Iterable[Standing]) -> None:
        """Go on from some standings in place of whoever did."""
        for standing in standings:
            document = {**_fields(standing), "holder": self._holder}
            self.collection.replace_one({"_id": standing.key}, document, upsert=True)

    @translated("forget where matching stands")
    def forget(self, catalog: str) -> None:
        """Begin anew next time: the catalogue has other rows."""
        self.collection.delete_many({"catalog": catalog})

    def keep(self, standing: Standing) -> None:
        """Keep how far it has come.

        Raises
        ------
        DatabaseError : another process has taken over
        """
        with translated("write where matching stands"):
            mine = {"_id": standing.key, "holder": self._holder}
            kept = self.collection.update_one(mine, {"$set": _fields(standing)}).matched_count
        if not kept:
            raise DatabaseError(f"another process matches the objects of {standing.survey} with {standing.catalog} now: this one ends")  # fmt: skip


def _fields(standing: Standing) -> dict[str, Any]:
    return {field.name: getattr(standing, field.name) for field in fields(standing)}
