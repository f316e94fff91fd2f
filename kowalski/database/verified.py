"""What is stored of an alert beside itself and its object: passes, entries of the outbox, and filters that saw it."""

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from bson.objectid import ObjectId

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.filter_runs import COLLECTION as RUNS
from kowalski.database.passes import COLLECTION as PASSES

Document = dict[str, Any]


class Verified:
    """Reads all that one survey's alert has left behind."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self.database, self.survey = database, survey

    def passes(self, candid: int) -> list[Document]:
        """Its passes, where such are kept."""
        with translated("read passes"):
            return list(self.database[PASSES].find({"survey": self.survey.name, "candid": candid}).sort("_id", 1))

    def entries(self, candid: int) -> list[Document]:
        """Its entries of the outbox, found by their names: each begins with the survey and the number."""
        begin = f"{self.survey.name}:{candid}:"
        with translated("read the outbox"):
            return list(self.database["outbox"].find({"_id": {"$gte": begin, "$lt": begin[:-1] + ";"}}).sort("_id", 1))

    def filters(self, filter_ids: Iterable[int]) -> dict[int, Document]:
        """Filters by their numbers."""
        with translated("read filters"):
            found = self.database["filters"].find({"filter_id": {"$in": list(filter_ids)}})
            return {document["filter_id"]: document for document in found}

    def ran(self, alert: Mapping[str, Any]) -> frozenset[tuple[int, str]]:
        """filter_id and fid of filters that saw an alert in all likelihood: their only version that ran on the day when it was stored.

        Those that were changed on that day, after it was stored, may have been activated later, and are left out.
        """
        if not isinstance(key := alert["_id"], ObjectId):
            return frozenset()
        stored_at = key.generation_time
        with translated("look up what filters ran"):
            night = f"{stored_at:%Y-%m-%d}"
            rows = list(
                self.database[RUNS].find({"survey": self.survey.name, "night": night}, {"filter_id": 1, "fid": 1})
            )
            changed = self.filters({each["filter_id"] for each in rows})
        versions: dict[int, list[str]] = {}
        for each in rows:
            versions.setdefault(each["filter_id"], []).append(each["fid"])
        found = set()
        for filter_id, fids in versions.items():
            at = changed.get(filter_id, {}).get("last_modified")
            at = at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
            later = at is not None and at.replace(microsecond=0) > stored_at
            if len(fids) == 1 and filter_id in changed and not later:
                found.add((filter_id, fids[0]))
        return frozenset(found)
