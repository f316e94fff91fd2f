"""The alerts of one survey: each candid once, for good."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions
from bson.objectid import ObjectId
from pymongo import ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import GEO, Index, ensure_indexes
from kowalski.database.ledger import KAFKA_INDEX


def alert_indexes(survey: Survey) -> list[Index]:
    """The indexes of a survey's alerts."""
    oid = survey.object_id
    jd, candid = ("candidate.jd", 1), ("candid", -1)
    indexes = [
        Index(f"radec_{oid}", [GEO, (oid, -1)]),
        Index("radec_candid", [GEO, candid]),
        Index("jd_radec_candid", [jd, GEO, candid]),
        Index(f"jd_radec_{oid}", [jd, GEO, (oid, -1)]),
        Index(oid, [(oid, -1)]),
        Index("candid", [candid], {"unique": True}),
        KAFKA_INDEX,
    ]
    return indexes + [
        Index(name, [(field, order) for field, order in keys]) for name, keys in survey.alert_indexes.items()
    ]


class Alerts:
    """Reads and writes ``<SURVEY>_alerts``."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self.survey = survey
        self.collection = database[survey.alerts]
        self._traced: Collection[dict[str, Any]] = self.collection.with_options(
            CodecOptions(tz_aware=True), write_concern=WriteConcern(w=1, j=False)
        )

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated(f"indexes of {self.survey.alerts}"):
            ensure_indexes(self.collection, alert_indexes(self.survey))

    def known(self, candids: list[int]) -> dict[int, dict[str, Any]]:
        """Of some candids, those stored: candid -> ``_id``, ``candid``, ``classifications`` and ``kafka``."""
        with translated("read known alerts"):
            found = self.collection.find({"candid": {"$in": candids}}, {"candid": 1, "classifications": 1, "kafka": 1})
            return {document["candid"]: document for document in found}

    def insert(self, documents: list[dict[str, Any]]) -> set[int]:
        """Store alerts durably; the candids of those that were there already, which stay as they are."""
        if not documents:
            return set()
        with translated("insert alerts"):
            try:
                self.collection.insert_many(documents, ordered=False)
                return set()
            except BulkWriteError as error:
                if faults_of(error):
                    raise
                return {documents[fault["index"]]["candid"] for fault in error.details["writeErrors"]}

    def add_to_traces(self, ids: Sequence[ObjectId], moments: Mapping[str, datetime]) -> None:
        """The traces of some alerts (by ``_id``) have these moments, ``filtered`` among them, unless they have that already.

        Alerts of older versions have no trace, and get none. It is not waited for until it is on disk: nothing depends on it.
        """
        if not ids:
            return
        chosen = {"_id": {"$in": list(ids)}, "trace.stored": {"$exists": True}, "trace.filtered": {"$exists": False}}
        changes = {f"trace.{name}": moment for name, moment in moments.items()}
        with translated("trace alerts"):
            self._traced.update_many(chosen, {"$set": changes})

    def delivered(self, candid: int) -> dict[str, datetime] | None:
        """The trace of an alert, of which SkyPortal took something now; None where it did before, or the alert has no trace."""
        chosen = {"candid": candid, "trace.stored": {"$exists": True}, "trace.delivered": {"$exists": False}}
        change, shown = {"$set": {"trace.delivered": datetime.now(UTC)}}, {"_id": 0, "trace": 1}
        with translated("trace an alert"):
            found = self._traced.find_one_and_update(chosen, change, shown, return_document=ReturnDocument.AFTER)
            return found and found["trace"]

    def detections(self, object_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
        """jd and magpsf of every stored alert of some objects: object -> ``[{jd, magpsf, candid}]``."""
        oid = self.survey.object_id
        fields = {oid: 1, "candid": 1, "candidate.jd": 1, "candidate.magpsf": 1}
        found: dict[str, list[dict[str, Any]]] = {}
        with translated("read earlier detections"):
            for document in self.collection.find({oid: {"$in": object_ids}}, fields):
                found.setdefault(document[oid], []).append({"candid": document["candid"], **document["candidate"]})
        return found

    def candidates(self, object_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """The candidates of all stored alerts of some objects, by object, each object's in the order of their jd."""
        oid, found = self.survey.object_id, dict[str, list[dict[str, Any]]]()
        with translated("read candidates"):
            condition, fields = {oid: {"$in": list(object_ids)}}, {oid: 1, "candidate": 1}
            for document in self.collection.find(condition, fields).sort("candidate.jd", 1):
                found.setdefault(document[oid], []).append(document["candidate"])
        return found

    def of_object(self, object_id: str, projection: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The stored alerts of one object in the order of their jd."""
        with translated("read alerts of an object"):
            return list(self.collection.find({self.survey.object_id: object_id}, projection).sort("candidate.jd", 1))

    def one(self, candid: int) -> dict[str, Any] | None:
        """The stored alert of that candid."""
        with translated("read an alert"):
            return self.collection.find_one({"candid": candid})

    def not_told_withdrawn(self, candids: list[int]) -> list[int]:
        """Those of some withdrawn alerts that are stored and of whose withdrawal nobody was told yet."""
        with translated("read withdrawn alerts"):
            chosen = {"candid": {"$in": candids}, "withdrawal_told": {"$ne": True}}
            return [document["candid"] for document in self.collection.find(chosen, {"candid": 1})]

    def mark_withdrawn(self, moments: Mapping[int, float]) -> None:
        """Note in stored alerts the jd at which their survey withdrew them."""
        with translated("mark withdrawn alerts"):
            self.collection.bulk_write(
                [
                    UpdateOne({"candid": candid}, {"$set": {"candidate.withdrawn_jd": jd}})
                    for candid, jd in moments.items()
                ]
            )

    def withdrawn(self, candids: list[int]) -> dict[int, float]:
        """Candid -> jd of the withdrawal, of those of some alerts that their survey has withdrawn."""
        with translated("read withdrawn alerts"):
            chosen = {"candid": {"$in": candids}, "candidate.withdrawn_jd": {"$type": "number"}}
            found = self.collection.find(chosen, {"candid": 1, "candidate.withdrawn_jd": 1})
            return {document["candid"]: document["candidate"]["withdrawn_jd"] for document in found}

    def told_withdrawn(self, candids: list[int]) -> None:
        """Note that the outbox has what is to be told of these withdrawals."""
        with translated("mark withdrawn alerts"):
            self.collection.update_many({"candid": {"$in": candids}}, {"$set": {"withdrawal_told": True}})

    def estimated_count(self) -> int:
        """How many alerts are stored, from the collection's metadata."""
        with translated("count alerts"):
            return self.collection.estimated_document_count()
