"""A receiver of spans: OTLP over HTTP, decoded."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(ThreadingHTTPServer):
    """What an OpenTelemetry collector would get, on a port of its own, while it is used as a context."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *arguments: object) -> None:
        self.shutdown()
        super().__exit__(*arguments)

    @property
    def address(self) -> str:
        """What `telemetry.otlp_endpoint` is to be."""
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[Span]:
        """All that came so far."""
        return [
            span for request in self.requests for resource in request.resource_spans
            for scope in resource.scope_spans for span in scope.spans
        ]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") is None:
            self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.server.paths.add(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
