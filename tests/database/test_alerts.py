"""The stored alerts: each candid once, for good."""

from typing import Any

import pytest
from bson.int64 import Int64
from packets import JD, ztf_alerts, ztf_record
from pymongo.errors import BulkWriteError

from kowalski.alerts.survey import get_survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.errors import DatabaseError

ZTF = get_survey("ZTF")
LARGE = 2475433850015010009


@pytest.fixture
def alerts(mongo: MongoDatabase) -> Alerts:
    room = Alerts(mongo, ZTF)
    room.ensure_indexes()
    return room


def documents(*candids: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        alert.document | fields for alert in ztf_alerts([ztf_record(candid, f"ZTF{candid % 2}") for candid in candids])
    ]


def test_alerts_are_stored_as_they_are(alerts: Alerts) -> None:
    (document,) = documents(LARGE)
    assert alerts.insert([document]) == set()
    stored = alerts.one(LARGE)
    assert stored == document
    assert list(stored["candidate"]) == list(document["candidate"]), "in the packet's order"


def test_integers_stay_int64(alerts: Alerts, mongo: MongoDatabase) -> None:
    """A candid that became a float would lose its last digits; a small one would be an int32."""
    alerts.insert(documents(LARGE, 5))
    for field in ("candid", "candidate.candid"):
        assert mongo["ZTF_alerts"].count_documents({field: {"$type": "long"}}) == 2
    stored = alerts.one(LARGE)
    assert stored is not None
    assert isinstance(stored["candid"], Int64)
    assert stored["candid"] == stored["candidate"]["candid"] == LARGE


def test_known_candids(alerts: Alerts) -> None:
    first, second = documents(1, 2, classifications={"braai": 0.5})
    alerts.insert([first, second])
    known = alerts.known([1, 3])
    assert set(known) == {1}
    assert (known[1]["_id"], known[1]["classifications"]) == (first["_id"], {"braai": 0.5})
    assert alerts.known([]) == {}


def test_a_known_alert_stays_as_it_is(alerts: Alerts) -> None:
    alerts.insert(documents(1, 2, publisher="first"))
    assert alerts.insert(documents(1, 3, 2, 4, publisher="second")) == {1, 2}
    publishers = {candid: alerts.one(candid)["publisher"] for candid in (1, 2, 3, 4)}  # type: ignore[index]
    assert publishers == {1: "first", 2: "first", 3: "second", 4: "second"}
    assert alerts.insert(documents(1)) == {1}
    assert alerts.insert([]) == set()


def test_an_alert_that_cannot_be_stored_is_an_error_and_the_others_are_in(alerts: Alerts, mongo: MongoDatabase) -> None:
    bad = documents(2)[0]
    bad["coordinates"]["radec_geojson"]["coordinates"] = [500.0, 0.0]  # refused by the index
    with pytest.raises(DatabaseError, match="insert alerts") as caught:
        alerts.insert([*documents(1), bad, *documents(3)])
    assert not caught.value.retriable
    assert not isinstance(caught.value, BulkWriteError)
    assert set(alerts.known([1, 2, 3])) == {1, 3}
    assert len(str(caught.value)) < 1000, "no document in the text"


def test_an_alert_that_is_too_large_is_an_error(alerts: Alerts) -> None:
    (document,) = documents(1)
    with pytest.raises(DatabaseError) as caught:
        alerts.insert([document | {"cutoutScience": {"stampData": bytes(17_000_000)}}])
    assert not caught.value.retriable


def test_earlier_detections_of_objects(alerts: Alerts) -> None:
    records = [ztf_record(n, f"ZTF{n % 2}", jd=JD + n, magpsf=18.0 + n) for n in range(4)]
    alerts.insert([alert.document for alert in ztf_alerts(records)])
    found = alerts.detections(["ZTF0", "ZTF9"])
    assert set(found) == {"ZTF0"}
    assert sorted(found["ZTF0"], key=lambda each: each["jd"]) == [
        {"candid": 0, "jd": JD, "magpsf": 18.0}, {"candid": 2, "jd": JD + 2, "magpsf": 20.0},
    ]  # fmt: skip


def test_the_alerts_of_an_object_are_in_the_order_of_time(alerts: Alerts) -> None:
    records = [ztf_record(n, "ZTF1", jd=JD - n) for n in range(4)]
    alerts.insert([alert.document for alert in ztf_alerts(records)])
    assert [each["candid"] for each in alerts.of_object("ZTF1", {"candid": 1})] == [3, 2, 1, 0]


def test_indexes_are_the_references(alerts: Alerts, mongo: MongoDatabase) -> None:
    """Section 3.2 of the reference, and the ledger's."""
    made = mongo["ZTF_alerts"].index_information()
    assert made.keys() - {"_id_"} == {
        "radec_candid", "radec_objectId", "jd_radec_candid", "jd_radec_objectId", "objectId", "candid", "pid",
        "objectId_pid", "pdiffimfilename", "jd_programid_programpi", "jd_braai_candid", "jd_drb_candid",
        "jd_braai_magpsf_isdiffpos_ndethist", "jd_field_drb_ndethhist_magpsf_isdiffpos_objectId",
        "kafka_offset",
    }  # fmt: skip
    assert made["candid"]["unique"]
    assert made["radec_candid"]["key"] == [("coordinates.radec_geojson", "2dsphere"), ("candid", -1)]


def test_indexes_are_made_where_missing(alerts: Alerts, mongo: MongoDatabase) -> None:
    mongo["ZTF_alerts"].drop_index("pid")
    mongo["ZTF_alerts"].create_index("publisher", name="somebody's own")
    alerts.ensure_indexes()
    assert {"pid", "somebody's own"} <= mongo["ZTF_alerts"].index_information().keys()
