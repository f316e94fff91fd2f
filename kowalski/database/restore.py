"""A database that a backup is put into: its collections, documents and indexes, and how far that has come."""

from collections.abc import Iterator
from typing import Any, cast

from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError

from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.client import MongoDatabase, faults_of, translated

#: the collection that is there as long as a restore is under way, in the database itself: what it says is true of that one
MARK = "restore_under_way"
#: in it, the document of the backup; the others are files whose documents are there
BACKUP = "backup"
#: of a batch that is read: the server's own limit, 16 MB, ends it before
UNLIMITED = 1_000_000


class Target:
    """Writes what a backup holds; each step can be repeated."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self._mark = database[MARK]

    def contents(self) -> dict[str, int]:
        """What is there: views, and collections with the number of their documents, where they have any."""
        with translated("restore: look at the database"):
            listed = [each for each in self.database.list_collections() if not each["name"].startswith("system.")]
            counts = {
                each["name"]: self.database[each["name"]].estimated_document_count()
                if each["type"] == "collection"
                else 1
                for each in listed
            }
        return {name: count for name, count in sorted(counts.items()) if count}

    def free(self) -> int:
        """Bytes free on the server's disk once the database is empty."""
        with translated("restore: look at the server's disk"):
            own = self.database.command("dbStats")
            disk = self.database.client["admin"].command("dbStats")  # an empty database says 0
        return int(disk["fsTotalSize"] - disk["fsUsedSize"] + own["storageSize"] + own["indexSize"])

    # how far it has come

    def backup(self) -> str | None:
        """Which backup is being restored into it; None if none is."""
        with translated("restore: look for another one"):
            found = self._mark.find_one({"_id": BACKUP})
        return None if found is None else str(found["id"])

    def begin(self, backup: str) -> None:
        """The database holds nothing but the note that this backup is being restored."""
        with translated("restore: drop what is there"):
            for each in list(self.database.list_collections()):
                if not each["name"].startswith("system."):
                    self.database.drop_collection(each["name"])
            self._mark.insert_one({"_id": BACKUP, "id": backup, "verified": []})

    def files(self) -> set[str]:
        """The files whose documents are all there."""
        with translated("restore: look how far it has come"):
            return {each["_id"] for each in self._mark.find({"_id": {"$ne": BACKUP}}, {"_id": 1})}

    def verified(self) -> set[str]:
        """The collections that were found to hold what they should."""
        with translated("restore: look how far it has come"):
            found = self._mark.find_one({"_id": BACKUP})
        return set(found["verified"]) if found else set()

    def note_verified(self, name: str) -> None:
        """A collection holds what it should, and from now on indexes may delete what is too old."""
        with translated("restore: note how far it has come"):
            self._mark.update_one({"_id": BACKUP}, {"$addToSet": {"verified": name}})

    def end(self) -> None:
        """The restore is finished."""
        with translated("restore: finish"):
            self.database.drop_collection(MARK)

    # what is put into it

    def create(self, name: str, options: dict[str, Any]) -> None:
        """A collection or view is there."""
        with translated(f"restore: create {name}"):
            if name not in self.database.list_collection_names(filter={"name": name}):
                self.database.command({"create": name, **options})

    def insert(self, name: str, file: str, documents: list[bytes]) -> None:
        """A file's documents are in a collection, durably and as they were, and so is the note that they are.

        Those that an interrupted attempt has put there stay; a validator of the collection is not asked.
        """
        with translated(f"restore: write {name}"):
            try:
                self.database[name].insert_many(
                    [cast(Any, RawBSONDocument(each)) for each in documents],
                    ordered=False,
                    bypass_document_validation=True,
                )
            except BulkWriteError as error:
                if faults_of(error):
                    raise
            self._mark.replace_one({"_id": file}, {}, upsert=True)

    def read(self, name: str) -> Iterator[bytes]:
        """A collection's documents, some megabytes at a time, in any order."""
        with translated(f"restore: read {name}"):
            yield from cast(Iterator[bytes], self.database[name].find_raw_batches({}, batch_size=UNLIMITED))

    def carry_versions(self, names: dict[str, str]) -> None:
        """Versions of catalogues that are known by the UUIDs of collections as they were count for these as they are now."""
        CatalogVersions(self.database).carry(names)

    def index(self, name: str, indexes: list[dict[str, Any]]) -> None:
        """A collection has these indexes."""
        if indexes:
            with translated(f"restore: build the indexes of {name}"):
                self.database.command({"createIndexes": name, "indexes": indexes})
