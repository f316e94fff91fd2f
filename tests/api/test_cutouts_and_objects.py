"""Cutouts, classifications, objects and surveys of the real packets."""

import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from api_harness import ADMIN, Api, start_api
from archive import ZTF, store_real_alerts
from astropy.io import fits
from bson import json_util
from PIL import Image

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.document import Alert
from kowalski.alerts.pictures import COLOR_MAPS, INTERVALS, STRETCHES
from kowalski.api.services.objects import merge_light_curve
from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database


class Room:
    """An API over the real alerts."""

    def __init__(self, api: Api, database: MongoDatabase, alerts: list[Alert]):
        self.api, self.database, self.alerts = api, database, alerts
        self.tokens = {ADMIN: api.token}

    def call(self, method: str, path: str, body: Any = None, who: str = ADMIN) -> requests.Response:
        headers = {"Authorization": self.tokens[who]}
        return requests.request(method, self.api.url + path, json=body, headers=headers, timeout=60)

    def refused(self, method: str, path: str, body: Any = None, who: str = ADMIN) -> str:
        answer = self.call(method, path, body, who)
        assert (answer.status_code, answer.json()["status"]) == (400, "error"), answer.text
        return str(answer.json()["message"])


@pytest.fixture(scope="module")
def room(
    test_data: Path, fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    settings = fresh_database()
    database = connect(settings)
    alerts = store_real_alerts(database, test_data)
    api = start_api(tmp_path_factory.mktemp("cutouts"), settings)
    try:
        api.wait_ready()
        api.token = api.log_in().json()["token"]
        room = Room(api, database, alerts)
        api.post("/api/users", {"username": "public", "password": "x"})
        room.tokens["public"] = api.log_in("public", "x").json()["token"]
        yield room
    finally:
        api.stop()
        database.client.close()


@pytest.mark.parametrize("role", ["science", "template", "difference"])
def test_fits_files_are_the_packets_own_turned_as_shown(room: Room, role: str) -> None:
    for alert in room.alerts[::9]:
        answer = room.call("GET", f"/api/cutouts/ZTF/{alert.candid}/{role}/fits")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "image/fits"
        stored = alert.document[ZTF.cutouts[role]]
        assert answer.headers["Content-Disposition"] == f"Attachment;filename={stored['fileName'].rsplit('.', 1)[0]}"
        with (
            fits.open(io.BytesIO(answer.content)) as units,
            fits.open(io.BytesIO(gzip.decompress(stored["stampData"]))) as own,
        ):
            assert np.array_equal(units[0].data, np.flipud(own[0].data), equal_nan=True)
            assert units[0].header == own[0].header


def test_pictures(room: Room) -> None:
    path = f"/api/cutouts/ztf/{room.alerts[0].candid}/science/png"
    seen = set()
    for query in ["", *(f"?interval={each}" for each in INTERVALS[1:]), *(f"?stretch={each}" for each in STRETCHES), *(f"?cmap={each}" for each in COLOR_MAPS)]:  # fmt: skip
        answer = room.call("GET", path + query)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        image = Image.open(io.BytesIO(answer.content))
        assert image.size == (168, 168)
        seen.add(image.convert("RGB").tobytes())
    assert len(seen) == 1 + 3 + 3 + 4, "each looks different, and log and bone are what nobody asks for"
    assert room.call("GET", path + "?stretch=unknown").content == room.call("GET", path).content
    difference = path.replace("science", "difference")
    assert room.call("GET", difference).content == room.call("GET", difference + "?stretch=linear").content


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sdss/1/science/png", "survey sdss must be one of [ztf]"),
        ("ztf/1/science/png", "ztf alert 1 not found"),
        ("ztf/one/science/png", "candid: "),
        ("ztf/99999999999999999999/science/png", "candid: "),
        ("ztf/1/scientific/png", "cutout scientific not in ['science', 'template', 'difference']"),
        ("ztf/1/science/jpg", "file format jpg not in ['fits', 'png']"),
    ],
)
def test_wrong_cutouts_are_named(room: Room, path: str, message: str) -> None:
    said = room.refused("GET", f"/api/cutouts/{path}")
    assert re.sub(r"\[.*ztf.*\]", "[ztf]", said).startswith(message)


def test_hidden_alerts_have_no_cutouts(room: Room) -> None:
    for alert in room.alerts[:6]:
        path = f"/api/cutouts/ztf/{alert.candid}/science/png"
        if alert.candidate["programid"] == 1:
            assert room.call("GET", path, who="public").status_code == 200
        else:
            assert room.refused("GET", path, who="public") == f"ztf alert {alert.candid} not found"


def test_a_cutout_that_is_no_image(room: Room) -> None:
    hostile = {**room.alerts[0].document, "candid": 77, "cutoutScience": {"fileName": "x", "stampData": b"GIF89a"}}
    hostile.pop("_id", None)
    room.database[ZTF.alerts].insert_one(hostile)
    try:
        for kind in ("png", "fits"):
            assert "the cutout can't be read" in room.refused("GET", f"/api/cutouts/ztf/77/science/{kind}")
        assert read_stamp(room.alerts[0].document["cutoutTemplate"]["stampData"]).ndim == 2
    finally:
        room.database[ZTF.alerts].delete_one({"candid": 77})


# classifications -----------------------------------------------------------------------------------------------------


def test_labels_of_each_alert_are_its_own(room: Room) -> None:
    first, second = room.alerts[0], room.alerts[3]
    body = {
        str(first.candid): {"human_labels": {"SN": 0.9}, "ml_scores": {"mine": 0.25}},
        str(second.candid): {"human_labels": "bogus, star"},
    }
    answer = room.call("PUT", "/api/classifications/ztf", body, who="public").json()
    assert answer == {"status": "success", "message": "added classifications for ztf alerts"}
    found = room.call("GET", f"/api/classifications/ztf/{first.candid}").json()["data"]
    assert found == {
        "candid": first.candid,
        "objectId": first.object_id,
        "human_labels": {"SN": 0.9},
        "ml_scores": {"mine": 0.25},
    }
    found = room.call("GET", f"/api/classifications/ztf/{second.candid}").json()["data"]
    assert (found["human_labels"], found["ml_scores"]) == ({"bogus": 1.0, "star": 1.0}, {})
    room.call("PUT", "/api/classifications/ztf", {str(first.candid): {"human_labels": ["Ia"]}})
    gone = room.call("DELETE", "/api/classifications/ztf", {str(first.candid): {"human_labels": ["SN"]}, str(second.candid): {"human_labels": ["star"]}})  # fmt: skip
    assert gone.json()["message"] == "deleted classifications for ztf alerts"
    assert room.call("GET", f"/api/classifications/ztf/{first.candid}").json()["data"]["human_labels"] == {"Ia": 1.0}
    assert room.call("GET", f"/api/classifications/ztf/{second.candid}").json()["data"]["human_labels"] == {
        "bogus": 1.0
    }


def test_wrong_labels_are_named(room: Room) -> None:
    candid, hidden = room.alerts[0].candid, next(a.candid for a in room.alerts if a.candidate["programid"] == 2)
    path, label = "/api/classifications/ztf", {"human_labels": ["SN"]}
    nothing = "no classifications provided, must provide at least one of human_labels or ml_scores"
    assert room.refused("PUT", path, {}) == "no candid provided"
    assert room.refused("PUT", path, {str(candid): {}}) == nothing
    assert room.refused("DELETE", path, {str(candid): {"human_labels": []}}) == nothing
    assert room.refused("PUT", path, {"1": label}) == "not all alerts found in ztf collection"
    assert room.refused("PUT", path, {str(hidden): label}, who="public") == "not all alerts found in ztf collection"
    assert room.refused("DELETE", path, {str(hidden): label}) == "not all classifications found in ztf collection"
    assert room.refused("GET", f"{path}/1") == "classifications for ztf alert 1 not found"
    assert "can't be the name" in room.refused("PUT", path, {str(candid): {"human_labels": {"a.b": 1}}})
    assert "is not a number" in room.refused("PUT", path, {str(candid): {"ml_scores": {"a": "b"}}})
    assert "is not a number" in room.refused("PUT", path, {"abc": label})
    assert requests.put(room.api.url + path, json={str(candid): label}, timeout=30).status_code == 401


# objects -------------------------------------------------------------------------------------------------------------


def test_an_object_is_shown_whole(room: Room) -> None:
    for alert in room.alerts[::5]:
        own = [each for each in room.alerts if each.object_id == alert.object_id]
        found = json_util.loads(room.call("GET", f"/api/objects/ztf/{alert.object_id}").text)["data"]
        assert [each["candid"] for each in found["alerts"]] == [each.candid for each in sorted(own, key=lambda a: a.jd)]
        assert found["latest_alert"]["candid"] == max(own, key=lambda a: a.jd).candid
        assert not set(ZTF.cutouts.values()) & found["latest_alert"].keys()
        curve = found["light_curve"]
        assert [point["jd"] for point in curve] == sorted(point["jd"] for point in curve)
        candids = [point["candid"] for point in curve if point["kind"] == "detection"]
        history = {p["candid"] for a in own for p in a.histories["prv_candidates"] if p.get("candid")}
        assert sorted(candids) == sorted(history | {a.candid for a in own})
        assert sum(point["kind"] == "forced" for point in curve) == len(
            {p["jd"] for a in own for p in a.histories["fp_hists"]}
        )
        assert all(point["band"] in ("ztfg", "ztfr", "ztfi") for point in curve)
        assert found["cross_matches"] == {"CLU_20190625": []}
        bright = [p["magpsf"] for p in curve if p["kind"] == "detection" and p["isdiffpos"] in ("t", "1")]
        assert (found["peak"] or {}).get("magpsf") == min(bright, default=None)


def test_an_object_shows_what_its_reader_may_see(room: Room) -> None:
    shown = 0
    for object_id in {alert.object_id for alert in room.alerts}:
        own = [a for a in room.alerts if a.object_id == object_id]
        points = [p for a in own for points in a.histories.values() for p in points if p["programid"] == 1]
        visible = [a for a in own if a.candidate["programid"] == 1]
        if not visible and not points:
            assert (
                room.refused("GET", f"/api/objects/ZTF/{object_id}", who="public")
                == f"ztf object {object_id} not found"
            )
            continue
        shown += 1
        found = room.call("GET", f"/api/objects/ZTF/{object_id}", who="public").json()["data"]
        assert {point["programid"] for point in found["light_curve"]} <= {1}
        assert [each["candid"] for each in found["alerts"]] == [a.candid for a in sorted(visible, key=lambda a: a.jd)]
    assert shown
    assert room.refused("GET", "/api/objects/ztf/ZTF00nothing") == "ztf object ZTF00nothing not found"
    assert merge_light_curve([], {}, ZTF) == []


def test_an_object_says_what_made_its_scores_and_matches(room: Room) -> None:
    """In full; an alert from before that was noted says so, and who does not see all is not told how it was matched."""
    alert = next(each for each in room.alerts if each.candidate["programid"] == 1)
    path, aux = f"/api/objects/ztf/{alert.object_id}", room.database[ZTF.aux]
    latest = max((each for each in room.alerts if each.object_id == alert.object_id), key=lambda each: each.jd)
    assert room.call("GET", path).json()["data"]["provenance"] == {"scores": None, "catalogs": {}}
    networks = {"braai": {"version": "d6_m9", "sha256": "ab" * 32, "inputs": ["triplet"], "features": [], "norms": {}}}
    scores = {"backend": {"name": "onnx", "version": "1.20"}, "kowalski": "4.0.0", "networks": networks}
    room.database["CLU_20190625"].insert_one({"_id": 1})
    key = CatalogVersions(room.database).current(["CLU_20190625"])["CLU_20190625"]
    made_of = {"_id": "m", "kind": "catalogs", "catalogs": {"CLU_20190625": key}, "recipes": {"CLU_20190625": "0"}}
    room.database["provenance"].insert_many([{"_id": "s", "kind": "scores", "survey": "ZTF", **scores}, made_of])
    room.database[ZTF.alerts].update_one({"candid": latest.candid}, {"$set": {"provenance": "s"}})
    aux.update_one({"_id": alert.object_id}, {"$set": {"matched": {"candid": 1, "versions": "m"}}})
    try:
        found = room.call("GET", path).json()["data"]["provenance"]
        assert found["scores"] == scores
        assert found["catalogs"]["CLU_20190625"]["version"] == key
        assert found["catalogs"]["CLU_20190625"]["is"].startswith("unknown, 1 rows as of ")
        assert room.call("GET", path, who="public").json()["data"]["provenance"]["catalogs"] == {}
        query = {"query_type": "find", "query": {"catalog": "provenance", "filter": {"_id": "s"}}}
        assert room.call("POST", "/api/queries", query, who="public").json()["data"][0]["networks"] == networks
    finally:
        room.database[ZTF.alerts].update_one({"candid": latest.candid}, {"$unset": {"provenance": ""}})
        aux.update_one({"_id": alert.object_id}, {"$unset": {"matched": ""}})
        for name in ("provenance", "catalog_versions", "CLU_20190625"):
            room.database[name].drop()


def test_surveys(room: Room) -> None:
    [ztf] = [each for each in room.call("GET", "/api/surveys").json()["data"] if each["name"] == "ZTF"]
    jds = [alert.jd for alert in room.alerts]
    assert (ztf["alerts"], ztf["first_jd"], ztf["last_jd"]) == (len(jds), min(jds), max(jds))
    assert ztf["bands"] == {"1": "ztfg", "2": "ztfr", "3": "ztfi"}
    assert ztf["programids"] is True
    [seen] = [each for each in room.call("GET", "/api/surveys", who="public").json()["data"] if each["name"] == "ZTF"]
    jds = [alert.jd for alert in room.alerts if alert.candidate["programid"] == 1]
    assert (seen["alerts"], seen["first_jd"], seen["last_jd"], seen["programids"]) == (
        len(jds),
        min(jds),
        max(jds),
        [1],
    )
