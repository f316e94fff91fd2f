"""Which alerts passed which filters, where tables are kept of that: stored whether anything is sent on or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson.int64 import Int64
from pymongo.errors import BulkWriteError

from kowalski.alerts.document import Alert
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.database.outbox import candidate_id
from kowalski.filters.results import Pass

COLLECTION = "passes"
#: s for which they are kept: the tables have them by then
KEPT_FOR = 90 * 86400


class Passes:
    """The collection ``passes``: each (survey, candid, filter_id) once, the first version of the filter."""

    INDEXES = [
        Index("survey_candid", [("survey", 1), ("candid", 1)]),
        Index("passed_at", [("passed_at", 1)], {"expireAfterSeconds": KEPT_FOR}),
        Index("group_passed", [("group_id", 1), ("passed_at", -1)]),
    ]

    def __init__(self, database: MongoDatabase):
        self._passes = database[COLLECTION]

    @translated("indexes of passes")
    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        ensure_indexes(self._passes, self.INDEXES)

    @translated("store passes")
    def add(self, passes: Sequence[Mapping[str, Any]]) -> None:
        """Store those that are not there yet, durably."""
        if not passes:
            return
        try:
            self._passes.insert_many([dict(each) for each in passes], ordered=False)
        except BulkWriteError as error:
            if faults_of(error):
                raise


def passes_of(survey: str, alerts: Iterable[Alert], passes: Iterable[Pass], now: datetime) -> Iterator[dict[str, Any]]:
    """What is stored of alerts that passed filters."""
    by_candid = {alert.candid: alert for alert in alerts}
    for each in passes:
        alert = by_candid[each.candid]
        yield {
            "_id": candidate_id(survey, alert.candid, each.filter.filter_id),
            "survey": survey,
            "candid": Int64(alert.candid),
            "objectId": alert.object_id,
            "jd": alert.jd,
            "topic": alert.document["kafka"]["topic"],
            "filter_id": each.filter.filter_id,
            "group_id": each.filter.group_id,
            "fid": each.filter.fid,
            "filter_state": each.filter.state,
            **each.filter.sight.record,
            "passed_at": now,
            "annotations": each.annotations,
        }
