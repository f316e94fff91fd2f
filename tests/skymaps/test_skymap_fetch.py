"""Files are fetched from the hosts of the settings and from nowhere else."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kowalski.errors import SkymapError
from kowalski.skymaps import fetch as module
from kowalski.skymaps.fetch import NotThere, fetch

HOSTS = frozenset({"127.0.0.1", "gracedb.ligo.org"})


class Archive(BaseHTTPRequestHandler):
    """Serves a file, ways to it and elsewhere; ``asked`` is what it was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name, _, target = self.path[1:].partition("?")
        if name == "to":
            self.send_response(302)
            self.send_header("Location", target)
        elif name == "stalled":
            self.send_response(200)
            self.send_header("Content-Length", "10")
        else:
            self.send_response({"map.fits": 200, "gone": 410, "broken": 500}.get(name, 404))
        self.end_headers()
        if name == "map.fits":
            self.wfile.write(b"x" * 1000)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def archive() -> Iterator[str]:
    Archive.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def get(url: str, hosts: frozenset[str] = HOSTS) -> bytes:
    return asyncio.run(fetch(url, hosts))


def test_a_file_and_redirections_on_the_way(archive: str) -> None:
    assert get(f"{archive}/map.fits") == b"x" * 1000
    assert get(f"{archive}/to?/map.fits") == b"x" * 1000


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.2:1/", "http://localhost:1/", "file:///etc/passwd", "https://example.org/", "//169.254.169.254/latest", "http://gracedb.ligo.org/"])  # fmt: skip
def test_redirections_lead_nowhere_else(archive: str, elsewhere: str) -> None:
    with pytest.raises(SkymapError, match="are fetched by https from"):
        get(f"{archive}/to?{elsewhere}")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/map.fits",
        "http://gracedb.ligo.org/map.fits",
        "ftp://gracedb.ligo.org/map.fits",
        "https://gracedb.ligo.org@example.org/",
        "https://user:word@gracedb.ligo.org/",
        "https://gracedb.ligo.org.example.org/",
        "https://example.org\\@gracedb.ligo.org/",
        "https://example.org#@gracedb.ligo.org/",
        "https://[::1/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gracedb.ligo.org/map.fits",
        "",
    ],
)
def test_other_urls_are_refused_before_anything_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_session(*arguments: Any, **more: Any) -> None:
        raise AssertionError("it was about to connect")

    monkeypatch.setattr(module.aiohttp, "ClientSession", no_session)
    with pytest.raises(SkymapError, match="are fetched by https from"):
        get(url)


def test_this_machine_is_asked_only_where_it_is_among_the_hosts(archive: str) -> None:
    with pytest.raises(SkymapError, match="are fetched by https from"):
        get(f"{archive}/map.fits", frozenset({"gracedb.ligo.org"}))
    assert Archive.asked == []


@pytest.mark.parametrize(("name", "status"), [("none", 404), ("gone", 410)])
def test_what_is_not_there(archive: str, name: str, status: int) -> None:
    with pytest.raises(NotThere, match=f"127.0.0.1 says {status}"):
        get(f"{archive}/{name}")


def test_what_fails(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SkymapError, match="says 500") as failure:
        get(f"{archive}/broken")
    assert not isinstance(failure.value, NotThere)
    with pytest.raises(SkymapError, match="too many redirections"):
        get(f"{archive}/to?/to?/to?/to?/to?/map.fits")
    with pytest.raises(SkymapError, match="can't be fetched"):
        get(f"{archive}/stalled")
    monkeypatch.setattr(module, "MAX_BYTES", 999)
    with pytest.raises(SkymapError, match="larger than 999 bytes"):
        get(f"{archive}/map.fits")
