"""The lab over a small observed night, and a browser to look at it."""

from collections.abc import Callable, Iterator

import pytest
from api_harness import Api, start_api
from browser import Browser, open_browser
from night import Observed, observe
from visitor import Visitor

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
