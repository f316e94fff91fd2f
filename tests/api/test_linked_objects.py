"""Objects of several surveys at one place, and one in several documents: one light curve, of what the reader may see."""

from typing import Any

import pytest
from filters_harness import POST, ZTF, Room, alerts, room, running

from kowalski.alerts import parts
from kowalski.alerts.coordinates import position
from kowalski.alerts.document import Alert
from kowalski.alerts.parts import divided
from kowalski.database.links import COLLECTION, Link, Links

__all__ = ["alerts", "room", "running"]

LENGTH = {"$project": {"annotations": {"limits": {"$size": "$prv_candidates"}, "forced": {"$size": "$fp_hists"}}}}


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


def answers(room: Room, alert: Alert) -> list[Any]:
    """What users are told of the object, and of a filter that counts its points."""
    told = [
        room.good("GET", f"/api/objects/ztf/{alert.object_id}", who=who)["data"]
        for who in ("admin", "member", "public")
    ]
    told.append(room.good("POST", "/api/filters/1/explain", {"candid": alert.candid})["data"])
    return told


def test_an_object_in_several_documents(room: Room, alerts: list[Alert], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown as if it were in one, and no more of it than the reader may see."""
    alert = max(alerts, key=lambda alert: sum(map(len, alert.histories.values())))
    whole = room.database[ZTF.aux].find_one(alert.object_id) or {}
    for place, point in enumerate(whole["prv_candidates"]):
        point["programid"] = 1 + place % 3
    room.database[ZTF.aux].replace_one({"_id": alert.object_id}, whole)
    room.good("POST", "/api/filters", POST | {"permissions": [1, 2, 3], "pipeline": [LENGTH]})
    expected = answers(room, alert)
    all_of_it, without_caltech, public = [len(each["light_curve"]) for each in expected[:3]]
    assert all_of_it > without_caltech > public
    monkeypatch.setattr(parts, "LIMIT", 10_000)
    monkeypatch.setattr(parts, "ROOM", 5000)
    own, older = divided(whole, (), ZTF.history_fields)
    assert len(older) > 2
    room.database[ZTF.aux].replace_one({"_id": alert.object_id}, own)
    room.database[ZTF.older].insert_many([*older, older[0] | {"_id": "of a write that came to nothing"}])
    assert answers(room, alert) == expected
    query = {"query_type": "find", "query": {"catalog": ZTF.older, "filter": {"_id": {"$in": own["older"]}}}}
    for who, programmes in (("public", {1}), ("member", {1, 2}), ("admin", {1, 2, 3})):
        seen = room.good("POST", "/api/queries", query, who)["data"]
        assert {point["programid"] for part in seen for point in part.get("prv_candidates", ())} == programmes
        assert any("first_jd" in point for part in seen for point in part.get("prv_candidates", ())) is (who == "admin")
