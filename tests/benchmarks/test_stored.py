"""What benchmarks store before the clock starts: pasts of objects, and alerts without cutouts in every index."""

from itertools import islice

import pytest
from emptied import mongo_settings, shared_settings

from benchmarks.packets import packets_of_tonight
from benchmarks.stored import EARLIER, POINTS, store_rows, with_past
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet, decode
from kowalski.alerts.survey import get_survey
from kowalski.config import build, settings_tree
from kowalski.database.alerts import Alerts, alert_indexes
from kowalski.database.client import MongoDatabase
from kowalski.database.objects import Objects
from kowalski.errors import LocalError
from kowalski.settings import Config, Database

__all__ = ["mongo_settings", "shared_settings"]

ZTF = get_survey("ZTF")


@pytest.fixture
def config(mongo_settings: Database) -> Config:
    """Settings without networks."""
    tree = settings_tree([], {})
    tree["ml"]["ZTF"] = {"models": {}}
    config = build(tree)
    return config.model_copy(update={"database": mongo_settings})


@pytest.fixture
def ready(mongo: MongoDatabase) -> MongoDatabase:
    """A database with the collections' indexes."""
    Alerts(mongo, ZTF).ensure_indexes()
    Objects(mongo, ZTF).ensure_indexes()
    return mongo


def test_every_object_has_50_alerts_and_500_points(ready: MongoDatabase, config: Config) -> None:
    packets = list(islice(packets_of_tonight(ZTF, 70), 70))
    assert list(with_past(packets, ready, ZTF, config)) == packets
    assert ready[ZTF.alerts].count_documents({}) == 70 * EARLIER == 3500
    assert ready[ZTF.aux].count_documents({}) == 70
    for data in packets:
        record = decode(data)[0]
        name, candid, jd = record["objectId"], record["candid"], record["candidate"]["jd"]
        earlier = list(ready[ZTF.alerts].find({"objectId": name}))
        assert len(earlier) == EARLIER
        assert all(alert["candidate"]["jd"] < jd and alert["candid"] != candid for alert in earlier)
        assert not any(cutout in alert for alert in earlier for cutout in ZTF.cutouts.values())
        aux = ready[ZTF.aux].find_one({"_id": name})
        assert aux is not None
        assert len(aux["prv_candidates"]) + len(aux["fp_hists"]) == POINTS == 500
        assert aux["first_alert"]["jd"] == min(alert["candidate"]["jd"] for alert in earlier)
        assert {alert["candid"] for alert in earlier} > {point["candid"] for point in aux["prv_candidates"] if point.get("first_jd", jd) < jd - 30 and "candid" in point}  # fmt: skip
        assert aux["matched"]["candid"] == aux["first_alert"]["candid"]


def test_the_chain_takes_the_past_for_its_own(ready: MongoDatabase, config: Config) -> None:
    """The alert itself adds no more than what its packet tells, and no new match."""
    packets = list(with_past(packets_of_tonight(ZTF, 3), ready, ZTF, config))
    before = {aux["_id"]: aux for aux in ready[ZTF.aux].find()}
    report = AlertWorker(ZTF, config).process([Packet(data) for data in packets])
    assert report.stored == 3
    for aux in ready[ZTF.aux].find():
        earlier = before[aux["_id"]]
        assert aux["matched"] == earlier["matched"]
        assert aux["first_alert"] == earlier["first_alert"]
        assert aux["last_packet"]["candid"] > earlier["last_packet"]["candid"]
        for field in ("prv_candidates", "fp_hists"):
            assert len(aux[field]) == len(earlier[field])


def test_rows_are_in_every_index_without_cutouts(ready: MongoDatabase, config: Config) -> None:
    with pytest.raises(LocalError, match="no alert to copy"):
        store_rows(ready, ZTF, 10)
    AlertWorker(ZTF, config).process([Packet(data) for data in packets_of_tonight(ZTF, 5)])
    told: list[int] = []
    store_rows(ready, ZTF, 2500, told.append)
    store_rows(ready, ZTF, 100, told.append, first=2500)
    assert sum(told) == 2600
    alerts = ready[ZTF.alerts]
    assert alerts.count_documents({}) == 2605
    assert alerts.count_documents({ZTF.cutouts["science"]: {"$exists": True}}) == 5
    assert {index.name for index in alert_indexes(ZTF)} | {"_id_"} == set(alerts.index_information())
    assert ready[ZTF.aux].count_documents({}) == 5 + 260
    row = alerts.find_one({"objectId": {"$regex": "^ZTF98"}})
    assert row is not None
    assert row["candidate"]["candid"] == row["candid"]
    longitude, latitude = row["coordinates"]["radec_geojson"]["coordinates"]
    assert (longitude, latitude) == pytest.approx((row["candidate"]["ra"] - 180, row["candidate"]["dec"]))
    places = {tuple(each["coordinates"]["radec_geojson"]["coordinates"]) for each in alerts.find({}, {"coordinates": 1})}  # fmt: skip
    assert len(places) == 2605
