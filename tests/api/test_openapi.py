"""The documentation: true to what the server does, and readable in a browser that reaches nothing else."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from api_harness import Api, start_api
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kowalski.api.routes import ROUTES, Route
from kowalski.settings import Database

#: requests per route; more are made by ``KOWALSKI_FUZZ=200``
EXAMPLES = int(os.environ.get("KOWALSKI_FUZZ", "6"))
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def api(fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that no other test uses, for these leave users, tokens and filters behind."""
    running = start_api(tmp_path_factory.mktemp("openapi"), fresh_database(), processes=2)
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        yield running
    finally:
        running.stop()


DESCRIBED = [route for route in ROUTES if route.method != "HEAD" and route.described]


def plain(path: str) -> str:
    """A path as the document has it."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", path)


@pytest.fixture(scope="module")
def described(api: Api) -> Any:
    """The document as schemathesis takes it."""
    return schemathesis.openapi.from_url(f"{api.url}/docs/api/openapi.json")


@pytest.mark.parametrize("route", DESCRIBED, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_keeps_to_its_description(described: Any, api: Api, route: Route) -> None:
    """Whatever schemathesis makes of a route's description, the answer is as described, and never a fault of the server."""

    @given(case=described[plain(route.path)][route.method].as_strategy())
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def holds(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": api.token}, checks=CHECKS, timeout=60)

    holds()


def test_all_routes_are_described(api: Api) -> None:
    document = requests.get(f"{api.url}/docs/api/openapi.json", timeout=30).json()
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (route.method, re.sub(r"{(\w+):[^}]*}", r"{\1}", route.path)) for route in ROUTES if route.method != "HEAD"
    }
    assert routes - described == {("GET", "/docs/api/"), ("GET", "/docs"), ("GET", "/docs/{path}")}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    assert {"queries", "filters", "users"} <= {tag["name"] for tag in document["tags"]}


def test_the_page_brings_all_that_it_needs(api: Api) -> None:
    for path in ("/docs/api", "/docs/api/"):
        answer = requests.get(api.url + path, timeout=30)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for address in re.findall(r'(?:src|href|spec-url)="([^"]*)"', answer.text):
            assert address.startswith(("/", "data:"))
            if address.startswith("/"):
                assert requests.get(api.url + address, timeout=30).status_code == 200
    assert "ReDoc" in requests.get(f"{api.url}/docs/api/redoc.js", timeout=30).text


def test_a_browser_shows_the_page(api: Api, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    options = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"  # fmt: skip
    command = [chromium, *options.split(), f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", f"{api.url}/docs/api#tag/queries"]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    for tag in ("tag/queries", "tag/filters", "tag/users"):
        assert f'id="{tag}"' in page
    assert "cone_search_radius" in page or "query_type" in page
