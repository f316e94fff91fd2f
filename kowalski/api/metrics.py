"""What Prometheus is told of the API: requests, how long they take, and queries by type, of all workers together."""

import os
import time
from functools import cache

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
#: methods that are counted by name
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
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
        seconds, requests = _figures(request.method if request.method in METHODS else "other", route, status)
        seconds.observe(time.perf_counter() - began)
        requests.inc()


@cache
def _figures(method: str, route: str, status: int) -> tuple[Histogram, Counter]:
    """Those of one kind of request; finding them by their labels each time would cost as much as counting."""
    return SECONDS.labels(route), REQUESTS.labels(method, route, status)


def own_figures() -> bytes:
    """The figures above in Prometheus' text format, of all workers where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
