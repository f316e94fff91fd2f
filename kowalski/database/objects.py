"""The objects of one survey: light curve and cross-matches, merged under a version check.

Few have parts (`kowalski.alerts.parts`). These are written before the object's own document, which alone says which of them count: a
writer that is overtaken or dies has changed nothing. A part that counts no more stays for `REPLACED_FOR`, for who read its name before.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any

import bson
from bson.objectid import ObjectId
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from kowalski.alerts.lightcurve import changes
from kowalski.alerts.parts import Apart, Part, divided, joined, may_be_too_long
from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.errors import DatabaseError
from kowalski.log import get_logger

log = get_logger(__name__)

FAILED = {"matched.failed.0": {"$exists": True}}
INDEXES = [Index("failed_matches", [("matched.at", 1)], {"partialFilterExpression": FAILED})]
#: s for which a part is kept that no document names any more
REPLACED_FOR = 3600
PART_INDEXES = [
    Index("objectId", [("objectId", 1)]),
    Index("replaced_at", [("replaced_at", 1)], {"expireAfterSeconds": REPLACED_FOR}),
]
#: key of an object's documents as they were read, where there are several
APART = "apart"


class Objects:
    """Reads and writes ``<SURVEY>_alerts_aux``; a document is only changed by who read its latest version."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self.survey = survey
        self.collection = database[survey.aux]
        self.older = database[survey.older]
        self.fields = survey.history_fields

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated(f"indexes of {self.survey.aux}"):
            ensure_indexes(self.collection, INDEXES)

    def read(self, object_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The stored documents of some objects, with the points of their parts."""
        with translated("read objects"):
            found = {document["_id"]: document for document in self.collection.find({"_id": {"$in": list(object_ids)}})}
            names = [name for document in found.values() for name in document.get("older", ())]
            parts = {part["_id"]: part for part in self.older.find({"_id": {"$in": names}})} if names else {}
        for key, document in found.items():
            if older := document.get("older"):
                found[key] = joined(document, [parts[name] for name in older if name in parts], self.fields)
                if lost := [name for name in older if name not in parts]:
                    log.error("%s lacks %s: restore it from a backup", self.survey.older, lost)
        return found

    def read_in_part(self, object_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The same, the points of their light curves not decoded (see `kowalski.alerts.points`); under `APART` an `Apart`, if any.

        Raises
        ------
        DatabaseError : an object lacks a part: it must not be changed until that is there again
        """
        raw = self.collection.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
        with translated("read objects"):
            found = raw.find({"_id": {"$in": list(object_ids)}})
            documents = {document["_id"]: _decoded(document, self.fields) for document in found}
        if apart := {key: document for key, document in documents.items() if document.get("older")}:
            documents |= self._joined(apart)
        return documents

    def _joined(self, owns: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Objects with their parts, given their own documents; neither decoded."""
        named = [name for own in owns.values() for name in own["older"]]
        current = {"objectId": {"$in": list(owns)}, "replaced_at": {"$exists": False}}
        raw = self.older.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
        with translated("read parts of objects"):
            found = raw.find({"$or": [{"_id": {"$in": named}}, current]})
            parts = {part["_id"]: _decoded(part, self.fields) for part in found}
        whole = {}
        for key, own in owns.items():
            if lost := [name for name in own["older"] if name not in parts]:
                raise DatabaseError(f"{self.survey.older} lacks {lost} of {key}: restore it from a backup")
            its = [parts[name] for name in own["older"]]
            strays = {part["_id"] for part in parts.values() if part["objectId"] == key} - {*own["older"]}
            whole[key] = joined(own, its, self.fields) | {APART: Apart(own, its, frozenset(strays))}
        return whole

    def put(self, documents: Mapping[str, dict[str, Any]], stored: Mapping[str, dict[str, Any]]) -> set[str]:
        """Store objects durably, given as they are to be and as they were read; returns those to read and change again.

        Fields that a document does not have stay as they are stored.
        """
        after, before, parts = dict(documents), dict[str, Mapping[str, Any]](stored), list[Part]()
        for key, document in documents.items():
            apart: Apart | None = stored[key].get(APART) if key in stored else None
            if apart is not None or may_be_too_long(document, self.fields):
                whole = {"_id": key, **stored.get(key, {}), **document}
                whole.pop(APART, None)
                after[key], new = divided(whole, apart.parts if apart else (), self.fields)
                before[key] = apart.own if apart else before.get(key, {})
                parts += new
        self._add_parts(parts)
        conflicts = self.create([{"_id": key, **document} for key, document in after.items() if key not in stored])
        updates = {key: fields for key in stored if (fields := changes(before[key], after[key]))}
        conflicts |= self.update({key: (stored[key].get("version"), fields) for key, fields in updates.items()})
        changed = [key for key in updates.keys() - conflicts if APART in stored[key]]
        self._replace_parts({key: after[key]["older"] for key in changed}, stored)
        return conflicts

    def _add_parts(self, parts: list[Part]) -> None:
        """Store new parts durably; nothing counts them yet."""
        if not parts:
            return
        with translated("store parts of objects"):
            ensure_indexes(self.older, PART_INDEXES)
            self.older.insert_many(parts)

    def _replace_parts(self, named: Mapping[str, list[str]], stored: Mapping[str, dict[str, Any]]) -> None:
        """Let go of parts that were there when some objects were read and count no more now that these have changed.

        No writer can make them count: all that had read an object before it changed are to read it again.
        """
        gone = list[str]()
        for key, names in named.items():
            apart: Apart = stored[key][APART]
            gone += ({part["_id"] for part in apart.parts} | apart.strays) - {*names}
        if gone:
            with translated("let go of parts of objects"):
                self.older.update_many({"_id": {"$in": gone}}, {"$currentDate": {"replaced_at": True}})

    def create(self, documents: list[dict[str, Any]]) -> set[str]:
        """Store new objects durably; returns those that somebody else has made meanwhile."""
        if not documents:
            return set()
        version = ObjectId()
        with translated("create objects"):
            try:
                self.collection.insert_many([{**document, "version": version} for document in documents], ordered=False)
            except BulkWriteError as error:
                if faults_of(error):
                    raise
                return {fault["op"]["_id"] for fault in error.details["writeErrors"]}
        return set()

    def update(self, changes: Mapping[str, tuple[ObjectId | None, dict[str, Any]]]) -> set[str]:
        """Apply ``{object: (version read, $set)}`` durably; returns the objects to read and change again.

        The version is an id of the write itself, so that a write that lost can't be mistaken for the one that won.
        """
        if not changes:
            return set()
        mine = ObjectId()
        operations = [
            UpdateOne({"_id": object_id, "version": version}, {"$set": {**fields, "version": mine}})
            for object_id, (version, fields) in changes.items()
        ]
        with translated("update objects"):
            if self.collection.bulk_write(operations, ordered=False).matched_count == len(operations):
                return set()
            applied = self.collection.find({"_id": {"$in": list(changes)}, "version": mine}, {"_id": 1})
            return set(changes) - {document["_id"] for document in applied}

    def matches(self, condition: Mapping[str, Any], catalog: str, limit: int) -> list[dict[str, Any]]:
        """Objects in the order of their ids: ``_id``, ``first_alert``, ``matched``, ``version``, and of ``cross_matches`` one catalogue's list."""
        fields = {"first_alert": 1, "matched": 1, "version": 1, f"cross_matches.{catalog}": 1}
        with translated("read where objects are"):
            return list(self.collection.find(condition, fields).sort("_id", 1).limit(limit))

    def number(self) -> int:
        """How many there are, from the collection's metadata."""
        with translated("count objects"):
            return self.collection.estimated_document_count()

    def with_failed_matches(self, limit: int) -> list[dict[str, Any]]:
        """Objects whose match with some catalogue failed, longest ago first: ``_id``, ``first_alert``, ``matched``, ``version``."""
        fields = {"first_alert": 1, "matched": 1, "version": 1}
        with translated("read failed matches"):
            return list(self.collection.find(FAILED, fields).sort("matched.at", 1).limit(limit))


def _decoded(document: RawBSONDocument, but: Container[str]) -> dict[str, Any]:
    """A document, decoded but for the elements of some lists."""
    return {name: value if name in but else _value(value) for name, value in document.items()}


def _value(value: Any) -> Any:
    if isinstance(value, RawBSONDocument):
        return bson.decode(value.raw)
    return [_value(each) for each in value] if isinstance(value, list) else value
