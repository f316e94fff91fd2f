"""The routes, each with who may call it and what its body must be, both seen to before its handler is called."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from kowalski.api.errors import BadRequest, Handler, Unauthorized, explain
from kowalski.api.handlers import health, login, queries, root
from kowalski.api.models.login import Login
from kowalski.api.models.queries import QUERY
from kowalski.api.state import SERVICES, USER


@dataclass(frozen=True)
class Route:
    """One method of one path; a handler with a ``body`` gets it, valid, as its second argument."""

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    body: TypeAdapter[Any] | None = None
    public: bool = False


ROUTES = (
    Route("GET", "/", root.greet),
    Route("GET", "/health/live", health.live, public=True),
    Route("GET", "/health/ready", health.ready, public=True),
    Route("POST", "/api/auth", login.log_in, body=TypeAdapter(Login), public=True),
    Route("POST", "/api/queries", queries.run, body=QUERY),
)


def add_routes(app: web.Application) -> None:
    """The application knows all of `ROUTES`."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _entrance(route))


def _entrance(route: Route) -> Handler:
    async def enter(request: web.Request) -> web.StreamResponse:
        if not route.public:
            request[USER] = request.app[SERVICES].user(_token(request))
        if route.body is None:
            return await route.handler(request)
        return await route.handler(request, _parse(route.body, await request.read()))

    return enter


def _token(request: web.Request) -> str:
    """The token in a request's header, bare or after ``Bearer``."""
    header = request.headers.get("Authorization", "").strip()
    if not header:
        raise Unauthorized
    return re.sub(r"^bearer\b\s*", "", header, flags=re.IGNORECASE)


def _parse(body: TypeAdapter[Any], data: bytes) -> Any:
    """A body that keeps to its model, whatever content type it claims (curl -d claims a form)."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(content, dict):
        raise BadRequest("the body must be a JSON object")
    try:
        return body.validate_python(content)
    except ValidationError as error:
        raise BadRequest(explain(error)) from None
