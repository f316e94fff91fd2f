"""Versions of catalogues: what an ingestion has put in, or, where nobody said so, how many rows were seen there when.

A collection is known by its UUID, which it has anew when it is made, restored or put in another one's place. Rows that somebody adds or
removes by hand are noticed by their number, once a day; rows that are changed in place are not.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.provenance.digests import digest

COLLECTION = "catalog_versions"
INDEXES = [Index("uuids_at", [("uuids", 1), ("at", 1)])]
#: how a version came to be known
INGESTED, SEEN = "ingested", "seen"
#: hexadecimal digits that tell a catalogue's versions apart
DIGITS = 12

Document = dict[str, Any]


class CatalogVersions:
    """The collection ``catalog_versions``: a document for each version of each catalogue, kept when it is replaced."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self.collection = database[COLLECTION]

    def ingested(self, catalog: str, source: Mapping[str, Any], finished: datetime, anew: bool = False) -> str:
        """An ingestion into a catalogue is at its end; the version's ``_id``, the same for the same source and number of rows.

        ``anew``: it has taken the place of what was there; otherwise its rows were added to that.
        """
        with translated(f"note the version of {catalog}"):
            uuid = self._uuids([catalog])[catalog]
            rows = self.database[catalog].estimated_document_count()
            earlier = None if anew else self._latest([uuid]).get(uuid)
            contents = {"source": dict(source), "rows": rows}
            if earlier is not None:  # rows were added to what was there
                contents["added_to"] = earlier["_id"]
                if _same(earlier, contents):
                    return str(earlier["_id"])
            key = f"{catalog}:{digest(contents, DIGITS)}"
            fields = {"catalog": catalog, "how": INGESTED, **contents, "at": finished}
            self.collection.update_one({"_id": key}, {"$set": fields, "$addToSet": {"uuids": uuid}}, upsert=True)
            ensure_indexes(self.collection, INDEXES)
        return key

    def current(self, catalogs: Iterable[str]) -> dict[str, str]:
        """Catalogue -> ``_id`` of its version now, of those that exist; one that nobody knows is noted as it is seen."""
        with translated("look up versions of catalogues"):
            uuids = self._uuids(list(catalogs))
            latest = self._latest(list(uuids.values()))
            rows = {name: self.database[name].estimated_document_count() for name in uuids}
            return {
                name: str(known["_id"])
                if (known := latest.get(uuid)) is not None and known["rows"] == rows[name]
                else self._seen(name, uuid, rows[name], known)
                for name, uuid in uuids.items()
            }

    def carry(self, names: Mapping[str, str]) -> None:
        """What is known of collections by their UUIDs of then is known of those of some names: they were restored from these."""
        with translated("carry versions of catalogues over"):
            uuids = self._uuids(list(names.values()))
            for document in list(self.collection.find({"uuids": {"$in": list(names)}})):
                now = [uuids[names[uuid]] for uuid in document["uuids"] if names.get(uuid) in uuids]
                self.collection.update_one({"_id": document["_id"]}, {"$addToSet": {"uuids": {"$each": now}}})

    def read(self, keys: Iterable[str]) -> dict[str, Document]:
        """The versions of some names, by these."""
        with translated("read versions of catalogues"):
            return {each["_id"]: each for each in self.collection.find({"_id": {"$in": list(keys)}})}

    def _seen(self, catalog: str, uuid: str, rows: int, known: Document | None) -> str:
        """A version of which nothing is known but that there are so many rows now; one a day for each that is known."""
        now, base = datetime.now(UTC), _base(known)
        key = f"{base or f'{catalog}:{uuid[:DIGITS]}'}:{now:%Y%m%d}"
        fields = {"catalog": catalog, "how": SEEN, "rows": rows, "at": now, "uuids": [uuid], "after": base}
        self.collection.update_one({"_id": key}, {"$setOnInsert": fields}, upsert=True)
        ensure_indexes(self.collection, INDEXES)
        return key

    def _latest(self, uuids: list[str]) -> dict[str, Document]:
        """UUID of a collection -> what was noted of it last."""
        of_these: Document = {"$match": {"uuids": {"$in": uuids}}}
        latest: Document = {"$group": {"_id": "$uuids", "version": {"$last": "$version"}}}
        stages = [
            of_these,
            {"$sort": {"at": 1}},
            {"$project": {"uuids": 1, "version": "$$ROOT"}},
            {"$unwind": "$uuids"},
        ]
        return {each["_id"]: each["version"] for each in self.collection.aggregate([*stages, of_these, latest])}

    def _uuids(self, names: list[str]) -> dict[str, str]:
        found = self.database.list_collections(filter={"name": {"$in": names}, "type": "collection"})
        return {each["name"]: bytes(each["info"]["uuid"]).hex() for each in found}


def _base(known: Document | None) -> str | None:
    """The ingestion after which a version was seen; None: none is known."""
    if known is None:
        return None
    base: str | None = known["_id"] if known["how"] == INGESTED else known["after"]
    return base


def _same(earlier: Document, contents: Mapping[str, Any]) -> bool:
    """Whether an ingestion has changed nothing: it was the same source, and there are as many rows as before."""
    return earlier.get("source") == contents["source"] and earlier["rows"] == contents["rows"]


def described(version: Mapping[str, Any] | None) -> str:
    """A version in words."""
    if version is None:
        return "not recorded"
    rows, at = f"{version['rows']} rows", f"{version['at']:%Y-%m-%d}"
    if version["how"] == SEEN:
        return f"unknown, {rows} as of {at}" + (f", once {version['after']}" if version["after"] else "")
    source = version["source"]
    named = source["names"][0] if source["files"] == 1 else f"{source['files']} files"
    more = f" by {source['recipe']}" + (f" {source['tag']}" if source.get("tag") else "")
    return f"{named}{more}, sha256 {source['sha256'][:12]}, {rows}, {at}"
