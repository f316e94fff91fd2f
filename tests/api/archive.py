"""The real packets as the chain stores them, for tests of what the API shows of them."""

from copy import deepcopy
from pathlib import Path

from packets import real_packets

from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import get_survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase

ZTF = get_survey("ZTF")


def store_real_alerts(database: MongoDatabase, test_data: Path, programmes: int = 3) -> list[Alert]:
    """The 36 alerts with their objects and indexes, spread over some programmes, as are the points of their histories."""
    found, _ = read_batch(real_packets(test_data), ZTF)
    alerts = deepcopy(found)
    for number, alert in enumerate(alerts):
        alert.candidate["programid"] = 1 + number % programmes
        for points in alert.histories.values():
            for place, point in enumerate(points):
                point["programid"] = 1 + (number + place) % programmes
    store(database, alerts)
    return alerts


def store(database: MongoDatabase, alerts: list[Alert]) -> None:
    """Alerts and what they say of their objects."""
    room = Alerts(database, ZTF)
    room.ensure_indexes()
    room.insert([dict(alert.document) for alert in alerts])
    by_object: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_object.setdefault(alert.object_id, []).append(alert)
    database[ZTF.aux].insert_many(
        {"_id": name, **merged({}, [arrival(each, ZTF) for each in own], ZTF), "cross_matches": {"CLU_20190625": []}}
        for name, own in by_object.items()
    )
