"""What passes filters, as Avro messages on Kafka: for those who listen without SkyPortal.

One message per alert goes to ``<SURVEY>_alerts_results``, one per filter to ``kowalski.<survey>.filter.<filter_id>``. Each is an Avro
object container file of one record, as the packets of the surveys are, so that it carries its schema. Delivery is at least once: a
message that comes again has the same candid and filters. Of an alert that its survey withdraws the same is said again, with
``withdrawn_jd``.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import fastavro
from bson.int64 import Int64

from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.database.outbox import KAFKA, Entry, result_id
from kowalski.filters.results import Pass
from kowalski.skyportal.messages import json_ready

FILTER = {
    "type": "record",
    "name": "FilterPassed",
    "fields": [
        {"name": "filter_id", "type": "long"},
        {"name": "group_id", "type": "long"},
        {"name": "fid", "type": "string", "doc": "version of the filter"},
        {"name": "passed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "annotations", "type": "string", "doc": "JSON"},
    ],
}
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "AlertResult",
        "namespace": "kowalski",
        "doc": "An alert that passed filters",
        "fields": [
            {"name": "survey", "type": "string"},
            {"name": "candid", "type": "long"},
            {"name": "objectId", "type": "string"},
            {"name": "programid", "type": ["null", "int"], "doc": "programme of its data rights"},
            {"name": "jd", "type": "double", "doc": "d"},
            {"name": "ra", "type": "double", "doc": "deg, J2000"},
            {"name": "dec", "type": "double", "doc": "deg, J2000"},
            {"name": "fid", "type": ["null", "int"], "doc": "band"},
            {"name": "magpsf", "type": ["null", "double"], "doc": "mag"},
            {"name": "sigmapsf", "type": ["null", "double"], "doc": "mag"},
            {"name": "isdiffpos", "type": ["null", "boolean"]},
            {"name": "classifications", "type": {"type": "map", "values": "double"}},
            {
                "name": "withdrawn_jd",
                "type": ["null", "double"],
                "doc": "d, when the survey withdrew the alert",
                "default": None,
            },
            {"name": "filters", "type": {"type": "array", "items": FILTER}},
        ],
    }
)
POSITIVE = (True, 1, "y", "Y", "t", "1", "T")


class Message(NamedTuple):
    """One message, and the outbox entries that are done when it has arrived."""

    topic: str
    key: str
    value: bytes
    entries: tuple[str, ...]


def result_entries(survey: Survey, alerts: Iterable[Alert], passes: list[Pass], now: datetime) -> Iterator[Entry]:
    """One outbox entry per filter that an alert passed."""
    by_candid = {alert.candid: alert for alert in alerts}
    for each in passes:
        alert = by_candid[each.candid]
        yield {
            "_id": result_id(survey.name, alert.candid, each.filter.filter_id),
            "kind": "result",
            "lane": KAFKA,
            "survey": survey.name,
            "candid": Int64(alert.candid),
            "objectId": alert.object_id,
            "jd": alert.jd,
            "passed_at": now,
            "kafka": alert.document["kafka"],
            "filter_id": each.filter.filter_id,
            "alert": _alert(alert, survey),
            "passed": {
                "filter_id": each.filter.filter_id,
                "group_id": each.filter.group_id,
                "fid": each.filter.fid,
                "annotations": json.dumps(json_ready(each.annotations)),
            },
        }


def messages_of(entries: Iterable[Entry]) -> Iterator[Message]:
    """The messages that tell of some entries, which are sorted by alert."""
    for (survey, candid), group in groupby(entries, key=lambda entry: (entry["survey"], entry["candid"])):
        of_alert = list(group)
        for kind in ("result", "withdrawal"):
            yield from _messages([entry for entry in of_alert if entry["kind"] == kind], survey, candid)


def _messages(together: list[Entry], survey: str, candid: int) -> Iterator[Message]:
    if together:
        key, ids = together[0]["objectId"], tuple(entry["_id"] for entry in together)
        record = {**together[0]["alert"], "survey": survey, "candid": candid, "objectId": key, "jd": together[0]["jd"]}
        record["withdrawn_jd"] = together[0].get("withdrawn_jd")
        filters = [{**entry["passed"], "passed_at": entry["passed_at"]} for entry in together]
        yield Message(f"{survey}_alerts_results", key, _encoded(record, filters), ids)
        for entry, passed in zip(together, filters, strict=True):
            topic = f"kowalski.{survey.lower()}.filter.{passed['filter_id']}"
            yield Message(topic, key, _encoded(record, [passed]), (entry["_id"],))


def _alert(alert: Alert, survey: Survey) -> dict[str, Any]:
    candidate: Mapping[str, Any] = alert.candidate
    classifications: Mapping[str, Any] = alert.document["classifications"]
    return {
        "ra": alert.ra,
        "dec": alert.dec,
        "programid": candidate.get(survey.program_field) if survey.program_field else None,
        "fid": survey.fid_of(candidate),
        "magpsf": candidate.get("magpsf"),
        "sigmapsf": candidate.get("sigmapsf"),
        "isdiffpos": candidate["isdiffpos"] in POSITIVE if "isdiffpos" in candidate else None,
        "classifications": {name: score for name, score in classifications.items() if isinstance(score, float)},
    }


def _encoded(record: dict[str, Any], filters: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, SCHEMA, [{**record, "filters": filters}])
    return file.getvalue()
