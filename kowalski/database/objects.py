"""The objects of one survey: light curve and cross-matches, merged under a version check."""

from collections.abc import Iterable, Mapping
from typing import Any

from bson.objectid import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import Index, ensure_indexes

FAILED = {"matched.failed.0": {"$exists": True}}
INDEXES = [Index("failed_matches", [("matched.at", 1)], {"partialFilterExpression": FAILED})]


class Objects:
    """Reads and writes ``<SURVEY>_alerts_aux``; a document is only changed by who read its latest version."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self.survey = survey
        self.collection = database[survey.aux]

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated(f"indexes of {self.survey.aux}"):
            ensure_indexes(self.collection, INDEXES)

    def read(self, object_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The stored documents of some objects."""
        with translated("read objects"):
            return {document["_id"]: document for document in self.collection.find({"_id": {"$in": list(object_ids)}})}

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

    def with_failed_matches(self, limit: int) -> list[dict[str, Any]]:
        """Objects whose match with some catalogue failed, longest ago first: ``_id``, ``first_alert``, ``matched``, ``version``."""
        fields = {"first_alert": 1, "matched": 1, "version": 1}
        with translated("read failed matches"):
            return list(self.collection.find(FAILED, fields).sort("matched.at", 1).limit(limit))
