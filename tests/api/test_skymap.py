"""Sky maps that nobody should send: refused with a 400 that says why, and nothing of them stored."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from api_harness import Api, start_api

from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

DATE = "2022-06-18T18:31:05.000"
CONE = {"dateobs": DATE, "skymap": {"ra": 90.0, "dec": 30.0, "error": 10.0}, "contours": [90]}
NOTICE = (
    "<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' ivorn='ivo://x#1' role='observation' version='2.0'><Who/>"
    "<What>{params}</What><WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords><Time><TimeInstant><ISOTime>"
    "2023-02-03T04:05:06.789123</ISOTime></TimeInstant></Time><Position2D><Value2><C1>10</C1><C2>5</C2></Value2>"
    "<Error2Radius>1</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen></voe:VOEvent>"
)


@pytest.fixture(scope="module")
def settings(fresh_database: Callable[[], Database]) -> Database:
    return fresh_database()


@pytest.fixture(scope="module")
def stored(settings: Database) -> Iterator[MongoDatabase]:
    database = connect(settings)
    yield database
    database.client.close()


@pytest.fixture(scope="module")
def api(settings: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    running = start_api(tmp_path_factory.mktemp("ugly"), settings, processes=1, skymaps={"hosts": ["127.0.0.1"]})
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def empty(stored: MongoDatabase) -> None:
    stored["skymaps"].delete_many({})


def call(api: Api, method: str, body: Any, path: str = "/api/skymap") -> requests.Response:
    content = json.dumps(body).encode()  # lone surrogates stay as \\ud800
    return requests.request(method, api.url + path, data=content, headers={"Authorization": api.token}, timeout=120)


def cone(**changes: Any) -> dict[str, Any]:
    return CONE | changes


def shape(**given: Any) -> dict[str, Any]:
    return CONE | {"skymap": {"localization_name": "shape", **given}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (cone(triggerid=10**30), "can't be stored"),
        (cone(triggerid="9" * 30), "can't be stored"),
        (cone(triggerid="9" * 5000), "digits"),
        (cone(aliases=["\ud800"]), "can't be stored"),
        (cone(aliases=["x" * 1000 + str(n) for n in range(18_000)]), "can't be stored"),
        (shape(ra=1, dec=1, error=1) | {"contours": "ninety"}, "contours"),
        (CONE | {"skymap": CONE["skymap"] | {"localization_name": "\ud800"}}, "can't be stored"),  # type: ignore[operator]
        (CONE | {"skymap": CONE["skymap"] | {"localization_name": ["x"]}}, "localization_name must be a text"),  # type: ignore[operator]
        (shape(ra="NaN", dec=1, error=1), "0 <= ra <= 360"),
        (shape(ra=1, dec=1, error={}), "Invalid request body: skymap"),
        (shape(ra=1, dec=1, amaj=50, amin=1e-9, phi=0.3), "too narrow"),
        (shape(polygon=[[0, 0], [20, 1000], [20, 1]]), "polygon: corners must be"),
        (shape(polygon=[1, 2, 3]), "Invalid request body: skymap"),
        (shape(polygon={"a": 1}), "Invalid request body: skymap"),
        (shape(content=[1]), "content: a FITS file in base64"),
        (shape(content="U0lNUExF"), "can't be read"),
        (shape(uniq=[10**30], probdensity=[1]), "uniq and probdensity must be lists of numbers"),
        (shape(uniq=[[4]], probdensity=[[1]]), "lists of the same length"),
        (shape(uniq=[4, 16], probdensity=[1, 1]), "cells overlap"),
        (shape(uniq=[16, 17], probdensity=[0, -1]), "nowhere above 0"),
        (shape(url=["https://example.org/"]), "are fetched by https from"),
        ({"voevent": NOTICE.format(params="").replace("observation'", "rumour'")}, "voevent: its role"),
        ({"voevent": "<?xml version='1.0' encoding='foo'?>" + NOTICE.format(params="")}, "unknown encoding"),
        ({"voevent": "<a>" * 3_000_000}, "longer than"),
    ],
)
def test_refused(api: Api, stored: MongoDatabase, body: Any, message: str) -> None:
    answer = call(api, "PUT", body)
    assert (answer.status_code, answer.json()["status"]) == (400, "error"), answer.text
    assert message in answer.json()["message"]
    assert len(answer.text) < 2000
    assert stored["skymaps"].count_documents({}) == 0


@pytest.mark.parametrize("asked", [{"triggerid": 10**30}, {"alias": "\ud800"}, {"dateobs": DATE, "localization_name": "\ud800"}])  # fmt: skip
def test_what_can_not_be_stored_is_not_found(api: Api, asked: dict[str, Any]) -> None:
    for method in ("GET", "DELETE"):
        answer = call(api, method, {"localization_name": "x"} | asked)
        assert (answer.status_code, answer.json()["message"]) == (400, "no skymap found")
    if "triggerid" in asked:
        query = {"catalog": "Stars", "filter": {}, "skymap": {"localization_name": "x", **asked}}
        answer = call(api, "POST", {"query_type": "skymap", "query": query}, "/api/queries")
        assert (answer.status_code, answer.json()["message"]) == (400, "ValueError: Skymap not found")


def test_a_map_has_twenty_contours_at_most(api: Api, stored: MongoDatabase) -> None:
    assert call(api, "PUT", cone(contours=[90 + n / 10 for n in range(15)])).status_code == 200
    answer = call(api, "PUT", cone(contours=[80 + n for n in range(6)]))
    assert (answer.status_code, answer.json()["message"][:35]) == (400, "contours: a sky map has 20 at most,")
    assert call(api, "PUT", cone(contours=[80, 81, 82, 83, 84])).status_code == 200


def test_a_known_map_is_not_read_again(api: Api) -> None:
    assert call(api, "PUT", shape(ra=1, dec=1, error=1)).status_code == 200
    unread = shape(content="nonsense")
    assert call(api, "PUT", unread).status_code == 409
    answer = call(api, "PUT", unread | {"contours": [50]})
    assert (answer.status_code, answer.json()["status"]) == (400, "error")


def test_dates_are_told_as_they_are_stored(api: Api) -> None:
    notice = {"voevent": NOTICE.format(params='<Param name="TrigID" value="12"/>'), "contours": 90}
    told = call(api, "PUT", notice).json()["data"]
    assert told["dateobs"] == "2023-02-03T04:05:06.789000"
    assert call(api, "GET", {"dateobs": told["dateobs"]}).json()["data"]["triggerid"] == 12
    assert call(api, "PUT", notice).status_code == 409


def test_others_are_served_while_maps_are_drawn(api: Api) -> None:
    """A large map's drawing does not hold up the only worker: a short answer overtakes it."""
    cells = 12 * 4**8
    body = shape(uniq=list(range(4 * 4**8, 4 * 4**8 + cells)), probdensity=[(n * 7919) % 1009 for n in range(cells)])
    ended: list[str] = []
    drawing = threading.Thread(target=lambda: (call(api, "PUT", body), ended.append("map")))
    drawing.start()
    while drawing.is_alive() and len(ended) < 5:
        assert requests.get(f"{api.url}/health/live", timeout=30).status_code == 200
        ended.append("live")
    drawing.join()
    assert ended.index("map") >= 5
