"""What watchers keep: how far each has come, what TNS has, and the exposures of ZTF."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import DESCENDING, UpdateOne

from kowalski.crossmatch.pixels import with_pixels
from kowalski.database.catalogs import catalog_indexes
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import GEO, Index, ensure_indexes

Document = dict[str, Any]

#: times are read as what they are, UTC
AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
#: s after which readings of the metrics are forgotten
READINGS_KEPT = 40 * 86400


class Progress:
    """How far one watcher has come: its document in ``watchers``."""

    def __init__(self, database: MongoDatabase, program: str):
        self._watchers = database.get_collection("watchers", codec_options=AWARE)
        self.program = program

    def read(self) -> Document:
        """What it noted; nothing at first."""
        with translated("watchers: read"):
            return self._watchers.find_one({"_id": self.program}) or {}

    def note(self, **values: Any) -> None:
        """These values replace those of the same names."""
        with translated("watchers: note"):
            self._watchers.update_one({"_id": self.program}, {"$set": values}, upsert=True)


class TnsObjects:
    """``TNS``, a catalogue of what TNS has, and ``tns_to_do``, those of its objects that are to be asked for."""

    INDEXES = [
        *catalog_indexes(),
        Index("discovery_date", [("discovery_date", -1)]),
        Index("objname", [("objname", 1)]),
    ]

    def __init__(self, database: MongoDatabase):
        self._objects = database["TNS"]
        self._to_do = database["tns_to_do"]

    @translated("TNS: indexes")
    def ensure_indexes(self) -> None:
        """Make the indexes that are missing."""
        ensure_indexes(self._objects, self.INDEXES)

    @translated("TNS: what is to be asked for")
    def want(self, names: Mapping[int, str]) -> None:
        """These objects (objid -> name) are to be asked for, those that failed before too."""
        if names:
            change = {"$unset": {"refused": True}}
            self._to_do.bulk_write(
                [UpdateOne({"_id": number}, {"$set": {"name": name}, **change}, upsert=True) for number, name in names.items()],
                ordered=False,
            )  # fmt: skip

    def wanted(self) -> tuple[int, str] | None:
        """The newest object that is to be asked for, its objid and name."""
        with translated("TNS: next"):
            found = self._to_do.find_one({"refused": None}, sort=[("_id", DESCENDING)])
        return (found["_id"], found["name"]) if found else None

    @translated("TNS: count")
    def waiting(self) -> int:
        """How many are to be asked for."""
        return self._to_do.count_documents({"refused": None})

    @translated("TNS: write")
    def put(self, document: Document) -> None:
        """An object is stored, in place of what was known of it, and needs not be asked for."""
        [row] = with_pixels([document])
        self._objects.replace_one({"_id": row["_id"]}, row, upsert=True)
        self._to_do.delete_one({"_id": row["_id"]})

    @translated("TNS: refuse")
    def refuse(self, number: int, reason: str) -> None:
        """An object is not asked for again before TNS says that it changed."""
        self._to_do.update_one({"_id": number}, {"$set": {"refused": reason}})

    @translated("TNS: forget")
    def forget(self, number: int) -> None:
        """TNS has no such object any more."""
        self._to_do.delete_one({"_id": number})
        self._objects.delete_one({"_id": number})


class Exposures:
    """``ZTF_ops``, one document per exposure of the telescope; its indexes have the names that MongoDB gave them in version 3."""

    INDEXES = [
        Index("coordinates.radec_geojson_2dsphere", [GEO]),
        Index("utc_start_1_utc_end_1_fileroot_1", [("utc_start", 1), ("utc_end", 1), ("fileroot", 1)]),
        Index("jd_start_1_jd_end_1_fileroot_1", [("jd_start", 1), ("jd_end", 1), ("fileroot", 1)]),
        Index("jd_start_-1_pid_1_field_1", [("jd_start", -1), ("pid", 1), ("field", 1)]),
    ]

    def __init__(self, database: MongoDatabase):
        self._exposures = database["ZTF_ops"]

    @translated("ZTF_ops: indexes")
    def ensure_indexes(self) -> None:
        """Make the indexes that are missing."""
        ensure_indexes(self._exposures, self.INDEXES)

    @translated("ZTF_ops: write")
    def add(self, rows: Sequence[Document]) -> int:
        """These exposures are stored, once each; how many are new."""
        if not rows:
            return 0
        names = ("utc_start", "utc_end", "fileroot")
        writes = [UpdateOne({name: row[name] for name in names}, {"$setOnInsert": row}, upsert=True) for row in rows]
        return self._exposures.bulk_write(writes, ordered=False).upserted_count


class Readings:
    """``performance``: what the metrics said, time after time."""

    INDEXES = [Index("at", [("at", 1)], {"expireAfterSeconds": READINGS_KEPT})]

    def __init__(self, database: MongoDatabase):
        self._readings = database.get_collection("performance", codec_options=AWARE)

    @translated("performance: indexes")
    def ensure_indexes(self) -> None:
        """Make the indexes that are missing."""
        ensure_indexes(self._readings, self.INDEXES)

    @translated("performance: write")
    def add(self, reading: Document) -> None:
        """A reading, with its time ``at``, is kept."""
        self._readings.insert_one(dict(reading))

    def between(self, begin: datetime, end: datetime) -> list[Document]:
        """The readings from a time up to, not including, another one, and the last one before, in their order."""
        with translated("performance: read"):
            before = self._readings.find({"at": {"$lt": begin, "$gte": begin - timedelta(hours=1)}})
            earlier = list(before.sort("at", DESCENDING).limit(1))
            return [*earlier, *self._readings.find({"at": {"$gte": begin, "$lt": end}}).sort("at", 1)]
