"""What SkyPortal is known to have: kept here, so that nobody asks it once per alert."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from bson.codec_options import CodecOptions
from pymongo import UpdateOne
from pymongo.write_concern import WriteConcern

from kowalski.database.client import MongoDatabase, translated


class SkyPortalObjects:
    """The collection ``skyportal_objects``: one document per object that SkyPortal has."""

    def __init__(self, db: MongoDatabase):
        self._objects = db.get_collection("skyportal_objects", write_concern=WriteConcern(w=1, j=False))
        self._refreshes = db.get_collection("skyportal_refreshes", codec_options=CodecOptions(tz_aware=True))

    @translated("skyportal_objects: look up")
    def known(self, object_ids: Iterable[str]) -> set[str]:
        """Those of the objects that SkyPortal has."""
        return {document["_id"] for document in self._objects.find({"_id": {"$in": list(object_ids)}}, {"_id": 1})}

    @translated("skyportal_objects: add")
    def add(self, object_ids: Iterable[str], how: Literal["posted", "found", "refreshed"]) -> int:
        """Remember that SkyPortal has these objects and how that is known; how many are new.

        It is on disk when the next durable write is.
        """
        unless_known = [{"$replaceWith": {"$mergeObjects": [{"how": how, "since": "$$NOW"}, "$$ROOT"]}}]
        writes = [UpdateOne({"_id": one}, unless_known, upsert=True) for one in dict.fromkeys(object_ids)]
        return self._objects.bulk_write(writes, ordered=False).upserted_count if writes else 0

    @translated("skyportal_objects: last refresh")
    def refreshed_until(self) -> datetime | None:
        """The time up to which SkyPortal's candidates were asked for in bulk; None when they never were."""
        refresh = self._refreshes.find_one({"_id": "candidates"})
        return refresh["until"] if refresh else None

    @translated("skyportal_objects: note refresh")
    def refreshed(self, until: datetime) -> None:
        """Remember that all candidates that passed before this time are known."""
        self._refreshes.update_one({"_id": "candidates"}, {"$set": {"until": until}}, upsert=True)
