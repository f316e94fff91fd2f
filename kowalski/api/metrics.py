"""What Prometheus is told of the API: requests, how long they take, and queries by type, of all workers together."""

import os
import time

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from kowalski.api.errors import Handler

REQUESTS = Counter("kowalski_api_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "kowalski_api_request_seconds",
    "Time from a request to the end of its answer",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
QUERIES = Counter("kowalski_api_queries", "Queries begun", ["query_type"])


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every request is counted, under the pattern of its path."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    began = time.perf_counter()
    status = 500
    try:
        answer = await handler(request)
        status = answer.status
        return answer
    finally:
        SECONDS.labels(route).observe(time.perf_counter() - began)
        REQUESTS.labels(request.method, route, status).inc()


def own_figures() -> bytes:
    """The figures above in Prometheus' text format, of all workers where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
