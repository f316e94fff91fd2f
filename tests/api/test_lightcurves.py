"""Pictures of light curves and fits to them, of what the reader may see."""

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from filters_harness import Room, alerts, room, running
from PIL import Image

from kowalski.alerts.document import Alert

__all__ = ["alerts", "room", "running"]

COLOURS = {"g": (27, 138, 63), "r": (214, 39, 40)}


@pytest.fixture
def alert(room: Room, alerts: list[Alert]) -> Alert:
    """That of a supernova, which is public."""
    room.database["fits"].delete_many({})
    return next(each for each in alerts if each.object_id == "ZTF20aajcbhr")


def fit_of(alert: Alert, **changes: Any) -> dict[str, Any]:
    """A fit as the program keeps it."""
    mjd = np.linspace(alert.jd - 2400000.5 - 10, alert.jd - 2400000.5 + 20, 30)
    curve = {"mjd": mjd.tolist(), "bands": {"ztfg": [100.0] * 30, "ztfr": [80.0] * 30}}
    found = {
        "_id": f"ZTF:{alert.object_id}", "survey": "ZTF", "objectId": alert.object_id, "candid": alert.candid, "jd": alert.jd, "model": "salt2",
        "version": "2.4", "z": 0.0085, "z_source": "NED_BetaV3", "t0": 58887.0, "x0": 0.01, "x1": 0.2, "c": 0.1, "chi2": 20.0, "ndof": 17,
        "parameters": ["t0", "x0", "x1", "c"], "covariance": np.eye(4).ravel().tolist(), "mwebv": 0.02, "points": 21, "curve": curve, "reason": None,
        "made_at": datetime(2026, 1, 1, tzinfo=UTC), "rights": {"ZTF": [1]}, "asked": [1], "fitted": [1],
    }  # fmt: skip
    return found | changes


def salt2(room: Room, alert: Alert, who: str = "admin") -> dict[str, Any]:
    return dict(room.good("GET", f"/api/objects/ztf/{alert.object_id}/salt2", who=who)["data"])


def picture(room: Room, alert: Alert, who: str = "admin") -> np.ndarray:
    """The pixels of the picture, shape (ny, nx, 3)."""
    answer = room.call("GET", f"/api/objects/ZTF/{alert.object_id}/lightcurve.png", who=who)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png"), answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def coloured(pixels: np.ndarray, band: str) -> int:
    """How many pixels have about the colour of a band."""
    return int((np.abs(pixels - np.array(COLOURS[band])).max(axis=2) < 12).sum())


def test_a_fit(room: Room, alert: Alert) -> None:
    stored = fit_of(alert)
    room.database["fits"].insert_one(stored)
    found = salt2(room, alert)
    assert found["made_at"] == "2026-01-01T00:00:00+00:00"
    assert found["waiting"] is False
    same = set(found) - {"made_at", "waiting"}
    assert {name: found[name] for name in same} == {name: stored[name] for name in same}
    assert not {"_id", "rights", "asked", "fitted"} & set(found)


def test_no_fit_and_why(room: Room, alert: Alert) -> None:
    assert salt2(room, alert)["reason"].startswith("no fit was asked for")
    room.database["fits"].insert_one({"_id": f"ZTF:{alert.object_id}", "candid": 1, "jd": 2.0, "wanted": {"candid": 1}})
    found = salt2(room, alert)
    assert (found["reason"], found["waiting"], found["candid"]) == ("the fit waits to be made", True, None)
    skipped = fit_of(alert, reason="too few points", curve=None, z=None, covariance=[], parameters=[])
    room.database["fits"].replace_one({}, skipped)
    found = salt2(room, alert)
    assert (found["reason"], found["z"], found["waiting"]) == ("too few points", None, False)
    picture(room, alert)


@pytest.mark.parametrize(
    ("rights", "seen"),
    [
        ({"ZTF": [1]}, {"admin", "member", "public"}),
        ({"ZTF": [1, 2]}, {"admin", "member"}),
        ({"ZTF": [1, 3]}, {"admin"}),
        ({"ZTF": None}, {"admin"}),
        ({"ZTF": [1], "PGIR": []}, {"admin"}),
        ({"ZTF": [1], "LSST": []}, {"admin", "member", "public"}),
        (None, {"admin"}),
    ],
)
def test_who_may_not_see_all_points_sees_no_fit(room: Room, alert: Alert, rights: Any, seen: set[str]) -> None:
    room.database["fits"].insert_one(fit_of(alert, rights=rights))
    for who in ("admin", "member", "public"):
        found = salt2(room, alert, who)
        told = (found["x1"], found["reason"])
        assert told == ((0.2, None) if who in seen else (None, "the fit is made of points that you may not see")), who
        assert (found["curve"] is None) is (who not in seen)


def test_the_picture_shows_points_and_fit(room: Room, alert: Alert) -> None:
    bare = picture(room, alert)
    assert bare.shape == (616, 990, 3)
    assert min(coloured(bare, band) for band in "gr") > 50
    room.database["fits"].insert_one(fit_of(alert, rights={"ZTF": [1, 3]}))
    assert np.array_equal(picture(room, alert, "public"), bare)
    fitted = picture(room, alert)
    assert not np.array_equal(fitted, bare)


def test_the_picture_shows_no_more_than_the_reader_may_see(room: Room, alert: Alert) -> None:
    """Of a light curve whose red points are another programme's he sees the others."""
    own = {"_id": alert.object_id}
    document = room.database["ZTF_alerts_aux"].find_one(own) or {}
    for point in document["prv_candidates"]:
        point["programid"] = 3 if point["fid"] == 2 else 1
    room.database["ZTF_alerts_aux"].replace_one(own, document)
    of_object = {"objectId": alert.object_id}
    room.database["ZTF_alerts"].update_many(of_object | {"candidate.fid": 2}, {"$set": {"candidate.programid": 3}})
    room.database["ZTF_alerts"].update_many(of_object | {"candidate.fid": 1}, {"$set": {"candidate.programid": 1}})
    assert coloured(picture(room, alert), "r") > 50
    public = picture(room, alert, "public")
    assert coloured(public, "r") == 0
    assert coloured(public, "g") > 50


def test_what_is_not_there_or_hidden_is_refused_alike(room: Room, alert: Alert) -> None:
    for collection in ("ZTF_alerts", "ZTF_alerts_aux"):
        room.database[collection].delete_many({"objectId": alert.object_id})
        room.database[collection].delete_many({"_id": alert.object_id})
    room.database["fits"].insert_one(fit_of(alert))
    for path in ("salt2", "lightcurve.png"):
        said = room.refused("GET", f"/api/objects/ztf/{alert.object_id}/{path}", who="public")
        assert said == f"ztf object {alert.object_id} not found"


def test_fits_are_closed_to_queries(room: Room, alert: Alert) -> None:
    query = {"query_type": "find", "query": {"catalog": "fits", "filter": {}}}
    assert "Protected collection" in room.refused("POST", "/api/queries", query, "public")
