"""The client that everybody uses, as it is published."""

from collections.abc import Callable, Iterator

import pytest
from api_harness import ADMIN, PASSWORD, Api
from penquins import Kowalski

from kowalski.database.client import MongoDatabase
from kowalski.settings import Database


@pytest.fixture
def kowalski(api: Api) -> Iterator[Kowalski]:
    with Kowalski(username=ADMIN, password=PASSWORD, protocol="http", host="127.0.0.1", port=api.port) as client:
        yield client


def _find(candid: int) -> dict[str, object]:
    query = {"catalog": "ZTF_alerts", "filter": {"candid": candid}, "projection": {"_id": 0, "candid": 1}}
    return {"query_type": "find", "query": query}


def test_log_in_and_ping(kowalski: Kowalski) -> None:
    assert kowalski.ping()
    assert "ZTF_alerts" in kowalski.instances["default"]["catalogs"]


def test_a_token_is_enough(api: Api) -> None:
    client = Kowalski(token=api.token, protocol="http", host="127.0.0.1", port=api.port)
    assert client.ping()


def test_a_wrong_password_is_told(api: Api) -> None:
    with pytest.raises(ValueError, match="Unauthorized"):
        Kowalski(username=ADMIN, password="wrong", protocol="http", host="127.0.0.1", port=api.port)


def test_every_query_type(kowalski: Kowalski) -> None:
    candid = 2_475_433_850_315_015_008
    cone = {"cone_search_radius": 2, "cone_search_unit": "arcsec", "radec": {"here": [150, 2]}}
    near = {"radec": {"here": [150, 2]}, "max_distance": 2, "distance_units": "arcsec"}
    stars = {"catalogs": {"Stars": {"filter": {}, "projection": {"_id": 1}}}}
    alerts = {"catalog": "ZTF_alerts", "filter": {"candid": candid}}
    expected = {
        "find_one": ({**alerts, "projection": {"_id": 0, "objectId": 1}}, {"objectId": "ZTF23aaaaaaa"}),
        "count_documents": (alerts, 1),
        "estimated_document_count": ({"catalog": "ZTF_alerts"}, 5),
        "aggregate": (
            {"catalog": "ZTF_alerts", "pipeline": [{"$match": {"candid": candid}}, {"$count": "n"}]},
            [{"n": 1}],
        ),
        "cone_search": ({"object_coordinates": cone, **stars}, {"Stars": {"here": [{"_id": 3}]}}),
        "near": ({**near, **stars}, {"Stars": {"here": [{"_id": 3}]}}),
    }
    for query_type, (query, data) in expected.items():
        answer = kowalski.query(query={"query_type": query_type, "query": query, "kwargs": {"save": True}})["default"]
        assert answer["status"] == "success", answer
        assert answer["data"] == data
    assert kowalski.query(query=_find(candid))["default"]["data"] == [{"candid": candid}]
    info = {"query_type": "info", "query": {"command": "db_info"}}
    assert kowalski.query(query=info)["default"]["data"]["collections"] > 3


def test_errors_reach_the_caller(kowalski: Kowalski) -> None:
    query = {"query_type": "find", "query": {"catalog": "Stars", "filter": {"$where": "1"}}}
    answer = kowalski.query(query=query)["default"]
    assert answer == {"status": "error", "message": "Query uses forbidden operators: $where"}


def test_batches(kowalski: Kowalski) -> None:
    candids = [2_475_433_850_315_015_008 + number for number in range(5)]
    answers = kowalski.query(queries=[_find(candid) for candid in candids * 4], use_batch_query=True, max_n_threads=4)
    assert sorted(answer["data"][0]["candid"] for answer in answers["default"]) == sorted(candids * 4)


def test_two_instances(
    api: Api, stored: MongoDatabase, api_settings: Database, another_api: Callable[..., Api]
) -> None:
    second = another_api(api_settings)
    second.wait_ready()
    login = {"username": ADMIN, "password": PASSWORD, "protocol": "http", "host": "127.0.0.1"}
    client = Kowalski(instances={"one": {**login, "port": api.port}, "two": {**login, "port": second.port}})
    cone = {"cone_search_radius": 2, "cone_search_unit": "arcsec", "radec": {"here": [150, 2]}}
    query = {"query_type": "cone_search", "query": {"object_coordinates": cone, "catalogs": {"Stars": {}, "Pole": {}}}}
    answers = client.query(query=query)
    assert {catalog for answer in answers.values() for catalog in answer["data"]} == {"Stars", "Pole"}
    with pytest.raises(ValueError, match="duplicate"):
        client.add("three", {**login, "port": api.port})


def test_its_api_method(kowalski: Kowalski) -> None:
    assert kowalski.api("get", "/")["message"] == "greetings from Kowalski!"
    assert kowalski.api("post", "api/queries", {"query_type": "nix"})["status"] == "error"
