"""Packets for the alert worker, filters for it, and what it has left behind."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from histories import ZTF
from packets import JD, forced_point, prv_point, ztf_packets, ztf_record

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import arrival, read_batch
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters

CONE = {"cone_search_radius": 2, "cone_search_unit": "arcsec"}
RECIPES = {"Gaia_EDR3": CONE, "milliquas": CONE}
FILTERS: dict[int, list[dict[str, Any]]] = {
    1: [{"$match": {}}],
    2: [
        {"$match": {"candidate.magpsf": {"$lt": 19}}},
        {
            "$project": {
                "annotations": {"n": {"$size": "$prv_candidates"}, "gaia": {"$size": "$cross_matches.Gaia_EDR3"}}
            }
        },
    ],
    3: [{"$match": {"candidate.programid": 2}}],
}
COLLECTIONS = (
    "ZTF_alerts",
    "ZTF_alerts_aux",
    "outbox",
    "quarantine",
    "quarantine_files.files",
    "quarantine_files.chunks",
)

MakeWorker = Callable[..., AlertWorker]
State = dict[str, list[dict[str, Any]]]


def put_filter(database: MongoDatabase, filter_id: int, pipeline: list[dict[str, Any]], **fields: Any) -> None:
    document = {
        "filter_id": filter_id, "group_id": 10 + filter_id, "catalog": "ZTF_alerts", "permissions": [1, 2, 3], "active": True,
        "active_fid": "abc123", "fv": [{"fid": "abc123", "pipeline": json.dumps(pipeline)}], "last_modified": datetime.now(UTC),
    }  # fmt: skip
    Filters(database, database).put(document | fields)


def state(database: MongoDatabase) -> State:
    """Everything that packets have caused."""
    return {name: list(database[name].find().sort("_id", 1)) for name in COLLECTIONS}


def settled(database: MongoDatabase) -> State:
    """The same without what is new with each run: ids, times, and the message that brought an alert."""
    found = state(database)
    for alert in found["ZTF_alerts"]:
        del alert["_id"], alert["kafka"], alert["trace"]
    found["ZTF_alerts"].sort(key=lambda alert: alert["candid"])
    for aux in found["ZTF_alerts_aux"]:
        del aux["version"], aux["matched"]["at"]
    for entry in found["outbox"]:
        del entry["passed_at"], entry["kafka"]
    for refused in found["quarantine"]:
        del refused["at"]
    return found


def visits(objects: int = 5, packets: int = 4) -> list[Packet]:
    """Packets of some objects, each with the history of its object so far."""
    records = []
    for number in range(objects):
        for visit in range(packets):
            earlier = [prv_point(JD + day, candid=1000 * number + day + 1) for day in range(visit)]
            record = ztf_record(
                1000 * number + visit + 1, f"ZTF23obj{number}", jd=JD + visit, ra=150.0 + number + visit / 36_000, magpsf=18.0 + (visit * 7 % 3) / 2,
                ndethist=visit + 1, jdstarthist=JD, programid=1 + number % 3, prv=[prv_point(JD - 5 - number), *earlier],
                forced=[forced_point(JD - 5 + day, forcediffimflux=50.0 + visit) for day in range(visit + 5)],
            )  # fmt: skip
            records.append(record)
    return ztf_packets(records)


def in_batches(packets: list[Packet], size: int) -> list[list[Packet]]:
    return [packets[at : at + size] for at in range(0, len(packets), size)]


def said_by(packets: list[Packet]) -> dict[str, list[Any]]:
    """What some packets say of their objects."""
    said: dict[str, list[Any]] = {}
    for alert in read_batch(packets, ZTF)[0]:
        said.setdefault(alert.object_id, []).append(arrival(alert, ZTF))
    return said
