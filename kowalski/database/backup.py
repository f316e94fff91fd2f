"""A database read for a backup: whole collections by _id, chosen documents, and many of them as of one moment."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

from bson.timestamp import Timestamp
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from kowalski.backup.documents import LENGTH, Key, among, id_of, key_of, split
from kowalski.database.changes import Changes
from kowalski.database.client import MongoDatabase, translated
from kowalski.errors import BackupError

#: documents that are asked for by their _ids at a time
ASKED = 1000
#: of a batch: the server's own limit, 16 MB, ends it before
UNLIMITED = 1_000_000

Document = dict[str, Any]


class Source:
    """What a backup reads of a database, as it is stored; nothing is written to it."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        with translated("backup: look at MongoDB"):
            hello = database.command("hello")
            stats = database.command("dbStats")
            self.version = str(database.client.server_info()["version"])
        #: whether changes can be followed, so that writers need not stop
        self.follows = "setName" in hello or hello.get("msg") == "isdbgrid"
        #: bytes of all documents, and what they take on the server's disk
        self.bytes, self.stored = int(stats["dataSize"]), int(stats["storageSize"])
        self._concern = ReadConcern("majority") if self.follows else ReadConcern()

    def collections(self) -> list[Document]:
        """Name, type, options, indexes (but that of _id) and UUID of each collection and view, by name.

        Raises
        ------
        BackupError : there is a time series, which this does not know how to restore
        """
        with translated("backup: list collections"):
            found = [each for each in self.database.list_collections() if not each["name"].startswith("system.")]
            if series := [each["name"] for each in found if each["type"] not in ("collection", "view")]:
                raise BackupError(f"{', '.join(series)}: only collections and views can be kept; drop or convert them")
            return [
                {
                    "name": each["name"],
                    "type": each["type"],
                    "options": each["options"],
                    "indexes": self._indexes(each["name"]) if each["type"] == "collection" else [],
                    "uuid": bytes(each["info"]["uuid"]).hex() if each["type"] == "collection" else "",
                }
                for each in sorted(found, key=lambda each: str(each["name"]))
            ]

    def _indexes(self, name: str) -> list[Document]:
        listed = [dict(index) for index in self.database[name].list_indexes()]
        return sorted((index for index in listed if index["name"] != "_id_"), key=lambda index: str(index["name"]))

    def names(self) -> set[str]:
        """The collections that hold documents of their own."""
        with translated("backup: list collections"):
            found = self.database.list_collections(filter={"type": "collection"})
            return {each["name"] for each in found if not each["name"].startswith("system.")}

    def read(self, name: str, after: Key | None = None) -> Iterator[bytes]:
        """A collection's documents in the order of _id, those after a given one, some megabytes at a time."""
        with translated(f"backup: read {name}"):
            cursor = self._collection(name).find_raw_batches(
                {}, sort=[("_id", 1)], hint=[("_id", 1)], batch_size=UNLIMITED
            )
            if after is not None:
                cursor.min([("_id", id_of(after))])  # $gt would keep to the type of the value
            batches = cast(Iterator[bytes], cursor)  # which pymongo's own types have not heard of
            for number, batch in enumerate(batches):
                # min includes the document itself, if it is still there
                again = number == 0 and after is not None and batch and key_of(batch) == after
                if rest := batch[LENGTH.unpack_from(batch)[0] :] if again else batch:
                    yield rest

    def chosen(self, name: str, keys: Iterable[Key], session: ClientSession) -> Iterator[bytes]:
        """Those of a collection's documents that have one of the keys, one by one."""
        # in a transaction the concern is the transaction's
        collection = self.database[name] if session.in_transaction else self._collection(name)
        left = iter(keys)
        with translated(f"backup: read {name}"):
            while some := list(islice(left, ASKED)):
                found = collection.find_raw_batches(among(some), batch_size=UNLIMITED, session=session)
                for batch in cast(Iterator[bytes], found):
                    yield from split(batch)

    def _collection(self, name: str) -> Collection[Document]:
        return self.database.get_collection(name, read_concern=self._concern)

    @contextmanager
    def later_than(self, moment: Timestamp) -> Iterator[ClientSession]:
        """A session that sees all that was written up to a moment, and maybe more."""
        with translated("backup: read what has changed"), self.database.client.start_session() as session:
            session.advance_operation_time(moment)
            yield session

    @contextmanager
    def frozen(self, moment: Timestamp) -> Iterator[ClientSession]:
        """A session for which time stands still, at this moment or a little later, for as long as the server lets it (60 s).

        A transaction, not a snapshot session: these need the server to keep a history, which Kowalski's own does not.
        """
        with self.later_than(moment) as session, session.start_transaction(read_concern=ReadConcern("snapshot")):
            self.database["users"].find_one({}, {"_id": 1}, session=session)  # time stops at the first read
            yield session

    def now(self) -> Timestamp:
        """The cluster time up to which every write that was acknowledged before this call counts."""
        with translated("backup: ask for the time"):
            time: Timestamp = self.database.command("ping")["operationTime"]
            return time

    def changes(self, token: Any, begun: dict[str, Any]) -> Changes:
        """What changes from now on, or goes on changing since a token."""
        return Changes(self.database, token, begun)


def estimate(source: Source) -> int:
    """Bytes that a backup will take: about what the documents take on the server's disk, and some room."""
    return math.ceil(1.1 * min(source.bytes, source.stored))
