"""Sky maps over the API, and queries for what lies within them."""

import base64
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import requests
from api_harness import ADMIN, PASSWORD, Api, start_api
from astropy.io import fits
from penquins import Kowalski

from kowalski.alerts.coordinates import position
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database
from kowalski.skymaps.localization import from_cone

DATE = "2022-06-18T18:31:05.000"
CONE = {"dateobs": DATE, "skymap": {"ra": 90.0, "dec": 30.0, "error": 10.0}, "contours": [90, 95]}
NAME = "90.00000_30.00000_10.00000"
VOEVENT = """<?xml version="1.0"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" ivorn="ivo://nasa.gsfc.gcn/{ivorn}" version="2.0" role="observation">
<Who><Date>2023-01-01T00:00:00</Date></Who><What>{params}</What>
<WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords><Time><TimeInstant><ISOTime>2023-02-03T04:05:06.7</ISOTime></TimeInstant></Time>
<Position2D><Value2><C1>{ra}</C1><C2>{dec}</C2></Value2><Error2Radius>{error}</Error2Radius></Position2D>
</AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen></voe:VOEvent>"""


def sky_map() -> bytes:
    localization = from_cone(200, -10, 5)
    columns = [
        fits.Column("UNIQ", "K", array=localization.uniq),
        fits.Column("PROBDENSITY", "D", array=localization.density),
    ]
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(file)
    return file.getvalue()


class Observatory(BaseHTTPRequestHandler):
    """Serves a sky map, and ways to elsewhere."""

    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.2:1/secret")
            self.end_headers()
            return
        found = self.path == "/bayestar.fits"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(sky_map() if found else b"")

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def observatory() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Observatory)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def stocked(fresh_database: Callable[[], Database]) -> Iterator[tuple[Database, MongoDatabase]]:
    """20 rows within the cone and 20 far from it."""
    settings = fresh_database()
    database = connect(settings)
    database["Stars"].insert_many(
        {"_id": n, "near": True, "coordinates": position(90.0 + n / 10, 30.0 - n / 10)} for n in range(20)
    )
    database["Stars"].insert_many(
        {"_id": 100 + n, "near": False, "coordinates": position(270.0 + n, -30.0)} for n in range(20)
    )
    database["Stars"].create_index([("coordinates.radec_geojson", "2dsphere")])
    yield settings, database
    database.client.close()


@pytest.fixture(scope="module")
def api(stocked: tuple[Database, MongoDatabase], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    running = start_api(tmp_path_factory.mktemp("skymaps"), stocked[0], processes=2, skymaps={"hosts": ["127.0.0.1"]})
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def empty(stocked: tuple[Database, MongoDatabase]) -> None:
    stocked[1]["skymaps"].delete_many({})


def call(api: Api, method: str, body: Any = None, params: Any = None) -> requests.Response:
    headers = {"Authorization": api.token}
    return requests.request(method, f"{api.url}/api/skymap", json=body, params=params, headers=headers, timeout=60)


def test_a_cone_from_first_to_last(api: Api, stocked: tuple[Database, MongoDatabase]) -> None:
    added = call(api, "PUT", CONE)
    assert added.status_code == 200, added.text
    assert added.json()["message"] == "added skymap for 2022-06-18 18:31:05 with contours [90, 95]"
    assert added.json()["data"] == {"dateobs": "2022-06-18T18:31:05", "localization_name": NAME, "contours": [90, 95]}
    again = call(api, "PUT", CONE | {"contours": 90})
    assert again.status_code == 409
    assert again.json() == {
        "status": "already_exists",
        "message": "skymap already exists with the same contours",
        "data": added.json()["data"],
    }
    more = call(api, "PUT", CONE | {"contours": "95, 99.5"}).json()
    assert more["message"] == "updated skymap for 2022-06-18 18:31:05 to add contours [99.5]"
    stored = stocked[1]["skymaps"].find_one()
    assert stored is not None
    assert stored["contours"].keys() == {"center", "contour90", "contour95", "contour99.5"}
    assert stocked[1]["skymaps"].count_documents({}) == 1
    found = call(api, "GET", params={"dateobs": DATE, "localization_name": NAME, "contours": "90,95"})
    assert found.json()["data"]["dateobs"] == "2022-06-18T18:31:05"
    assert found.json()["data"].keys() == {"dateobs", "localization_name", "aliases", "contours"}
    listed = call(api, "GET", params={"dateobs": DATE, "contours": [90, 20]}).json()
    assert listed["message"] == "skymap exists but is missing contours [20]"
    assert call(api, "HEAD", params={"dateobs": DATE}).status_code == 200
    missing = call(api, "GET", params={"dateobs": DATE, "contours": 20}).json()
    assert missing == {"status": "error", "message": "skymap exists but is missing contours [20]"}
    assert call(api, "DELETE", {"dateobs": DATE}).json()["message"] == "must provide localization_name"
    assert call(api, "DELETE", {"dateobs": DATE, "localization_name": NAME}).json()["message"] == "deleted 1 skymap"
    assert call(api, "GET", params={"dateobs": DATE}).json()["message"] == "no skymap found"
    assert call(api, "GET").json()["message"] == "must provide dateobs, triggerid, or alias"


def test_as_penquins_does(api: Api) -> None:
    client = Kowalski(username=ADMIN, password=PASSWORD, protocol="http", host="127.0.0.1", port=api.port, timeout=60)
    assert client.api("put", "api/skymap", CONE | {"aliases": ["FERMI#bn220618772"]})["status"] == "success"
    assert client.api("get", "api/skymap", {"dateobs": DATE, "localization_name": NAME})["status"] == "success"

    def query(**skymap: Any) -> Any:
        asked = {
            "skymap": {"localization_name": NAME, **skymap},
            "catalog": "Stars",
            "filter": {},
            "projection": {"_id": 1, "near": 1},
        }
        return client.query(query={"query_type": "skymap", "query": asked})["default"]

    found = query(dateobs=DATE, contour=90)
    assert found["message"] == "Successfully executed query"
    assert len(found["data"]) == 20
    assert all(row["near"] for row in found["data"])
    assert len(query(aliases=["FERMI#bn220618772"])["data"]) == 20
    assert query(dateobs=DATE, contour=20) == {
        "status": "error",
        "message": "ValueError: Contour level 20 not found in skymap",
    }
    assert query(dateobs="2020-01-01T00:00:00")["message"] == "ValueError: Skymap not found"
    assert "At least one of dateobs, trigger_id, skymap_name, aliases must be specified" in query()["message"]
    asked = {"skymap": {"dateobs": DATE}, "catalog": "Stars", "filter": {}}
    assert (
        "name must be specified" in client.query(query={"query_type": "skymap", "query": asked})["default"]["message"]
    )
    limited = {"query_type": "skymap", "query": {"skymap": {"localization_name": NAME, "dateobs": DATE}, "catalog": "Stars", "filter": {"_id": {"$gt": 3}}}, "kwargs": {"limit": 2, "skip": 1, "sort": [["_id", 1]]}}  # fmt: skip
    assert [row["_id"] for row in client.query(query=limited)["default"]["data"]] == [5, 6]
    assert client.api("delete", "api/skymap", {"dateobs": DATE, "localization_name": NAME})["status"] == "success"


def test_maps_of_all_kinds(api: Api, observatory: str) -> None:
    localization = from_cone(10, 10, 1)
    kinds: list[dict[str, Any]] = [
        {
            "localization_name": "cells",
            "uniq": localization.uniq.tolist(),
            "probdensity": localization.density.tolist(),
        },
        {"localization_name": "file", "content": base64.b64encode(sky_map()).decode()},
        {"localization_name": "polygon", "polygon": [[350, -5], [10, -5], [10, 5], [350, 5]]},
        {"localization_name": "ellipse", "ra": 10.0, "dec": 20.0, "amaj": 5, "amin": 2, "phi": 30},
        {"url": f"{observatory}/bayestar.fits"},
    ]
    for kind in kinds:
        answer = call(api, "PUT", {"dateobs": DATE, "contours": [50], "skymap": kind})
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["localization_name"] == kind.get("localization_name", "bayestar.fits")


def test_notices(api: Api, observatory: str, stocked: tuple[Database, MongoDatabase]) -> None:
    fermi = VOEVENT.format(ivorn="Fermi#1", ra=10, dec=0, error=5, params='<Param name="TrigID" value="683571622"/><Param name="GEO_RA" value="40"/><Param name="GEO_DEC" value="0"/><Param name="GEO_RAD" value="30"/>')  # fmt: skip
    told = call(api, "PUT", {"voevent": fermi, "contours": [90]})
    assert told.status_code == 200, told.text
    stored = stocked[1]["skymaps"].find_one({"triggerid": 683571622})
    assert stored is not None
    assert stored["aliases"] == ["FERMI#683571622"]
    corners = np.array([corner for polygon in stored["contours"]["contour90"]["coordinates"] for corner in polygon[0]])
    assert (corners[:, 0] + 180).max() > 300, "the cone reaches over ra 0"
    assert np.sort(corners[:, 0][corners[:, 0] < 0])[-1] + 180 < 13, "nothing where the Earth was"
    assert call(api, "GET", params={"triggerid": "683571622"}).status_code == 200
    lvc = VOEVENT.format(ivorn="LVC#S1", ra=0, dec=0, error=0, params=f'<Param name="GraceID" value="S1"/><Param name="skymap_fits" value="{observatory}/bayestar.fits"/>')  # fmt: skip
    assert call(api, "PUT", {"voevent": lvc, "contours": [90]}).json()["data"]["localization_name"] == "bayestar.fits"
    assert call(api, "GET", params={"alias": "LVC#S1"}).status_code == 200


def test_one_map_of_many_at_once(api: Api, stocked: tuple[Database, MongoDatabase]) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(api, "PUT", CONE), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert stocked[1]["skymaps"].count_documents({}) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Invalid request body: either voevent or skymap is expected"),
        ({"skymap": {"ra": 1, "dec": 1, "error": 1}}, "Invalid request body: dateobs is missing"),
        (CONE | {"dateobs": "yesterday"}, "dateobs must be in the format YYYY-MM-DDTHH:MM:SS"),
        (CONE | {"contours": [0]}, "between 0 and 100"),
        (CONE | {"skymap": {"localization_name": "x"}}, "Invalid request body: skymap must have url"),
        (CONE | {"skymap": {"ra": 400, "dec": 0, "error": 1}}, "0 <= ra <= 360"),
        (CONE | {"skymap": {"localization_name": "x", "content": "AAAA"}}, "can't be read"),
        (CONE | {"skymap": {"url": "https://example.org/x.fits"}}, "sky maps are fetched by https from"),
        (CONE | {"skymap": {"url": "file:///etc/passwd"}}, "sky maps are fetched by https from"),
        (CONE | {"skymap": {"url": "http://127.0.0.1@example.org/"}}, "sky maps are fetched by https from"),
        ({"voevent": "<a/>"}, "not a VOEvent of version 2.0"),
        ({"voevent": "/etc/passwd"}, "not a document that can be read"),
        (
            {"voevent": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'},
            "not a document that can be read",
        ),
    ],
)
def test_what_is_wrong_is_named(api: Api, body: Any, message: str) -> None:
    answer = call(api, "PUT", body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_nothing_is_fetched_from_elsewhere(api: Api, observatory: str) -> None:
    for path, message in {"/elsewhere": "sky maps are fetched by https from", "/none": "says 404"}.items():
        answer = call(api, "PUT", CONE | {"skymap": {"url": observatory + path}})
        assert answer.status_code == 400
        assert message in answer.json()["message"]


def test_a_large_body_is_taken(api: Api) -> None:
    answer = call(api, "PUT", CONE | {"comment": "x" * 3_000_000})
    assert answer.status_code == 200
    refused = requests.post(
        f"{api.url}/api/queries", json={"x": "y" * 3_000_000}, headers={"Authorization": api.token}, timeout=60
    )
    assert refused.status_code == 413
