"""Leases: at most one process at a time does a job, and another takes over when it dies."""

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from kowalski.database.client import MongoDatabase, translated


class Lease:
    """The right to do one job (``name``) for a while.

    Only the server's clock counts ($$NOW), so that clocks that differ between hosts do no harm. The holder renews well
    before ``seconds`` are over; if it was killed, another one gets the lease when they are.
    """

    def __init__(self, db: MongoDatabase, name: str, holder: str, seconds: float):
        self._leases = db["leases"]
        self._name = name
        self._holder = holder
        self.seconds = seconds

    @translated("lease: take")
    def take(self) -> bool:
        """Get the lease, or renew it; False when somebody else holds it."""
        free = {"$or": [{"$eq": ["$holder", self._holder]}, {"$lte": [{"$ifNull": ["$expires_at", "$$NOW"]}, "$$NOW"]}]}
        until = {"$add": ["$$NOW", round(self.seconds * 1000)]}
        change = {"$cond": [free, {"holder": self._holder, "expires_at": until}, "$$ROOT"]}
        try:
            lease = self._leases.find_one_and_update(
                {"_id": self._name},
                [{"$replaceWith": {"$mergeObjects": ["$$ROOT", change]}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            return False  # another process made the document in the same instant
        return lease is not None and lease["holder"] == self._holder

    @translated("lease: release")
    def release(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        self._leases.delete_one({"_id": self._name, "holder": self._holder})

    @translated("lease: look")
    def holder(self) -> str | None:
        """Who holds the lease now; None when nobody does."""
        lease = self._leases.find_one({"_id": self._name, "$expr": {"$gt": ["$expires_at", "$$NOW"]}})
        return lease["holder"] if lease else None
