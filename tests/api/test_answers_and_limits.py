"""Answers of all forms, many cones at once, and how many queries a user may have."""

import gzip
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import requests
from api_harness import Api, wait_until
from pymongo import MongoClient

from kowalski.alerts.coordinates import position, separation
from kowalski.database.client import MongoDatabase, client_options
from kowalski.settings import Database

LINES = "application/x-ndjson"


def ask(api: Api, body: dict[str, Any], **headers: str) -> requests.Response:
    return requests.post(
        f"{api.url}/api/queries", json=body, headers={"Authorization": api.token, **headers}, timeout=60, stream=True
    )


def lines(answer: requests.Response) -> list[Any]:
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(LINES)
    return [json.loads(line) for line in answer.text.splitlines()]


def test_one_document_a_line(api: Api) -> None:
    find = {"query_type": "find", "query": {"catalog": "ZTF_alerts", "projection": {"_id": 0, "candid": 1}}}
    found = lines(ask(api, find, Accept=LINES))
    assert found == api.data("find", find["query"])  # type: ignore[arg-type]
    assert all(type(row["candid"]) is int for row in found)
    assert lines(ask(api, {"query_type": "count_documents", "query": {"catalog": "ZTF_alerts"}}, Accept=LINES)) == [5]
    cone = {
        "cone_search_radius": 60,
        "cone_search_unit": "arcsec",
        "radec": {"here": [150.0, 2.0], "there": [10.0, 10.0]},
    }
    cones = {
        "query_type": "cone_search",
        "query": {"object_coordinates": cone, "catalogs": {"Stars": {"projection": {"_id": 1}}}},
    }
    rows = lines(ask(api, cones, Accept=LINES))
    assert {(row["catalog"], row["key"]) for row in rows} == {("Stars", "here")}
    nested = api.data("cone_search", cones["query"])  # type: ignore[arg-type]
    assert [row["document"] for row in rows] == nested["Stars"]["here"]
    assert nested["Stars"]["there"] == []
    refused = ask(api, {"query_type": "find", "query": {"catalog": "Stars", "filter": {"$where": "1"}}}, Accept=LINES)
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/json; charset=utf-8")


@pytest.mark.parametrize("accept", ["application/json", LINES])
def test_answers_are_compressed_for_who_accepts_it(api: Api, stored: MongoDatabase, accept: str) -> None:
    stored["Wide"].delete_many({})
    stored["Wide"].insert_many({"_id": number, "text": "kowalski " * 100} for number in range(2000))
    body = {"query_type": "find", "query": {"catalog": "Wide"}}
    plain = ask(api, body, Accept=accept, **{"Accept-Encoding": "identity"}).content
    packed = ask(api, body, Accept=accept, **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    raw = packed.raw.read(decode_content=False)
    assert len(raw) < len(plain) / 10
    assert gzip.decompress(raw) == plain
    refused = ask(api, body, Accept=accept, **{"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers
    assert refused.content == plain
    small = ask(api, {"query_type": "count_documents", "query": {"catalog": "Wide"}}, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


def test_a_thousand_cones_are_as_one_by_one(api: Api, stored: MongoDatabase) -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    stored["Sky"].delete_many({})
    stored["Sky"].create_index([("coordinates.radec_geojson", "2dsphere")])
    stored["Sky"].insert_many(
        {"_id": number, "mag": number % 7, "coordinates": position(a, d)}
        for number, (a, d) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    )
    centres = {
        f"p{number}": [float(a), float(d)]
        for number, (a, d) in enumerate(zip(rng.uniform(0, 360, 996), rng.uniform(-90, 90, 996), strict=True))
    }
    centres |= {"north": [0.0, 90.0], "south": [12.0, -90.0], "zero": [0.0, 0.0], "full": [360.0, 0.0]}
    radius = 3.0
    cone = {"cone_search_radius": radius, "cone_search_unit": "deg", "radec": centres}
    part = {"filter": {"mag": {"$lt": 5}}, "projection": {"_id": 1, "coordinates.radec_geojson": 1}}
    found = api.data("cone_search", {"object_coordinates": cone, "catalogs": {"Sky": part}})["Sky"]
    near = api.data(
        "near",
        {
            "radec": centres,
            "min_distance": 1,
            "max_distance": radius,
            "distance_units": "deg",
            "catalogs": {"Sky": part},
        },
    )["Sky"]
    bright = np.arange(3000) % 7 < 5
    assert list(found) == list(centres) == list(near)
    for key, (a, d) in centres.items():
        distances = separation(a, d, ra, dec)
        for rows, inner in ((found[key], -1.0), (near[key], 1.0)):
            inside = [
                number
                for number in np.argsort(distances).tolist()
                if inner <= distances[number] <= radius and bright[number]
            ]
            assert [row["_id"] for row in rows] == inside
            assert [row["coordinates"]["distance_arcsec"] for row in rows] == pytest.approx(
                [3600 * distances[n] for n in inside]
            )


def test_an_answer_that_is_too_large_breaks_off(
    stored: MongoDatabase, api_settings: Database, another_api: Callable[..., Api]
) -> None:
    stored["Wide"].delete_many({})
    stored["Wide"].insert_many({"_id": number, "text": "x" * 5000} for number in range(1000))
    api = another_api(api_settings, max_answer_size=2_000_000)
    api.wait_ready()
    api.token = api.log_in().json()["token"]
    few = {"query_type": "find", "query": {"catalog": "Wide"}, "kwargs": {"limit": 300}}
    assert len(ask(api, few).json()["data"]) == 300
    for encoding in ("identity", "gzip"):
        with pytest.raises(requests.RequestException):
            ask(api, few | {"kwargs": {}}, **{"Accept-Encoding": encoding}).content  # noqa: B018
    assert "larger than 2000000 bytes" in api.log.read_text()


def test_ids_and_dates_can_be_asked_for(api: Api, stored: MongoDatabase) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001
    stored["Dated"].delete_many({})
    made = stored["Dated"].insert_many([{"at": moment}, {"at": moment + timedelta(days=1)}]).inserted_ids
    assert len(api.data("find", {"catalog": "Dated", "filter": {"_id": {"$oid": str(made[0])}}})) == 1
    assert (
        len(api.data("find", {"catalog": "Dated", "filter": {"at": {"$gt": {"$date": "2024-01-02T12:00:00Z"}}}})) == 1
    )
    pipeline = [{"$match": {"$expr": {"$in": ["$_id", [{"$oid": str(made[1])}]]}}}]
    assert len(api.data("aggregate", {"catalog": "Dated", "pipeline": pipeline})) == 1
    assert "no id or date" in api.refusal("find", {"catalog": "Dated", "filter": {"_id": {"$oid": "x"}}})
    assert "no id or date" in api.refusal("find", {"catalog": "Dated", "filter": {"_id": {"$date": []}}})


def slow_query(rows: int = 1500) -> dict[str, Any]:
    everything = {"$match": {"$expr": {"$gt": [{"$add": ["$_id", "$$mine"]}, -1]}}}
    pairs = {"$lookup": {"from": "Long", "let": {"mine": "$_id"}, "pipeline": [everything], "as": "x"}}
    pipeline = [{"$match": {"_id": {"$lt": rows}}}, pairs, {"$match": {"x.0._id": {"$gte": 0}}}, {"$count": "n"}]
    return {"query_type": "aggregate", "query": {"catalog": "Long", "pipeline": pipeline * 1}}


def test_a_user_has_so_many_queries_at_a_time(
    stored: MongoDatabase, api_settings: Database, another_api: Callable[..., Api]
) -> None:
    """Over all workers; others of the same user wait and are then told to; another user is not concerned."""
    stored["Long"].delete_many({})
    stored["Long"].insert_many({"_id": number} for number in range(3000))
    api = another_api(api_settings, processes=2, queries_per_user=2, query_patience=0.3)
    api.wait_ready()
    api.token = api.log_in().json()["token"]
    api.post("/api/users", {"username": "neighbour", "password": "x"})
    neighbour = api.log_in("neighbour", "x").json()["token"]
    count = {"query_type": "count_documents", "query": {"catalog": "Stars"}}
    answers: list[requests.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(api, slow_query()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    operations = [{"$currentOp": {"allUsers": True}}, {"$match": {"ns": f"{api_settings.db}.Long", "active": True}}]
    with MongoClient(**client_options(api_settings, "admin")) as client:
        wait_until(lambda: len(list(client.admin.aggregate(operations))) >= 2)
    refused = [ask(api, count) for _ in range(4)]
    if all(thread.is_alive() for thread in threads):
        assert [each.status_code for each in refused] == [429] * 4
        assert {each.headers["Retry-After"] for each in refused} <= {"1", "2"}
        assert "2 of your queries are running" in refused[0].json()["message"]
    assert api.post("/api/queries", count, token=neighbour).status_code == 200
    stored["users"].delete_one({"_id": "neighbour"})
    for thread in threads:
        thread.join()
    assert [answer.json()["data"] for answer in answers] == [[{"n": 1500}]] * 2
    assert ask(api, count).status_code == 200
    assert all(ask(api, count).status_code == 200 for _ in range(10)), "places are given back"
