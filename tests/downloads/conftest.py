"""A server of files for the tests of downloads."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kowalski.downloads import transfer


class Shelf:
    """Serves files by parts, and fails as it is told to: ``faults`` of a path are used up one by one."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.tags = True
        self.ranges = True
        self.login: str | None = None
        self.url = ""
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.end = threading.Event()

    def ranges_of(self, path: str) -> list[str | None]:
        """The parts that were asked for."""
        return [part for asked, part in self.asked if asked == path]


class Handler(BaseHTTPRequestHandler):
    shelf: Shelf

    def do_GET(self) -> None:
        shelf = self.shelf
        with shelf.lock:
            shelf.asked.append((self.path, self.headers["Range"]))
            shelf.at_once += 1
            shelf.most_at_once = max(shelf.most_at_once, shelf.at_once)
            fault = (shelf.faults.get(self.path) or [""]).pop(0)
        try:
            self._answer(fault)
        finally:
            with shelf.lock:
                shelf.at_once -= 1

    def _answer(self, fault: str) -> None:
        shelf = self.shelf
        if shelf.login and self.headers["Authorization"] != shelf.login:
            return self.send_error(401)
        if fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Retry-After", "0")
            return self.end_headers()
        if self.path not in shelf.files:
            return self.send_error(404)
        content = shelf.files[self.path]
        tag = '"' + hashlib.md5(content, usedforsecurity=False).hexdigest() + '"'
        asked = self.headers["Range"] if shelf.ranges else None
        if self.headers["If-Range"] not in (None, tag):
            asked = None
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if begin and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if shelf.tags:
            self.send_header("ETag", tag)
        self.end_headers()
        rest = content[begin:]
        if fault == "flipped":
            rest = bytes([rest[0] ^ 1]) + rest[1:]
        self.wfile.write(rest[: len(rest) // 2] if fault in ("breaks", "stalls") else rest)
        if fault == "stalls":
            self.wfile.flush()
            shelf.end.wait(60)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    shelf = Shelf()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"shelf": shelf}))
    shelf.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield shelf
    shelf.end.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
