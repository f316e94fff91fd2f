"""What passes filters, as Avro messages on Kafka: for those who listen without SkyPortal.

One message per alert goes to ``<SURVEY>_alerts_results``, one per filter to ``kowalski.<survey>.filter.<filter_id>``. Each is an Avro
object container file of one record, as the packets of the surveys are, so that it carries its schema. Delivery is at least once, and a
filter that is slow is told of in a message of its own: candid and filter_id tell what is new. Of an alert that its
survey withdraws the same is said again, with ``withdrawn_jd``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import fastavro
from bson.int64 import Int64

from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.database.outbox import KAFKA, Entry, result_id
from kowalski.filters.results import Pass
from kowalski.outbox import transients
from kowalski.outbox.message import Encode, Message, included
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
            "group_id": each.filter.group_id,
            "fid": each.filter.fid,
            "filter_state": each.filter.state,
            **each.filter.sight.record,
            "alert": _alert(alert, survey),
            "passed": {
                "filter_id": each.filter.filter_id,
                "group_id": each.filter.group_id,
                "fid": each.filter.fid,
                "annotations": json.dumps(json_ready(each.annotations)),
            },
        }


def messages_of(entries: Sequence[Entry], encode: Encode = included) -> list[Message]:
    """The messages that tell of some entries of one alert, those of its withdrawal last."""
    told = sorted(entries, key=lambda entry: entry["kind"] == "withdrawal")
    results = [entry for entry in told if "passed" in entry]
    kinds = [
        [entry for entry in results if (entry["kind"] == "withdrawal") is withdrawn] for withdrawn in (False, True)
    ]
    messages = [message for of_kind in kinds if of_kind for message in _messages(of_kind, encode)]
    return messages + transients.messages_of([entry for entry in told if "passed" not in entry], encode)


def _messages(entries: Sequence[Entry], encode: Encode) -> list[Message]:
    first, ids = entries[0], tuple(entry["_id"] for entry in entries)
    record = {**first["alert"], **{name: first[name] for name in ("survey", "candid", "objectId", "jd")}}
    record["withdrawn_jd"] = first.get("withdrawn_jd")
    filters = [{**entry["passed"], "passed_at": entry["passed_at"]} for entry in entries]
    survey, key = first["survey"], first["objectId"]
    topic = f"{survey}_alerts_results"
    messages = [Message(topic, key, encode(topic, SCHEMA, {**record, "filters": filters}), ids)]
    for entry, passed in zip(entries, filters, strict=True):
        topic = f"kowalski.{survey.lower()}.filter.{passed['filter_id']}"
        messages.append(Message(topic, key, encode(topic, SCHEMA, {**record, "filters": [passed]}), (entry["_id"],)))
    return messages


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
