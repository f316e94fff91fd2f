"""The lab over a small observed night, and a browser to look at it."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_harness import Api, start_api
from browser import Browser, open_browser
from night import HOSTILE, ZTF, Observed, observe
from visitor import MEMBER, STRANGER, Visitor

from kowalski.settings import Database


@pytest.fixture(scope="session")
def observed(fresh_database: Callable[[], Database]) -> Iterator[Observed]:
    """A night as the chain leaves it."""
    night = observe(fresh_database())
    yield night
    night.database.client.close()


@pytest.fixture(scope="session")
def lab(observed: Observed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over that night."""
    running = start_api(tmp_path_factory.mktemp("lab"), observed.settings, trusted_proxies=["127.0.0.0/8"])
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        yield running
    finally:
        running.stop()


@pytest.fixture
def another_lab(observed: Observed, tmp_path: Path) -> Iterator[Callable[[], Api]]:
    """A function that starts another API over that night."""
    started: list[Api] = []

    def start() -> Api:
        started.append(start_api(tmp_path / f"lab{len(started)}", observed.settings))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def one_browser(lab: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests, for it takes a while to start."""
    with open_browser(lab.url, tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """A browser in which nobody is logged in; at its end it must have had no complaint about the pages."""
    one_browser.driver.delete_all_cookies()
    one_browser.size(1280, 900)
    one_browser.complaints()
    yield one_browser
    assert one_browser.complaints() == []


@pytest.fixture
def visitor(lab: Api) -> Iterator[Visitor]:
    """Somebody with an HTTP client, who isn't logged in."""
    with Visitor(lab) as visitor:
        yield visitor


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """The admin with an HTTP client."""
    visitor.log_in()
    return visitor


@pytest.fixture(scope="session")
def users(lab: Api) -> dict[str, str]:
    """One who sees public alerts of ZTF, and one who is in the filters' group as well; name -> password."""
    rights: dict[str, Any] = {
        STRANGER: {"permissions": {"ZTF": [1]}},
        MEMBER: {"permissions": {"ZTF": [1]}, "groups": [1]},
    }
    for name, given in rights.items():
        body = {"username": name, "password": f"{name} has one", "email": f"{name}@example.org"} | given
        assert lab.post("/api/users", body).status_code == 200
    return {name: f"{name} has one" for name in rights}


@pytest.fixture
def member(visitor: Visitor, users: dict[str, str]) -> Visitor:
    """One who sees public alerts of ZTF and is in the filters' group."""
    visitor.log_in(MEMBER, users[MEMBER])
    return visitor


@pytest.fixture(scope="session")
def passed(observed: Observed) -> dict[str, Any]:
    """The newest entry of the outbox for the hostile filter of the public alerts of an object that has several."""
    public = [row["candid"] for row in observed.database[ZTF.alerts].find({"candidate.programid": 1}, {"candid": 1})]
    chosen = {"filter_id": HOSTILE, "candid": {"$in": public}}
    entries = list(observed.database["outbox"].find(chosen, sort=[("candid", -1)]))
    often = Counter(entry["objectId"] for entry in entries).most_common(1)[0][0]
    return next(entry for entry in entries if entry["objectId"] == often)
