"""The documentation becomes a site of its own files: nothing of others, nothing inside pages that a strict policy forbids, and a browser shows it."""

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from aiohttp import web

from kowalski.api.handlers import site as handler
from kowalski.documentation.pages import DOCS
from kowalski.documentation.site import build_site, extract_inline, fetched_from_elsewhere, is_current
from kowalski.errors import LocalError

#: s that a browser has for a page
PATIENCE = 60


def test_every_page_is_built(site: Path) -> None:
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert pages
    assert {path.stem for path in site.glob("*.html")} >= pages
    assert is_current(site)


def test_nothing_is_fetched_from_elsewhere(site: Path, tmp_path: Path) -> None:
    assert list(fetched_from_elsewhere(site)) == []
    (tmp_path / "page.html").write_text(
        '<link rel="stylesheet" href="https://a.example/x.css"><script src=//b.example/x.js></script><img alt="" src="http://c.example/x.png">'
        '<a href="https://fine.example">link</a>'
    )
    (tmp_path / "x.css").write_text('@import "https://d.example/x.css"; a {background: url(https://e.example/x.png)}')
    found = [re.search(r"(\w)\.example", each)[1] for each in fetched_from_elsewhere(tmp_path)]  # type: ignore[index]
    assert found == ["a", "b", "c", "d", "e"]


def test_nothing_stands_inside_a_page_that_the_policy_forbids(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert (
            re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style\b|<[a-z][^<>]*\s(?:style|on[a-z]+)=\"|javascript:", text)
            == []
        ), page


def test_what_is_taken_out_of_a_page_stands_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "page.html").write_text(
        '<head><style>p {color: red}</style></head><script>one()</script><p style="opacity: 50%">text</p>'
    )
    extract_inline(tmp_path)
    text = (tmp_path / "deep" / "page.html").read_text()
    named = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert [(tmp_path / "deep" / name).read_text() for name in named[:1] + named[2:]] == ["p {color: red}", "one()"]
    mark = re.search(r'<p data-style="(\w+)">', text)
    assert mark is not None
    assert (tmp_path / "deep" / named[1]).read_text() == f'[data-style="{mark[1]}"] {{opacity: 50%}}'


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    """Sphinx looks at those of Markdown; these are what browsers get."""
    ids = {page.name: set(re.findall(r'\bid="([^"]+)"', page.read_text())) for page in site.glob("*.html")}
    broken = []
    for page in site.glob("*.html"):
        for link in re.findall(r'<a [^>]*href="([^"]+)"', page.read_text()):
            address = urlparse(link)
            if address.scheme or address.netloc or link.startswith("/"):
                continue
            target = address.path or page.name
            if not (site / target).is_file() or (
                address.fragment and target in ids and address.fragment not in ids[target]
            ):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_a_warning_stops_the_build_with_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    shutil.copy(DOCS / "conf.py", pages)
    text = (pages / "conf.py").read_text().replace(', "kowalski.documentation.extension"', "")
    (pages / "conf.py").write_text(
        text.replace("ROOT = Path(__file__).resolve().parent.parent", f"ROOT = Path({str(DOCS.parent)!r})")
    )
    (pages / "index.md").write_text("# A page\n\n[nowhere](absent.md#x)\n")
    monkeypatch.setattr("kowalski.documentation.site.DOCS", pages)
    monkeypatch.setattr("kowalski.documentation.site.sources", list)
    old = tmp_path / "site"
    old.mkdir()
    with pytest.raises(LocalError, match=r"index\.md:3: WARNING"):
        build_site(old)
    assert [path.name for path in tmp_path.iterdir() if path.name != "docs"] == ["site"]


# a browser


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site as the API serves it."""
    loop = asyncio.new_event_loop()
    started: Any = threading.Event()
    port: list[int] = []
    app = web.Application()
    runner = web.AppRunner(app)

    async def start() -> None:
        app.router.add_get("/docs", handler.begin)
        app.router.add_get("/docs/{path:.*}", handler.page)
        await runner.setup()
        await (served := web.TCPSite(runner, "127.0.0.1", 0)).start()
        assert served._server is not None
        port.append(served._server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
        started.set()

    before, handler.FOLDER = handler.FOLDER, site
    loop.create_task(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started.wait()
    yield f"http://127.0.0.1:{port[0]}/docs"
    handler.FOLDER = before
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window, which keeps what pages complain of."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium with its driver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    folder = tmp_path_factory.mktemp("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000", f"--user-data-dir={folder}"):  # fmt: skip
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    made.set_page_load_timeout(PATIENCE)
    yield made
    made.quit()


def complaints(browser: Any) -> list[str]:
    """What pages complained of since the last time; a missing icon is none."""
    return [each["message"] for each in browser.get_log("browser") if "favicon" not in each["message"]]


def test_a_browser_shows_it_without_a_complaint_and_asks_nobody_else(browser: Any, address: str) -> None:
    for page in ("", "/settings.html", "/gallery.html", "/api.html"):
        browser.get(address + page)
        assert browser.find_element("tag name", "h1").text.rstrip("#")
        assert browser.execute_script("return document.body.dataset.theme") == "auto"
    assert complaints(browser) == []
    asked = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    addresses = [urlparse(each["params"]["request"]["url"]) for each in asked if each["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert {each.netloc for each in addresses if each.scheme.startswith("http")} == {urlparse(address).netloc}


def test_search_finds_a_setting(browser: Any, address: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}/search.html?q=longest_drain_hours")
    found = WebDriverWait(browser, PATIENCE).until(
        lambda driver: [each.text for each in driver.find_elements("css selector", "#search-results li a")]
    )
    assert "Settings" in found
    assert complaints(browser) == []
