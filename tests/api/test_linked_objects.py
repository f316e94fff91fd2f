"""Objects of several surveys at one place: one light curve, of what the reader may see."""

from typing import Any

import pytest
from filters_harness import Room, alerts, room, running

from kowalski.alerts.coordinates import position
from kowalski.alerts.document import Alert
from kowalski.database.links import COLLECTION, Link, Links

__all__ = ["alerts", "room", "running"]


@pytest.fixture
def linked(room: Room, alerts: list[Alert]) -> Alert:
    """A public alert of ZTF, with whose object one of PGIR and a vanished one of TURBO are linked."""
    alert = next(each for each in alerts if each.candidate["programid"] == 1)
    for name in ("PGIR_alerts", "PGIR_alerts_aux", COLLECTION):
        room.database[name].delete_many({})
    candidate = {
        "jd": alert.jd + 1,
        "candid": 5,
        "magpsf": 15.0,
        "sigmapsf": 0.1,
        "isdiffpos": "t",
        "ra": alert.ra,
        "dec": alert.dec,
    }
    where = position(alert.ra, alert.dec)
    room.database["PGIR_alerts"].insert_one(
        {"objectId": "PGIR1", "candid": 5, "candidate": candidate, "coordinates": where}
    )
    earlier = {"jd": alert.jd - 400, "candid": 4, "magpsf": 15.5, "sigmapsf": 0.1, "isdiffpos": "t"}
    room.database["PGIR_alerts_aux"].insert_one({"_id": "PGIR1", "prv_candidates": [earlier], "cross_matches": {}})
    links = [Link("ZTF", alert.object_id, "PGIR", "PGIR1", 0.4), Link("TURBO", "None.2", "ZTF", alert.object_id, 0.2)]
    Links(room.database).add(links)
    return alert


def read(room: Room, path: str, who: str = "admin") -> dict[str, Any]:
    return dict(room.good("GET", f"/api/objects/{path}", who=who)["data"])


def test_one_light_curve_of_all_surveys(room: Room, linked: Alert) -> None:
    found = read(room, f"ztf/{linked.object_id}")
    assert found["linked"] == [{"survey": "PGIR", "objectId": "PGIR1", "distance_arcsec": 0.4}]
    curve = found["light_curve"]
    assert [point["jd"] for point in curve] == sorted(point["jd"] for point in curve)
    infrared = [(point["jd"], point["band"], point["magpsf"]) for point in curve if point["survey"] == "PGIR"]
    assert infrared == [(linked.jd - 400, "cspjs", 15.5), (linked.jd + 1, "cspjs", 15.0)]
    assert {point["survey"] for point in curve} == {"ZTF", "PGIR"}
    assert found["latest_alert"]["objectId"] == linked.object_id


def test_the_same_from_the_other_end(room: Room, linked: Alert) -> None:
    found = read(room, "pgir/PGIR1")
    assert [each["objectId"] for each in found["linked"]] == [linked.object_id]
    key = lambda point: (point["jd"], point["kind"], point["survey"])  # noqa: E731
    assert sorted(found["light_curve"], key=key) == sorted(
        read(room, f"ztf/{linked.object_id}")["light_curve"], key=key
    )
    assert (found["peak"]["magpsf"], found["last_detection"]["jd"]) == (15.0, linked.jd + 1)


def test_what_a_reader_may_not_see_is_not_linked(room: Room, linked: Alert) -> None:
    found = read(room, f"ztf/{linked.object_id}", "public")
    assert found["linked"] == []
    assert {point["survey"] for point in found["light_curve"]} == {"ZTF"}
    assert room.refused("GET", "/api/objects/pgir/PGIR1", who="public") == "pgir object PGIR1 not found"
    query = {"query_type": "find", "query": {"catalog": COLLECTION, "filter": {}}}
    assert "Protected collection" in room.refused("POST", "/api/queries", query, "public")
