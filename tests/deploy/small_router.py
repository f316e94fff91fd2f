"""A router that does with HTTP what traefik's documentation says it does, by a table read from a compose file; without TLS."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import count
from types import TracebackType
from typing import Self

from traefik_table import EntryPoint, Table

#: headers by which proxies tell where a request comes from; a client's own are dropped
FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip")


class SmallRouter:
    """Listens at each entry point, on a port of its own, as long as its context lasts.

    Parameters
    ----------
    table : what to do
    servers : host and port of each container, by service of the compose file
    address : its own address, from which the containers see it come
    """

    def __init__(self, table: Table, servers: Mapping[str, Sequence[tuple[str, int]]], address: str):
        self.table, self.servers, self.address = table, servers, address
        self.turns = count()
        self.listeners = {
            name: ThreadingHTTPServer(("127.0.0.1", 0), self._handler(entrypoint))
            for name, entrypoint in table.entrypoints.items()
        }

    def port(self, entrypoint: str) -> int:
        """Where an entry point listens, in place of its own port."""
        return int(self.listeners[entrypoint].server_address[1])

    def __enter__(self) -> Self:
        for listener in self.listeners.values():
            threading.Thread(target=listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for listener in self.listeners.values():
            listener.shutdown()
            listener.server_close()

    def _handler(self, entrypoint: EntryPoint) -> type[BaseHTTPRequestHandler]:
        router = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                router.answer(entrypoint, self)

            do_GET = do_POST = handle_one

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler

    def answer(self, entrypoint: EntryPoint, asked: BaseHTTPRequestHandler) -> None:
        """Redirect, forward, or say that there is nothing."""
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        host = asked.headers.get("Host", "").partition(":")[0]
        if entrypoint.redirect_to is not None:
            code = {(True, True): 301, (True, False): 308, (False, True): 302, (False, False): 307}
            status = code[entrypoint.redirect_permanent, asked.command == "GET"]
            return _send(asked, status, {"Location": f"{entrypoint.redirect_scheme}://{host}{asked.path}"})
        request = {"host": host, "path": asked.path}
        for router in self.table.routers:
            if entrypoint.name in router.entrypoints and router.rule(request):
                return self._forward(entrypoint, router.service, asked, body)
        return _send(asked, 404)

    def _forward(self, entrypoint: EntryPoint, service: str, asked: BaseHTTPRequestHandler, body: bytes) -> None:
        settings = self.table.services[service]
        healthy = [each for each in self.servers[settings.container] if self._is_healthy(each, settings.health_path)]
        if not healthy:
            return _send(asked, 503)
        with closing(self._connect(healthy[next(self.turns) % len(healthy)])) as connection:
            connection.request(asked.command, asked.path, body, self._headers(entrypoint, asked))
            answer = connection.getresponse()
            own = ("content-length", "connection")
            headers = {key: value for key, value in answer.getheaders() if key.lower() not in own}
            return _send(asked, answer.status, headers, answer.read())

    def _headers(self, entrypoint: EntryPoint, asked: BaseHTTPRequestHandler) -> dict[str, str]:
        client = asked.client_address[0]
        believed = entrypoint.insecure or any(ip_address(client) in network for network in entrypoint.trusted)
        headers = {key: value for key, value in asked.headers.items() if believed or key.lower() not in FORWARDED}
        way = [headers.pop("X-Forwarded-For")] if "X-Forwarded-For" in headers else []
        return headers | {"X-Forwarded-For": ", ".join([*way, client])}

    def _is_healthy(self, server: tuple[str, int], path: str) -> bool:
        with closing(self._connect(server)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status < 400
            except OSError:
                return False

    def _connect(self, server: tuple[str, int]) -> HTTPConnection:
        return HTTPConnection(*server, timeout=30, source_address=(self.address, 0))


def _send(
    asked: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> None:
    asked.send_response(status)
    for key, value in (headers or {}).items():
        asked.send_header(key, value)
    asked.send_header("Content-Length", str(len(body)))
    asked.end_headers()
    asked.wfile.write(body)
