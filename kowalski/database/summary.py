"""What one survey's night left in the database, in numbers."""

from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, translated


class Summary:
    """Counts over the collections of one survey."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self.alerts = database[survey.alerts]
        self.aux = database[survey.aux]
        self.outbox = database["outbox"]
        self.quarantine = database["quarantine"]
        self.survey = survey

    def stored(self) -> tuple[int, int]:
        """Alerts and objects."""
        with translated("count alerts and objects"):
            return self.alerts.count_documents({}), self.aux.count_documents({})

    def scores(self) -> dict[tuple[str, str], int]:
        """Alerts scored by each model and version."""
        pairs = {"$objectToArray": "$classifications"}
        pipeline: list[dict[str, Any]] = [
            {"$project": {"pairs": pairs}},
            {"$unwind": "$pairs"},
            {"$match": {"pairs.k": {"$regex": "_version$"}}},
            {"$group": {"_id": {"model": "$pairs.k", "version": "$pairs.v"}, "n": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
        with translated("count scores"):
            return {
                (row["_id"]["model"].removesuffix("_version"), row["_id"]["version"]): row["n"]
                for row in self.alerts.aggregate(pipeline)
            }

    def matches(self) -> dict[str, int]:
        """Objects with at least one match in each catalogue."""
        pipeline: list[dict[str, Any]] = [
            {"$project": {"pairs": {"$objectToArray": "$cross_matches"}}},
            {"$unwind": "$pairs"},
            {"$group": {"_id": "$pairs.k", "n": {"$sum": {"$cond": [{"$gt": [{"$size": "$pairs.v"}, 0]}, 1, 0]}}}},
            {"$sort": {"_id": 1}},
        ]
        with translated("count matches"):
            return {row["_id"]: row["n"] for row in self.aux.aggregate(pipeline)}

    def passed(self) -> dict[int, int]:
        """Alerts that passed each filter and went to the outbox."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"survey": self.survey.name, "kind": "candidate"}},
            {"$group": {"_id": "$filter_id", "n": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
        with translated("count passes"):
            return {row["_id"]: row["n"] for row in self.outbox.aggregate(pipeline)}

    def posted(self) -> int:
        """Candidates that SkyPortal has taken."""
        with translated("count candidates posted"):
            return self.outbox.count_documents({"survey": self.survey.name, "kind": "candidate", "state": "delivered"})

    def quarantined(self) -> dict[str, int]:
        """Packets in quarantine by reason."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"survey": self.survey.name}},
            {"$group": {"_id": "$reason", "n": {"$sum": 1}}},
        ]
        with translated("count quarantine"):
            return {row["_id"]: row["n"] for row in self.quarantine.aggregate(pipeline)}
