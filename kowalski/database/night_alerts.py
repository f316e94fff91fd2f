"""What is stored of one night's alerts, as its report needs it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bson.codec_options import CodecOptions

from kowalski.alerts.survey import Survey
from kowalski.alerts.times import moment_of
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.ledger import KAFKA_INDEX

FIELDS = {"candidate.jd": 1, "kafka.timestamp": 1, "trace": 1, "classifications": 1}


class Stored(NamedTuple):
    """One alert.

    Attributes
    ----------
    exposed, emitted, stored : when its exposure began, when Kafka got it, and when the database had it, as its trace has them; of an
        alert of an older version, which has none, the last one to a second
    scores : model -> score
    """

    exposed: datetime
    emitted: datetime
    stored: datetime
    scores: dict[str, float]


class NightAlerts:
    """Reads a survey's alerts by the topics that brought them."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self._alerts = database.get_collection(survey.alerts, codec_options=CodecOptions(tz_aware=True))
        self._runs = database["filter_runs"]
        self.survey = survey

    def read(self, topics: Sequence[str], noons: tuple[datetime, datetime]) -> Iterator[Stored]:
        """The alerts that these topics brought; of those that have all nights, the ones that Kafka got between two noons."""
        condition: dict[str, Any] = {"kafka.topic": {"$in": list(topics)}}
        if "{date}" not in self.survey.topic:
            condition["kafka.timestamp"] = {"$gte": noons[0], "$lt": noons[1]}
        with translated(f"alerts of {', '.join(topics)}"):
            for each in self._alerts.find(condition, FIELDS).hint(KAFKA_INDEX.name):
                scores = {name: value for name, value in each["classifications"].items() if isinstance(value, float)}
                yield Stored(*_moments(each), scores)

    @translated("figures of filters")
    def passes(self, since: datetime, until: datetime) -> list[tuple[int, str, int, int]]:
        """filter_id, fid, alerts seen and passed of each filter that ran on these days (UTC), the most passes first."""
        days = {"$gte": f"{since:%Y-%m-%d}", "$lte": f"{until:%Y-%m-%d}"}
        stages: list[dict[str, Any]] = [
            {"$match": {"survey": self.survey.name, "night": days}},
            {"$group": {"_id": {"filter_id": "$filter_id", "fid": "$fid"}, "alerts": {"$sum": "$alerts"}, "passed": {"$sum": "$passed"}}},
            {"$sort": {"passed": -1, "_id.filter_id": 1}},
        ]  # fmt: skip
        return [
            (each["_id"]["filter_id"], each["_id"]["fid"], each["alerts"], each["passed"])
            for each in self._runs.aggregate(stages)
        ]


def _moments(alert: dict[str, Any]) -> tuple[datetime, datetime, datetime]:
    """When an alert was exposed, emitted and stored, as well as it says."""
    trace, emitted = alert.get("trace") or {}, alert["kafka"]["timestamp"]
    exposed = trace.get("exposure") or moment_of(alert["candidate"]["jd"]) or emitted
    return exposed, emitted, trace.get("stored") or alert["_id"].generation_time
