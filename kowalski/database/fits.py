"""Fits of light curves: what is asked for and what came of it, one document per object.

A document's ``candid``, ``jd`` and all that a fit found are of the last fit; ``wanted`` is what is asked for since, while it waits.
The alert that asked last, by (jd, candid), counts: one that comes again, or late, asks for nothing.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from bson.codec_options import CodecOptions
from bson.int64 import Int64
from pymongo import ReturnDocument, UpdateOne

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes

COLLECTION = "fits"
#: what a document says of a fit, where there is none
NO_FIT: dict[str, Any] = {
    **dict.fromkeys(("z", "z_source", "t0", "x0", "x1", "c", "chi2", "ndof", "mwebv", "points", "curve")),
    "covariance": [],
    "parameters": [],
}

Document = dict[str, Any]


class Request(NamedTuple):
    """An alert of whose object a fit is wanted.

    Attributes
    ----------
    kafka : the message that brought it
    publish : whether the fit is to be told on Kafka
    attempts : how often it was taken, this time included
    """

    survey: str
    objectId: str
    candid: int
    jd: float
    kafka: Mapping[str, Any]
    publish: bool
    attempts: int = 0

    @property
    def key(self) -> str:
        """The document's ``_id``."""
        return fit_key(self.survey, self.objectId)


def fit_key(survey: str, object_id: str) -> str:
    """The key of an object's fit."""
    return f"{survey}:{object_id}"


class Fits:
    """The collection ``fits``."""

    INDEXES = [
        Index("wanted", [("wanted.requested_at", 1)], {"sparse": True}),
        Index("reason_made_at", [("reason", 1), ("made_at", 1)], {"partialFilterExpression": {"made_at": {"$exists": True}}}),
    ]  # fmt: skip

    def __init__(self, db: MongoDatabase):
        self._fits = db.get_collection(COLLECTION, codec_options=CodecOptions(tz_aware=True))

    @translated("fits: indexes")
    def ensure_indexes(self) -> None:
        """Make the indexes that are missing."""
        ensure_indexes(self._fits, self.INDEXES)

    @translated("fits: request")
    def request(self, requests: Iterable[Request], now: datetime) -> None:
        """Ask for fits, durably; of what was asked for already, or later, nothing changes."""
        operations = [UpdateOne({"_id": each.key}, [{"$set": _asked(each, now)}], upsert=True) for each in requests]
        if operations:
            self._fits.bulk_write(operations, ordered=True)

    @translated("fits: take")
    def take(self, holder: str, seconds: float) -> Request | None:
        """The request that waits longest and that nobody has taken, taken for so many seconds by the server's clock."""
        free = {"$lte": [{"$ifNull": ["$taken.until", "$$NOW"]}, "$$NOW"]}
        until = {"$add": ["$$NOW", round(seconds * 1000)]}
        attempts = {"$add": [{"$ifNull": ["$wanted.attempts", 0]}, 1]}
        found = self._fits.find_one_and_update(
            {"wanted.requested_at": {"$exists": True}, "$expr": free},
            [{"$set": {"taken": {"by": holder, "until": until}, "wanted.attempts": attempts}}],
            sort=[("wanted.requested_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            return None
        wanted = found["wanted"]
        asked = {name: wanted[name] for name in ("candid", "jd", "kafka", "publish", "attempts")}
        return Request(found["survey"], found["objectId"], **asked)

    @translated("fits: give back")
    def give_back(self, holder: str) -> None:
        """What this holder has taken and not answered waits again, as if it had not been taken."""
        self._fits.update_many(
            {"wanted.requested_at": {"$exists": True}, "taken.by": holder},
            {"$unset": {"taken": 1}, "$inc": {"wanted.attempts": -1}},
        )

    @translated("fits: release")
    def release(self, holder: str) -> None:
        """What this holder has taken and not answered is free to be taken again, once more."""
        self._fits.update_many({"wanted.requested_at": {"$exists": True}, "taken.by": holder}, {"$unset": {"taken": 1}})

    @translated("fits: store")
    def store(self, request: Request, found: Mapping[str, Any]) -> None:
        """Keep what a fit found, durably, unless one of a later alert is there; what was asked for meanwhile waits on."""
        mine = [request.jd, Int64(request.candid)]
        result = {**found, "candid": Int64(request.candid), "jd": request.jd}
        answered = {"$eq": ["$wanted.candid", Int64(request.candid)]}
        rest = {"$cond": [answered, "$$REMOVE", {"$ifNull": ["$wanted", "$$REMOVE"]}]}
        self._fits.update_one(
            {"_id": request.key, "$expr": {"$lte": [{"$ifNull": ["$fitted", []]}, mine]}},
            [
                {"$set": {name: {"$literal": value} for name, value in result.items()}},
                {"$set": {"made_at": "$$NOW", "fitted": {"$literal": mine}, "wanted": rest, "taken": "$$REMOVE"}},
            ],
        )

    @translated("fits: count")
    def counts(self) -> dict[str, int]:
        """How many objects have a fit (``made``), none for a reason (``skipped``), and wait for one (``waiting``)."""
        return {
            "made": self._fits.count_documents({"reason": None, "made_at": {"$exists": True}}),
            "skipped": self._fits.count_documents({"reason": {"$type": "string"}, "made_at": {"$exists": True}}),
            "waiting": self._fits.count_documents({"wanted.requested_at": {"$exists": True}}),
        }

    @translated("fits: read")
    def of(self, survey: str, object_id: str) -> Document | None:
        """An object's document."""
        return self._fits.find_one({"_id": fit_key(survey, object_id)})


def _asked(request: Request, now: datetime) -> Document:
    """What a request changes of a document, whatever it says: fields as expressions."""
    mine = {"$literal": [request.jd, Int64(request.candid)]}
    newest = {"$ifNull": ["$asked", []]}
    wanted = {
        "candid": Int64(request.candid),
        "jd": request.jd,
        "kafka": dict(request.kafka),
        "publish": request.publish,
    }
    since = {"requested_at": {"$ifNull": ["$wanted.requested_at", now]}}
    return {
        "survey": request.survey,
        "objectId": {"$literal": request.objectId},
        "candid": {"$ifNull": ["$candid", Int64(request.candid)]},
        "jd": {"$ifNull": ["$jd", request.jd]},
        "requested_at": {"$cond": [{"$lt": [newest, mine]}, now, "$requested_at"]},
        "wanted": {
            "$cond": [
                {"$lt": [newest, mine]},
                {"$mergeObjects": [{"$literal": wanted}, since]},
                {"$ifNull": ["$wanted", "$$REMOVE"]},
            ]
        },
        "taken": {"$cond": [{"$lt": [newest, mine]}, "$$REMOVE", {"$ifNull": ["$taken", "$$REMOVE"]}]},
        "asked": {"$max": [newest, mine]},
    }
