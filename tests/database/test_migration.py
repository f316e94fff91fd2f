"""A database of Kowalski 3: what is found to be done, that it is done once, and that new packets go on from there."""

import base64
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from packets import real_packets

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.coordinates import position
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import as_of
from kowalski.alerts.survey import get_survey
from kowalski.config import build, settings_tree
from kowalski.crossmatch.pixels import GRIDS, with_pixels
from kowalski.database import indexes as index_module
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.database.migration import Migration
from kowalski.local.migrate import add_pixels, change, check, notes, slow
from kowalski.settings import Database
from kowalski.simulation.night import simulate

ZTF = get_survey("ZTF")
PIPELINE = json.dumps([{"$match": {"candidate.drb": {"$gt": 0.5}}}])


def old_object(alerts: list[Alert]) -> dict[str, Any]:
    """An object as version 3 left it after some alerts: unequal copies of points side by side, in order of arrival."""
    points: dict[str, list[dict[str, Any]]] = {"prv_candidates": [], "fp_hists": []}
    for alert in alerts:
        for name, said in arrival(alert, ZTF).histories.items():
            points[name] += [dict(point) for point in said if point not in points[name]]
    by_jd = {point["jd"]: point for point in points["fp_hists"]}
    return {
        "_id": alerts[0].object_id,
        "cross_matches": {"Gaia_EDR3": [{"_id": 1}]},
        "prv_candidates": points["prv_candidates"],
        "fp_hists": [by_jd[jd] for jd in sorted(by_jd)],
    }


def store_old(database: MongoDatabase, alerts: list[Alert]) -> None:
    by_object: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_object.setdefault(alert.object_id, []).append(alert)
    database["ZTF_alerts"].insert_many([deepcopy(dict(alert.document)) for alert in alerts])
    database["ZTF_alerts_aux"].insert_many([old_object(own) for own in by_object.values()])


@pytest.fixture
def packets() -> list[Packet]:
    """A simulated night of objects with many visits."""
    return [Packet(each.data, "t", 0, number) for number, each in enumerate(simulate(120, objects=20, seed=4))]


@pytest.fixture
def worker(mongo: MongoDatabase, mongo_settings: Database) -> Iterator[AlertWorker]:
    tree = settings_tree([], {})
    tree["ml"] |= {"backend": "onnx", "ZTF": {"models": {}}}
    tree["database"]["xmatch"] = {"ZTF": {}}
    config = build(tree)
    own = mongo_settings.model_copy(update={"xmatch": config.database.xmatch})
    made = AlertWorker(ZTF, config.model_copy(update={"database": own}))
    yield made
    made.alerts.collection.database.client.close()
    made.filters.filters.reader.client.close()


def test_new_packets_go_on_from_old_objects(mongo: MongoDatabase, worker: AlertWorker, packets: list[Packet]) -> None:
    """After a migration the second half of a night gives the objects that the whole night gives, but for what nobody knows."""
    alerts, _ = read_batch(packets, ZTF)
    store_old(mongo, alerts[:60])
    migration = Migration(mongo)
    before = {document["_id"]: document for document in mongo["ZTF_alerts_aux"].find()}
    lines = list(check(migration, [ZTF]))
    assert lines[0] == f"ZTF_alerts_aux: {len(before)} objects have the shape of version 3 (--run)"
    change(migration, [ZTF], indexes=True)
    assert list(check(migration, [ZTF])) == []
    after = {document["_id"]: document for document in mongo["ZTF_alerts_aux"].find()}
    assert after.keys() == before.keys()
    for object_id, document in after.items():
        assert document["cross_matches"] == before[object_id]["cross_matches"]
        own = [alert for alert in alerts[:60] if alert.object_id == object_id]
        assert document["programids"] == sorted({alert.candidate["programid"] for alert in own})
        assert document["first_alert"]["jd"] == min(alert.jd for alert in own)
        for history in ZTF.histories:
            points = document[history.field]
            identities = [history.identity(point) for point in points]
            assert len(identities) == len(set(identities)), "no doubles"
            assert set(identities) == {history.identity(point) for point in before[object_id][history.field]}
            assert all(point["first_jd"] >= point["jd"] for point in points)
            assert len(as_of(document, history, own[-1].jd)) == len(points)

    change(migration, [ZTF], indexes=True)
    assert {document["_id"]: document for document in mongo["ZTF_alerts_aux"].find()} == after, "once is enough"

    worker.process(packets[60:])
    continued = {document["_id"]: document for document in mongo["ZTF_alerts_aux"].find()}
    mongo["ZTF_alerts_aux"].delete_many({})
    mongo["ZTF_alerts"].delete_many({})
    worker.process(packets)
    for whole in mongo["ZTF_alerts_aux"].find():
        found = continued[whole["_id"]]
        assert {key: found[key] for key in ("first_alert", "last_packet", "programids")} == {
            key: whole[key] for key in ("first_alert", "last_packet", "programids")
        }
        for history in ZTF.histories:
            keys = [[history.identity(point) for point in document[history.field]] for document in (found, whole)]
            assert keys[0] == keys[1]


def test_real_objects(mongo: MongoDatabase, test_data: Path) -> None:
    alerts, _ = read_batch(real_packets(test_data), ZTF)
    store_old(mongo, alerts)
    change(Migration(mongo), [ZTF], indexes=True)
    assert list(check(Migration(mongo), [ZTF])) == []
    for document in mongo["ZTF_alerts_aux"].find():
        assert document["first_alert"]["candid"] in {alert.candid for alert in alerts}
        assert len(document["fp_hists"]) == len({point["jd"] for point in document["fp_hists"]})


def test_an_object_without_alerts_keeps_what_it_has(mongo: MongoDatabase) -> None:
    alone = {"_id": "ZTF00alone", "cross_matches": {}, "prv_candidates": [{"jd": 1.0, "fid": 1, "pid": 2}]}
    mongo["ZTF_alerts_aux"].insert_one(alone)
    change(Migration(mongo), [ZTF], indexes=True)
    stored = mongo["ZTF_alerts_aux"].find_one()
    assert stored is not None
    assert stored.pop("version")
    assert stored == alone
    assert list(check(Migration(mongo), [ZTF])) == []


def test_what_only_people_can_do_is_named(mongo: MongoDatabase) -> None:
    version = {"fid": "aaaaaa", "pipeline": PIPELINE}
    good = {"filter_id": 1, "group_id": 1, "catalog": "ZTF_alerts", "active_fid": "aaaaaa", "fv": [version]}
    lookup = json.dumps([{"$lookup": {"from": "users", "as": "x"}}])
    mongo["filters"].insert_many(
        [
            dict(good),
            good | {"group_id": 2},
            good | {"filter_id": 2, "fv": [version | {"pipeline": lookup}]},
            good | {"filter_id": 3, "autosave": {"pipeline": lookup}},
            good | {"filter_id": 4, "active_fid": "zzzzzz"},
        ]
    )
    mongo["skymaps"].insert_many([{"trigger_id": 5}, {"triggerid": 6}])
    hashed = base64.b64encode(bcrypt.hashpw(b"x", bcrypt.gensalt(4))).decode()
    mongo["users"].insert_many([{"_id": "old", "password": hashed}, {"_id": "new", "password": "$2b$12$x"}])
    migration = Migration(mongo)
    lines = "\n".join(check(migration, [ZTF]))
    assert "2 have filter_id 1: keep one" in lines
    assert "filter_id 2, version aaaaaa: pipeline uses forbidden stages: $lookup" in lines
    assert "filter_id 3, autosave: pipeline uses forbidden stages: $lookup" in lines
    assert "filter_id 4, version zzzzzz" in lines
    assert "filter_id 1, " not in lines
    assert "skymaps: 1 have trigger_id" in lines
    assert "users: 1 have passwords hashed as in version 3" in "".join(notes(migration))
    filters = list(mongo["filters"].find())
    change(migration, [ZTF], indexes=False)
    assert list(mongo["filters"].find()) == filters
    assert mongo["skymaps"].count_documents({"triggerid": {"$in": [5, 6]}}) == 2


def test_indexes_of_collections_that_grow_are_built_when_asked_for(mongo: MongoDatabase) -> None:
    """Those that the ledger needs among them, of surveys' collections and of all surveys'."""
    for name in ("ZTF_alerts", "outbox", "quarantine"):
        mongo[name].insert_one({"_id": 1})
    migration = Migration(mongo)
    lacking = {line.split(":")[0]: line for line in check(migration, [ZTF]) if "no index" in line}
    assert lacking.keys() == {"ZTF_alerts", "outbox", "quarantine"}
    assert "kafka_offset" in lacking["ZTF_alerts"]
    assert "kafka_offset" in lacking["outbox"]
    assert "topic_partition_offset" in lacking["quarantine"]
    change(migration, [ZTF], indexes=True)
    assert [line for line in check(migration, [ZTF]) if "no index" in line] == []
    assert "topic_partition_offset" in mongo["quarantine"].index_information()


def test_no_index_is_built_on_a_full_collection_unasked(
    mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_module, "FULL", 10)
    mongo["ZTF_alerts"].insert_many({"candid": number} for number in range(11))
    mongo["ZTF_alerts"].create_index([("candid", 1)], name="mine")
    Alerts(mongo, ZTF).ensure_indexes()
    assert set(mongo["ZTF_alerts"].index_information()) == {"_id_", "mine"}
    assert "migrate --run --indexes" in caplog.text
    change(Migration(mongo), [ZTF], indexes=False)
    assert set(mongo["ZTF_alerts"].index_information()) == {"_id_", "mine"}
    change(Migration(mongo), [ZTF], indexes=True)
    assert {"_id_", "mine", "candid", "objectId"} <= set(mongo["ZTF_alerts"].index_information())
    mongo["small"].insert_one({})
    ensure_indexes(mongo["small"], [Index("a", [("a", 1)])])
    assert "a" in mongo["small"].index_information()


def test_catalogues_get_their_pixels(mongo: MongoDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped half-way it goes on; rows that are no points are left as they are, and said."""
    xmatch = build(settings_tree([], {})).database.xmatch
    rows = [{"_id": number, "coordinates": position(number % 360, number % 90)} for number in range(300)]
    mongo["Gaia_EDR3"].insert_many(rows)
    mongo["NED_BetaV3"].insert_many([*rows, {"_id": 1000, "name": "nowhere"}])
    migration = Migration(mongo)
    to_do = migration.without_pixels(xmatch)
    assert [(name, grid.order) for name, grid in to_do] == [("Gaia_EDR3", 16), ("NED_BetaV3", 9)]
    assert "Gaia_EDR3: its rows have no pixels" in next(slow(to_do))
    mongo["Gaia_EDR3"].update_many({"_id": {"$lt": 100}}, {"$set": {GRIDS[0].field: 1}})
    add_pixels(migration, to_do)
    assert "NED_BetaV3: 1 rows are no points" in capsys.readouterr().out
    assert migration.without_pixels(xmatch) == []
    for name, grid in to_do:
        (expected,) = (row["coordinates"] for row in with_pixels(rows[123:124], [grid]))
        assert mongo[name].find_one({"_id": 123}) == {"_id": 123, "coordinates": expected}
    assert mongo["Gaia_EDR3"].count_documents({GRIDS[0].field: 1}) == 100, "what was done is not done again"
    add_pixels(migration, migration.without_pixels(xmatch))
