"""Extragalactic candidates and fits of their light curves, as Avro messages on Kafka.

A candidate goes to ``kowalski.<survey>.extragalactic``, a fit to ``kowalski.<survey>.fits``. Delivery is at least once; a candid has one
message of each kind, and of an alert that its survey withdraws the same is said again, with ``withdrawn_jd``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import fastavro
from bson.int64 import Int64

from kowalski.database.outbox import KAFKA, Entry, extragalactic_id, fit_id
from kowalski.outbox.message import Encode, Message

Field = dict[str, Any]


def _optional(name: str, kind: Any, doc: str = "") -> Field:
    return {"name": name, "type": ["null", kind], "default": None, **({"doc": doc} if doc else {})}


ALERT: list[Field] = [
    {"name": "survey", "type": "string"},
    {"name": "candid", "type": "long"},
    {"name": "objectId", "type": "string"},
    {"name": "jd", "type": "double", "doc": "d"},
]
WITHDRAWN = _optional("withdrawn_jd", "double", "d, when the survey withdrew the alert")
EXTRAGALACTIC = fastavro.parse_schema(
    {
        "type": "record",
        "name": "ExtragalacticCandidate",
        "namespace": "kowalski",
        "doc": "An alert that may be of an extragalactic transient",
        "fields": [
            *ALERT,
            {"name": "ra", "type": "double", "doc": "deg, J2000"},
            {"name": "dec", "type": "double", "doc": "deg, J2000"},
            _optional("programid", "int", "programme of its data rights"),
            _optional("fid", "int", "band"),
            _optional("magpsf", "double", "mag"),
            _optional("sigmapsf", "double", "mag"),
            {"name": "reason", "type": "string", "doc": "recent or rising"},
            {"name": "detail", "type": "string", "doc": "the reason, in words"},
            _optional("z", "double", "redshift of the matched host"),
            _optional("z_source", "string", "catalogue that has it"),
            {"name": "classifications", "type": {"type": "map", "values": "double"}},
            WITHDRAWN,
        ],
    }
)
FIT: Any = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Salt2Fit",
        "namespace": "kowalski",
        "doc": "A fit of SALT2 to the light curve of an object, made for an alert; or why there is none",
        "fields": [
            *ALERT,
            {"name": "model", "type": "string"},
            {"name": "version", "type": "string"},
            _optional("reason", "string", "why there is no fit; all else is null then"),
            _optional("z", "double"),
            _optional("z_source", "string", "catalogue of the host's redshift, or fit"),
            _optional("t0", "double", "MJD of the maximum in B, d"),
            _optional("x0", "double"),
            _optional("x1", "double"),
            _optional("c", "double"),
            _optional("chi2", "double"),
            _optional("ndof", "int"),
            {"name": "parameters", "type": {"type": "array", "items": "string"}, "doc": "those that were fitted"},
            {"name": "covariance", "type": {"type": "array", "items": "double"}, "doc": "of these, row by row"},
            _optional("mwebv", "double", "E(B-V) of the Galaxy that was corrected for, mag"),
            _optional("points", "int", "points fitted"),
            WITHDRAWN,
        ],
    }
)
#: kind of an entry -> its schema and the last part of its topic's name
STREAMS: dict[str, tuple[Any, str]] = {"extragalactic": (EXTRAGALACTIC, "extragalactic"), "fit": (FIT, "fits")}
NOT_OF_THE_FIT = {"survey", "candid", "objectId", "jd", "withdrawn_jd"}
FIT_FIELDS = [field["name"] for field in FIT["fields"] if field["name"] not in NOT_OF_THE_FIT]


def extragalactic_entry(alert: Mapping[str, Any], record: Mapping[str, Any], now: datetime) -> Entry:
    """The outbox entry of a candidate; ``alert`` has survey, candid, objectId, jd and kafka."""
    return _entry("extragalactic", extragalactic_id(alert["survey"], alert["candid"]), alert, record, now)


def fit_entry(alert: Mapping[str, Any], fit: Mapping[str, Any], now: datetime) -> Entry:
    """The outbox entry of what a fit found."""
    record = {name: fit.get(name) for name in FIT_FIELDS}
    return _entry("fit", fit_id(alert["survey"], alert["candid"]), alert, record, now)


def _entry(kind: str, key: str, alert: Mapping[str, Any], record: Mapping[str, Any], now: datetime) -> Entry:
    common = {"survey": alert["survey"], "candid": Int64(alert["candid"]), "objectId": alert["objectId"], "jd": alert["jd"]}  # fmt: skip
    return {"_id": key, "kind": kind, "lane": KAFKA, "passed_at": now, "kafka": alert["kafka"], **common, "record": dict(record)}  # fmt: skip


def messages_of(entries: Sequence[Entry], encode: Encode) -> list[Message]:
    """The message of each of some entries."""
    return [_message(entry, encode) for entry in entries]


def _message(entry: Entry, encode: Encode) -> Message:
    schema, stream = STREAMS[str(entry.get("tells", entry["kind"]))]
    topic = f"kowalski.{entry['survey'].lower()}.{stream}"
    alert = {name: entry[name] for name in ("survey", "candid", "objectId", "jd")}
    record = {**entry["record"], **alert, "withdrawn_jd": entry.get("withdrawn_jd")}
    return Message(topic, entry["objectId"], encode(topic, schema, record), (entry["_id"],))
