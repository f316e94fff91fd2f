"""The query page: forms, answers as tables and plots, files, and what was asked before."""

import asyncio
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from kowalski.api.errors import BadRequest
from kowalski.api.metrics import QUERIES
from kowalski.api.models.fields import Body
from kowalski.api.models.queries import AnyQuery
from kowalski.api.sending import send_file
from kowalski.api.services.exports import EXPORTED, PARQUET, parquet
from kowalski.api.services.reads import Reads
from kowalski.api.services.rights import NOTHING, SURVEY_COLLECTION, User
from kowalski.api.state import SERVICES, USER
from kowalski.errors import KowalskiError
from kowalski.lab.entrance import Page
from kowalski.lab.incoming import Text, origin_of
from kowalski.lab.plot_looks import sent
from kowalski.lab.query.csv_file import CSV, CsvExport
from kowalski.lab.query.forms import ALWAYS, COMMANDS, FRESH, KINDS, NAMES, UNIT_NAMES, query_of
from kowalski.lab.query.plots import histogram, scatter
from kowalski.lab.query.results import answer_of, points_of, rows_of
from kowalski.lab.query.snippets import curl, penquins
from kowalski.lab.rendering import page

#: nobody else keeps a file, and no browser takes it for something else
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
#: points of a plot
POINTS = 5000


class Typed(Body):
    """A form as it was typed; which of its fields mean something says its kind."""

    kind: Text = "find"
    catalog: Text = ""
    filter: Text = ""
    projection: Text = ""
    pipeline: Text = ""
    radec: Text = ""
    radius: Text = ""
    unit: Text = ""
    min_distance: Text = ""
    max_distance: Text = ""
    dateobs: Text = ""
    localization_name: Text = ""
    contour: Text = ""
    command: Text = ""
    sort: Text = ""
    skip: Text = ""
    limit: Text = ""
    max_time_ms: Text = ""
    comment: Text = ""

    @property
    def fields(self) -> dict[str, str]:
        """Those of its kind in which something was typed."""
        wanted = (*KINDS[self.kind].fields, *ALWAYS) if self.kind in KINDS else ()
        return {name: getattr(self, name) for name in wanted if getattr(self, name)}


class RunPath(Body):
    """Which of the queries that were asked before."""

    run: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class Axes(RunPath):
    """What of a query's answer is drawn, and how; without ``y`` as a histogram."""

    x: Text = ""
    y: Text = ""
    logx: bool = False
    logy: bool = False
    theme: Literal["dark", "light"] = "light"


async def show(request: web.Request, typed: Typed) -> web.StreamResponse:
    """An empty form of a kind, or one with what the address says."""
    kind = typed.kind if typed.kind in KINDS else "find"
    given = {name: getattr(typed, name) for name in typed.model_fields_set if name in NAMES}
    return await _form(request, kind, FRESH | given)


async def ask(request: web.Request, typed: Typed) -> web.StreamResponse:
    """The query is kept, and its answer is what comes next; one that is wrong comes back as it was typed."""
    try:
        query_of(typed.kind, typed.fields)
    except BadRequest as error:
        kind = typed.kind if typed.kind in KINDS else "find"
        return await _form(request, kind, typed.fields, problem=str(error), status=400)
    run = await request.app[SERVICES].lab_queries.keep(request[USER].name, typed.kind, typed.fields)
    return web.Response(status=303, headers={"Location": f"/lab/query/{run}"})


async def answer(request: web.Request, axes: Axes) -> web.StreamResponse:
    """A query that was asked, with its answer as it is now."""
    services, user = request.app[SERVICES], request[USER]
    kept = await _kept(request, axes.run)
    kind, fields = kept["kind"], kept["fields"]
    shown: dict[str, Any] = {"run": axes.run, "axes": axes, "exported": kind in EXPORTED}
    try:
        body, query = query_of(kind, fields)
        shown |= await asyncio.to_thread(_elsewhere, body, origin_of(request))
        QUERIES.labels(kind).inc()
        async with services.limits.slot(user):
            shown["answer"] = await answer_of(await services.queries.run(query, user), fields.get("catalog", ""))
    except KowalskiError as error:
        if error.http_status >= 500:
            raise
        return await _form(request, kind, fields, problem=str(error), status=error.http_status, **shown)
    return await _form(request, kind, fields, plots=bool(axes.x), **shown)


async def plot(request: web.Request, axes: Axes) -> web.StreamResponse:
    """A query's answer as a plot."""
    services, user = request.app[SERVICES], request[USER]
    query = await _query(request, axes.run)
    names = [name for name in (axes.x, axes.y) if name]
    if not axes.x:
        raise BadRequest("x: which column?")
    async with services.limits.slot(user):
        rows = rows_of(await services.queries.run(query, user))
        points, more = await points_of(rows, names, POINTS)
    if not points:
        raise BadRequest(f"no row has a number in {' and '.join(names)}")
    title = f"of the first {POINTS:,} rows" if more else ""
    logs = (axes.logx, axes.logy)

    def draw() -> Any:
        if axes.y:
            return scatter(points, axes.x, axes.y, logs, axes.theme, title)
        return histogram(points, axes.x, logs, axes.theme, title)

    return await sent(draw)


async def as_csv(request: web.Request, path: RunPath) -> web.StreamResponse:
    """All rows of a query as a CSV file."""
    return await _file(request, path.run, CsvExport, CSV, "kowalski.csv")


async def as_parquet(request: web.Request, path: RunPath) -> web.StreamResponse:
    """All rows of a query as a Parquet file."""
    return await _file(request, path.run, parquet, PARQUET, "kowalski.parquet")


async def forget(request: web.Request, path: RunPath) -> web.StreamResponse:
    """One query is kept no more."""
    await request.app[SERVICES].lab_queries.forget(request[USER].name, path.run)
    return web.Response(status=303, headers={"Location": "/lab/query"})


async def forget_all(request: web.Request) -> web.StreamResponse:
    """No query of the user's is kept any more."""
    await request.app[SERVICES].lab_queries.forget(request[USER].name)
    return web.Response(status=303, headers={"Location": "/lab/query"})


RUN = "/lab/query/{run:[0-9a-f]{24}}"
PAGES = (
    Page("GET", "/lab/query", show, params=Typed),
    Page("POST", "/lab/query", ask, form=Typed),
    Page("POST", "/lab/query/forget", forget_all),
    Page("GET", RUN, answer, params=Axes),
    Page("GET", f"{RUN}/plot.json", plot, params=Axes),
    Page("GET", f"{RUN}/rows.csv", as_csv, params=RunPath),
    Page("GET", f"{RUN}/rows.parquet", as_parquet, params=RunPath),
    Page("POST", f"{RUN}/forget", forget, params=RunPath),
)


async def _form(
    request: web.Request, kind: str, fields: dict[str, str], status: int = 200, problem: str = "",
    plots: bool = False, **shown: Any,
) -> web.Response:  # fmt: skip
    services, user = request.app[SERVICES], request[USER]
    history, catalogs = await asyncio.gather(services.lab_queries.of(user.name), _catalogs(request))
    context = {"run": "", "answer": None, "axes": None, "exported": False, "penquins": "", "curl": ""} | shown
    return await asyncio.to_thread(  # a table of 200 rows and 400 columns takes a while
        page, request, "query.html", status=status, plots=plots, kinds=KINDS, kind=kind, fields=fields, problem=problem,
        history=history, catalogs=catalogs, units=UNIT_NAMES, commands=COMMANDS, points=POINTS, **context,
    )  # fmt: skip


async def _catalogs(request: web.Request) -> list[str]:
    """Names of what the user may read and sees anything of: alerts first."""
    user = request[USER]
    names = await Reads(request.app[SERVICES].database, user).catalog_names()
    return sorted((name for name in names if not _is_empty(user, name)), key=_place)


def _is_empty(user: User, name: str) -> bool:
    return user.window(name).match == NOTHING


def _place(name: str) -> tuple[int, str]:
    named = SURVEY_COLLECTION.fullmatch(name)
    return (2 if named is None else bool(named[2])), name.lower()


def _elsewhere(body: dict[str, Any], url: str) -> dict[str, str]:
    return {"penquins": penquins(body, url), "curl": curl(body, url)}


async def _kept(request: web.Request, run: str) -> dict[str, Any]:
    """One of the user's own queries."""
    kept = await request.app[SERVICES].lab_queries.get(request[USER].name, run)
    if kept is None:
        raise BadRequest("You asked no such query, or it is kept no more.")
    return kept


async def _query(request: web.Request, run: str) -> AnyQuery:
    kept = await _kept(request, run)
    return query_of(kept["kind"], kept["fields"])[1]


async def _file(request: web.Request, run: str, begin: Any, content_type: str, name: str) -> web.StreamResponse:
    services, user = request.app[SERVICES], request[USER]
    query = await _query(request, run)
    QUERIES.labels(query.query_type).inc()
    async with services.limits.slot(user):
        return await send_file(request, services.exports.pieces(query, user, begin), content_type, name, PRIVATE)
