"""A web server of a test's own, which keeps what it is asked."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Said(NamedTuple):
    """An answer; ``short``: the connection breaks that many bytes before its end."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    short: int = 0


class Web:
    """Answers as it is told to, and knows all that it was asked."""

    def __init__(self, answer: Callable[[Asked], Said]):
        self.answer = answer
        self.asked: list[Asked] = []
        self.url = ""


@contextmanager
def serving(answer: Callable[[Asked], Said]) -> Iterator[Web]:
    """A server, up meanwhile."""
    web = Web(answer)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
            web.asked.append(asked)
            said = web.answer(asked)
            self.send_response_only(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body[: len(said.body) - said.short])

        do_GET = do_POST = do_PUT = do_HEAD = _serve

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
