"""The routes, each with who may call it and what its arguments must be, both seen to before its handler is called."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, TypeAdapter, ValidationError

from kowalski.api.credentials import token_of
from kowalski.api.errors import BadRequest, Handler, explain
from kowalski.api.handlers import (
    classifications,
    cutouts,
    docs,
    exports,
    filters,
    gcn,
    health,
    lightcurves,
    login,
    metrics,
    nights,
    objects,
    queries,
    root,
    site,
    skymaps,
    tokens,
    triggers,
    users,
    watchlists,
)
from kowalski.api.models.answers import LoggedIn
from kowalski.api.models.classifications import AlertPath, ClassificationPath, Labels, Names
from kowalski.api.models.cutouts import CutoutPath
from kowalski.api.models.filters import Change, FilterPath, NewVersion, Replay, ToExplain, Trial
from kowalski.api.models.gcn import EventPath, GcnEvent, WhichEvents
from kowalski.api.models.login import Login
from kowalski.api.models.nights import NightBooks, NightPath
from kowalski.api.models.objects import AstronomicalObject, ObjectPath, Salt2Fit, SurveyInfo
from kowalski.api.models.queries import QUERY
from kowalski.api.models.skymaps import NewSkymap, SkymapQuery, SkymapToRemove
from kowalski.api.models.tokens import NewToken, TokenPath
from kowalski.api.models.triggers import NewQueue, NewTrigger, QueueName, TriggerName, WhichQueue, WhichTrigger
from kowalski.api.models.users import Edit, NewUser, UserPath
from kowalski.api.models.watchlists import Lists, NewWatchlist, Replacement, Watchlist, WatchlistPath, WatchlistRows
from kowalski.api.services.exports import PARQUET
from kowalski.api.state import SERVICES, SESSION, USER
from kowalski.api.uploads import upload_of
from kowalski.nesting import LEVELS, is_too_deep

#: bytes of the body of a sky map or of an uploaded list; others have up to ``server.client_max_size``
LARGE = 64 << 20


class Access(Enum):
    """Who may call a route."""

    ANYBODY = auto()
    USER = auto()
    ADMIN = auto()


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes
    ----------
    params : what its path (``{names}``) and its query string must be; given to the handler, valid, after the request
    body : what its JSON body must be; given to the handler, valid, as the last argument. GET and DELETE may
        have their arguments in the query string instead
    large : whether the body may have `LARGE` bytes
    upload : whether the body is a file, or a form with one, whose fields are taken as if in the query string; given to the handler, as it
        comes, as the last argument
    answer : type of the answer's ``data``, or of the ``whole`` answer, for the documentation
    content : media type of the answer
    conflicts : whether it may answer 409
    described : whether the documentation of the API tells of it; what serves pages to browsers is none of the API
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    access: Access = Access.USER
    params: type[BaseModel] | None = None
    body: TypeAdapter[Any] | None = None
    large: bool = False
    upload: bool = False
    answer: Any = Any
    whole: bool = False
    content: str = "application/json"
    conflicts: bool = False
    described: bool = True


def _trigger_routes(path: str, get: Any, put: Any, delete: Any) -> list[Route]:
    """The three methods of one kind of trigger, each a handler and the model of its body."""
    return [
        Route(method, path, handler, Access.ADMIN, body=TypeAdapter(model), conflicts=method == "PUT")
        for method, (handler, model) in {"GET": get, "PUT": put, "DELETE": delete}.items()
    ]


FILTER = "/api/filters/{filter_id:[0-9]+}"
OBJECT = "/api/objects/{survey}/{object_id}"
WATCHLIST = "/api/watchlists/{list_id}"
CLASSIFICATIONS = "/api/classifications/{survey}"

ROUTES = (
    Route("GET", "/", root.greet),
    Route("GET", "/health/live", health.live, Access.ANYBODY),
    Route("GET", "/health/ready", health.ready, Access.ANYBODY),
    Route("GET", "/metrics", metrics.get, Access.ANYBODY, content="text/plain"),
    Route("GET", "/docs/api", docs.page, Access.ANYBODY, content="text/html"),
    Route("GET", "/docs/api/", docs.page, Access.ANYBODY, content="text/html", described=False),
    Route("GET", "/docs/api/openapi.json", docs.document, Access.ANYBODY, whole=True),
    Route("GET", "/docs/api/redoc.js", docs.script, Access.ANYBODY, content="text/javascript"),
    Route("GET", "/docs", site.begin, Access.ANYBODY, content="text/html", described=False),
    Route("GET", "/docs/{path:.*}", site.page, Access.ANYBODY, content="*/*", described=False),
    Route("POST", "/api/auth", login.log_in, Access.ANYBODY, body=TypeAdapter(Login), answer=LoggedIn, whole=True),
    Route("POST", "/api/users", users.add, Access.ADMIN, body=TypeAdapter(NewUser)),
    Route("GET", "/api/users", users.show_all, Access.ADMIN),
    Route("GET", "/api/users/{username}", users.show, params=UserPath),
    Route("PUT", "/api/users/{username}", users.edit, Access.ADMIN, params=UserPath, body=TypeAdapter(Edit)),
    Route("DELETE", "/api/users/{username}", users.remove, Access.ADMIN, params=UserPath),
    Route("POST", "/api/tokens", tokens.add, body=TypeAdapter(NewToken)),
    Route("GET", "/api/tokens", tokens.show_all),
    Route("DELETE", "/api/tokens/{token_id}", tokens.remove, params=TokenPath),
    Route("POST", "/api/queries", queries.run, body=QUERY),
    Route("POST", "/api/export", exports.run, body=QUERY, content=PARQUET),
    Route("POST", "/api/filters", filters.post, body=TypeAdapter(NewVersion)),
    Route("PATCH", "/api/filters", filters.patch, body=TypeAdapter(Change)),
    Route("GET", FILTER, filters.get, params=FilterPath),
    Route("DELETE", FILTER, filters.remove, params=FilterPath),
    Route("POST", FILTER + "/test", filters.test, params=FilterPath, body=TypeAdapter(Trial)),
    Route("POST", FILTER + "/explain", filters.explain, params=FilterPath, body=TypeAdapter(ToExplain)),
    Route("POST", FILTER + "/replay", filters.replay, params=FilterPath, body=TypeAdapter(Replay)),
    Route("GET", FILTER + "/status", filters.status, params=FilterPath),
    Route(
        "GET", "/api/cutouts/{survey}/{candid}/{cutout}/{file_format}", cutouts.get, params=CutoutPath, content="*/*"
    ),
    Route("PUT", CLASSIFICATIONS, classifications.put, params=ClassificationPath, body=TypeAdapter(Labels)),
    Route("DELETE", CLASSIFICATIONS, classifications.remove, params=ClassificationPath, body=TypeAdapter(Names)),
    Route("GET", CLASSIFICATIONS + "/{candid}", classifications.get, params=AlertPath),
    Route("PUT", "/api/skymap", skymaps.put, body=TypeAdapter(NewSkymap), large=True, conflicts=True),
    Route("GET", "/api/skymap", skymaps.get, body=TypeAdapter(SkymapQuery)),
    Route("HEAD", "/api/skymap", skymaps.get, body=TypeAdapter(SkymapQuery)),
    Route("DELETE", "/api/skymap", skymaps.remove, body=TypeAdapter(SkymapToRemove)),
    Route("GET", "/api/gcn", gcn.show_all, params=WhichEvents, answer=list[GcnEvent]),
    Route("GET", "/api/gcn/{event}", gcn.show, params=EventPath, answer=GcnEvent),
    Route("GET", "/api/watchlists", watchlists.show_all, params=Lists, answer=list[Watchlist]),
    Route(
        "POST", "/api/watchlists", watchlists.add, params=NewWatchlist, upload=True, answer=Watchlist, conflicts=True
    ),
    Route("GET", WATCHLIST, watchlists.show, params=WatchlistRows, answer=Watchlist),
    Route("PUT", WATCHLIST, watchlists.replace, params=Replacement, upload=True, answer=Watchlist),
    Route("DELETE", WATCHLIST, watchlists.remove, params=WatchlistPath),
    Route("GET", "/api/surveys", objects.surveys, answer=list[SurveyInfo]),
    Route("GET", OBJECT, objects.get, params=ObjectPath, answer=AstronomicalObject),
    Route("GET", OBJECT + "/lightcurve.png", lightcurves.picture, params=ObjectPath, content="image/png"),
    Route("GET", OBJECT + "/salt2", lightcurves.salt2, params=ObjectPath, answer=Salt2Fit),
    Route("GET", "/api/nights", nights.show_all, answer=list[str]),
    Route("GET", "/api/nights/{date}", nights.show, params=NightPath, answer=NightBooks),
    Route("GET", "/api/nights/{date}/report", nights.report, params=NightPath, content="text/html"),
    *_trigger_routes(
        "/api/triggers/ztf",
        get=(triggers.get_queues, WhichQueue),
        put=(triggers.submit_queue, NewQueue),
        delete=(triggers.delete_queue, QueueName),
    ),
    *_trigger_routes(
        "/api/triggers/ztf.test",
        get=(triggers.try_queues, WhichQueue),
        put=(triggers.try_submitting, NewQueue),
        delete=(triggers.try_deleting, QueueName),
    ),
    *_trigger_routes(
        "/api/triggers/ztfmma",
        get=(triggers.get_triggers, WhichTrigger),
        put=(triggers.submit_trigger, NewTrigger),
        delete=(triggers.delete_trigger, TriggerName),
    ),
    *_trigger_routes(
        "/api/triggers/ztfmma.test",
        get=(triggers.try_triggers, WhichTrigger),
        put=(triggers.try_submitting, NewTrigger),
        delete=(triggers.try_deleting, TriggerName),
    ),
)


def add_routes(app: web.Application) -> None:
    """The application knows all of `ROUTES`."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _entrance(route))


def _entrance(route: Route) -> Handler:
    async def enter(request: web.Request) -> web.StreamResponse:
        if route.access is not Access.ANYBODY:
            request[SESSION] = session = await request.app[SERVICES].sessions.open(token_of(request))
            request[USER] = session.user
            if route.access is Access.ADMIN:
                session.user.require_admin()
        arguments: list[Any] = []
        upload = await upload_of(request) if route.upload else None
        if route.params is not None:
            told = {**_plain(request.query), **(upload.fields if upload else {}), **request.match_info}
            arguments.append(_valid(route.params.model_validate, told))
        if upload is not None:
            arguments.append(upload.pieces)
        if route.body is not None:
            arguments.append(_valid(route.body.validate_python, await _content(request, route.large)))
        return await route.handler(request, *arguments)

    return enter


async def _content(request: web.Request, large: bool) -> dict[str, Any]:
    """The JSON object that a request brings, whatever content type it claims (curl -d claims a form)."""
    data = await _read(request, LARGE if large else request.client_max_size)
    if not data and request.method in ("GET", "HEAD", "DELETE"):
        return _plain(request.query)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(content, dict):
        raise BadRequest("the body must be a JSON object")
    if is_too_deep(content):
        raise BadRequest(f"the body is nested deeper than {LEVELS} levels")
    return content


async def _read(request: web.Request, limit: int) -> bytes:
    """The body of a request, refused as soon as it is known to be larger than it may be."""
    data = bytearray()
    announced = request.content_length or 0
    async for chunk in request.content.iter_any():
        data += chunk
        if max(announced, len(data)) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, len(data), text=f"the body is larger than {limit} bytes")
    return bytes(data)


def _plain(query: MultiMapping[str]) -> dict[str, Any]:
    """The arguments of a query string; what is said several times is a list, as requests and penquins send lists."""
    told = {key: query.getall(key) for key in query}
    return {key: values[0] if len(values) == 1 else values for key, values in told.items()}


def _valid(validate: Callable[[Any], Any], content: dict[str, Any]) -> Any:
    try:
        return validate(content)
    except ValidationError as error:
        raise BadRequest(explain(error)) from None
