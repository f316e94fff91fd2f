"""Whatever goes wrong, the answer is JSON with a message."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from api_harness import Api

from kowalski.api.errors import errors_as_json
from kowalski.database.client import MongoDatabase
from kowalski.nesting import LEVELS
from kowalski.settings import Database


def _is_error(answer: requests.Response, status: int, message: str | None = None) -> None:
    assert answer.headers["Content-Type"].startswith("application/json")
    content = answer.json()
    assert content.keys() == {"status", "message"}
    assert (answer.status_code, content["status"]) == (status, "error")
    assert message is None or content["message"] == message


def test_unknown_paths_and_methods(api: Api) -> None:
    _is_error(api.get("/nowhere"), 404, "Not Found")
    _is_error(api.get("/api/queries/"), 404, "Not Found")
    answer = requests.put(f"{api.url}/api/queries", timeout=30)
    _is_error(answer, 405, "Method Not Allowed")
    assert answer.headers["Allow"] == "POST"
    assert requests.head(api.url, timeout=30).status_code == 405


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"nope", b"[" * 200_000, b'{"a":' * 100_000, b'"text"', b"[]", b"null", b"3"]
)
def test_bodies_that_are_no_json_object(api: Api, body: bytes) -> None:
    for path in ("/api/auth", "/api/queries"):
        answer = requests.post(api.url + path, data=body, headers={"Authorization": api.token}, timeout=30)
        _is_error(answer, 400)
        assert answer.json()["message"].startswith("the body ")


@pytest.mark.parametrize("levels", [LEVELS, 250, 480, 900])
def test_bodies_that_are_nested_too_deep(api: Api, levels: int) -> None:
    """Their ``x`` has that many levels, and they two or three more."""
    deep = "[" * levels + "]" * levels
    follow_up = (
        '{"filter_id": 77, "group_id": 1, "catalog": "ZTF_alerts", "permissions": [1], "pipeline": [{"$match": {"candid": 1}}],'
        ' "autosave": true, "auto_followup": {"active": true, "allocation_id": 1, "payload": {"x": %s}}}'
    )
    query = '{"query_type": "find", "query": {"catalog": "Stars", "filter": {"x": %s}}}'
    headers = {"Authorization": api.token}
    for path, body in (("/api/filters", follow_up), ("/api/queries", query), ("/api/export", query)):
        answer = requests.post(api.url + path, data=body % deep, headers=headers, timeout=30)
        _is_error(answer, 400, f"the body is nested deeper than {LEVELS} levels")
    few = "[" * (LEVELS - 3) + "]" * (LEVELS - 3)
    answer = requests.post(f"{api.url}/api/queries", data=query % few, headers=headers, timeout=30)
    assert "the query is nested deeper than 100 levels" in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query_type": None},
        {"query_type": 7, "query": {}},
        {"query_type": {}, "query": {}},
        {"query_type": "drop", "query": {"catalog": "Stars"}},
        {"query_type": "find"},
        {"query_type": "find", "query": None},
        {"query_type": "find", "query": []},
        {"query_type": "find", "query": {"catalog": ""}},
        {"query_type": "find", "query": {"catalog": "   "}},
        {"query_type": "find", "query": {"catalog": 7}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": []},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"skip": 2**70}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"hint": {"a": {}}}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"sort": [[]]}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"sort": [["a", {}]]}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"max_time_ms": 1e400}},
        {"query_type": "aggregate", "query": {"catalog": "Stars", "pipeline": "-" * 50_000 + "1"}},
        {"query_type": "aggregate", "query": {"catalog": "Stars", "pipeline": [{}]}},
        {"query_type": "aggregate", "query": {"catalog": "Stars", "pipeline": [{"$unionWith": "ZTF_alerts"}, {"$match": [{"$expr": {"$abs": "$a"}}]}]}},
        {"query_type": "aggregate", "query": {"catalog": "Stars", "pipeline": [{"$unionWith": "ZTF_alerts"}, {"$match": {"$and": [{"$expr": {"$abs": "$a"}}, 3]}}]}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"limit": 2**70}},
        {"query_type": "find", "query": {"catalog": "Stars"}, "kwargs": {"limit": 1.5}},
        {"query_type": "aggregate", "query": {"catalog": "Stars", "pipeline": [{"$match": {"$and": 3}}]}},
        {"query_type": "cone_search", "query": {}},
        {"query_type": "cone_search", "query": {"object_coordinates": {"cone_search_radius": 1, "cone_search_unit": "rad", "radec": [[1, 2]]}, "catalogs": {}}},
        {"query_type": "near", "query": {"radec": [[1, 2]], "min_distance": -1, "catalogs": {"Stars": {}}}},
        {"query_type": "near", "query": {"radec": [[1, 2]], "max_distance": 1e300, "catalogs": {"Stars": {"filter": {"coordinates.radec_geojson": {"$near": 1}}}}}},
        {"query_type": "info", "query": {"command": []}},
        {"query_type": "info", "query": {"command": "catalog_info", "catalog": "a\0"}},
        {"query_type": "info", "query": {"command": "index_info", "catalog": "$x"}},
        {"query_type": "estimated_document_count", "query": {"catalog": ".x"}},
    ],
)  # fmt: skip
def test_odd_requests_are_the_clients_fault(api: Api, body: dict[str, Any]) -> None:
    data = json.dumps(body)
    answer = requests.post(f"{api.url}/api/queries", data=data, headers={"Authorization": api.token}, timeout=30)
    _is_error(answer, 400)


def test_nothing_of_that_was_the_servers_fault(api: Api) -> None:
    assert "Traceback" not in api.log.read_text()


def test_a_body_has_a_limit(
    api: Api, stored: MongoDatabase, api_settings: Database, another_api: Callable[..., Api]
) -> None:
    _is_error(api.post("/api/queries", {"x": "y" * 1_100_000}), 413, "the body is larger than 1048576 bytes")
    small = another_api(api_settings, client_max_size=1000)
    small.wait_ready()
    _is_error(small.post("/api/auth", {"x": "y" * 2000}), 413, "the body is larger than 1000 bytes")


def test_health_needs_no_token(api: Api) -> None:
    for probe in ("live", "ready"):
        answer = requests.get(f"{api.url}/health/{probe}", timeout=30)
        assert (answer.status_code, answer.json()) == (200, {"status": "success", "message": probe})


@pytest.mark.parametrize(("there", "status", "lines"), [(True, 500, 1), (False, 400, 0)])
async def test_a_lost_connection_is_the_clients_only_if_it_is(
    there: bool, status: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that refuses us is an error of ours, which the log has; a client that went away is none."""
    request = make_mocked_request("GET", "/api/triggers/ztf")
    assert request.transport is not None
    request.transport.is_closing.return_value = not there  # type: ignore[attr-defined]

    async def handler(_: web.Request) -> web.StreamResponse:
        raise ConnectionRefusedError("nobody listens")

    answer = await errors_as_json(request, handler)
    assert answer.status == status
    assert len([each for each in caplog.records if "GET /api/triggers/ztf failed" in each.message]) == lines
