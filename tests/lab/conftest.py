"""The lab over a small observed night, and a browser to look at it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from api_harness import ADMIN, PASSWORD, Api, start_api
from browser import Browser, open_browser
from night import Observed, observe

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
def visitor(lab: Api) -> "Iterator[Visitor]":
    """Somebody with an HTTP client, who isn't logged in."""
    with Visitor(lab) as visitor:
        yield visitor


class Visitor(requests.Session):
    """An HTTP client with cookies, that knows how a form's proof is found."""

    def __init__(self, lab: Api):
        super().__init__()
        self.lab = lab

    def page(self, path: str) -> requests.Response:
        """A page, without following where it may lead."""
        return self.get(self.lab.url + path, allow_redirects=False, timeout=30)

    def submit(self, path: str, **fields: str) -> requests.Response:
        """A form, without following where it leads."""
        return self.post(self.lab.url + path, data=fields, allow_redirects=False, timeout=60)

    def proof(self, path: str = "/lab/login") -> str:
        """The proof in a page's form."""
        return self.page(path).text.split('name="proof" value="')[1].split('"')[0]

    def log_in(self, username: str = ADMIN, password: str = PASSWORD, **fields: str) -> requests.Response:
        return self.submit("/lab/login", username=username, password=password, proof=self.proof(), **fields)
