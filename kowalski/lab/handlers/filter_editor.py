"""The editor of filters: checked as one types, tried on alerts and nights, and saved."""

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from aiohttp import web

from kowalski.alerts.survey import known_surveys
from kowalski.api.errors import BadRequest
from kowalski.api.services.reads import Reads
from kowalski.api.services.replays import NAMED, night_of
from kowalski.api.services.rights import User
from kowalski.api.state import SERVICES, USER
from kowalski.database.queries import Reading
from kowalski.errors import KowalskiError
from kowalski.filters.language import OPERATORS, STAGES
from kowalski.lab.entrance import Page
from kowalski.lab.filters.forms import Bars, Draft, Fresh, Wanted
from kowalski.lab.filters.replayed import EXAMPLES, by_hour, by_value
from kowalski.lab.filters.versions import readable
from kowalski.lab.plot_looks import sent
from kowalski.lab.query.plots import bars
from kowalski.lab.rendering import fragment, page, said

#: s between looks at whether somebody still waits for a replay
LOOK = 0.5
#: what stands in a new filter
START = '[\n  {"$match": {"candidate.drb": {"$gt": 0.9}}},\n  {"$project": {"annotations": {"magpsf": "$candidate.magpsf"}}}\n]'


async def new(request: web.Request, fresh: Fresh) -> web.StreamResponse:
    """A filter that is not there yet."""
    user: User = request[USER]
    surveys = [survey for survey in known_surveys() if user.sees(survey.name)]
    catalog = fresh.catalog or (surveys[-1].alerts if surveys else "")
    survey = next((each for each in surveys if each.alerts == catalog), None)
    seen = user.sees(survey.name) if survey else False
    programmes = "1, 2, 3" if seen is True else ", ".join(map(str, sorted(seen or ())))
    permissions = programmes if survey and survey.program_field else ""
    draft = Draft(catalog=catalog, permissions=permissions, pipeline=START, new=True)
    return await _editor(request, draft)


async def edit(request: web.Request, wanted: Wanted) -> web.StreamResponse:
    """A version of a filter, of which another can be made; the active one unless another is named."""
    stored = await request.app[SERVICES].filters.get(wanted.filter_id, request[USER])
    fid = wanted.fid or stored.get("active_fid")
    version = next((each for each in stored.get("fv") or () if each["fid"] == fid), None)
    if version is None:
        raise BadRequest(f"Filter version {fid} not found")
    draft = Draft(
        filter_id=str(stored["filter_id"]), group_id=str(stored["group_id"]), catalog=stored["catalog"],
        pipeline=readable(version["pipeline"]), alert=wanted.alert,
    )  # fmt: skip
    return await _editor(request, draft)


async def check(request: web.Request, draft: Draft) -> web.StreamResponse:
    """Whether it could be saved, as JSON; nothing is."""
    user = request[USER]
    try:
        wanted = draft.version(_group(user))
    except BadRequest as error:
        return said({"ok": False, "message": str(error)})
    services = request.app[SERVICES]
    async with services.limits.slot(user):
        return said(await services.drafts.check(wanted, user))


async def fields(request: web.Request, draft: Draft) -> web.StreamResponse:
    """Names that may be completed to, as JSON: fields with their kinds, and operators."""
    services, user = request.app[SERVICES], request[USER]
    _, _, sight = await services.filters.sight_of(draft.version(_group(user)), user)
    async with services.limits.slot(user):
        found = await services.filter_fields.of(sight, user)
    return said({"fields": list(found.items()), "operators": sorted(OPERATORS | STAGES)})


async def count(request: web.Request, draft: Draft) -> web.StreamResponse:
    """How many alerts a replay has before it, as JSON."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        number = await services.drafts.count(draft.version(_group(user)), draft.replayed(), user)
    return said({"alerts": number})


async def explain(request: web.Request, draft: Draft) -> web.StreamResponse:
    """Why an alert would pass it or not, stage by stage."""
    services, user = request.app[SERVICES], request[USER]

    async def tell() -> dict[str, Any]:
        async with services.limits.slot(user):
            told = await _as_long_as_he_waits(
                request, services.drafts.explain(draft.version(_group(user)), draft.explained(), user)
            )
        return {"explanations": told, "survey": draft.catalog.removesuffix("_alerts")}

    return await _tried(request, draft, "_explanations.html", tell)


async def replay(request: web.Request, draft: Draft) -> web.StreamResponse:
    """What it would make of a night, stage by stage, with histograms of what passes."""
    services, user = request.app[SERVICES], request[USER]

    async def tell() -> dict[str, Any]:
        wanted, asked, field, began = (
            draft.version(_group(user)),
            draft.replayed(),
            draft.drawn_field(),
            time.monotonic(),
        )
        async with services.limits.slot(user):
            told = await _as_long_as_he_waits(request, services.drafts.replay(wanted, asked, draft.compared, user))
            passed = told["candidates"]
            values = await services.drafts.values(wanted, [each["candid"] for each in passed], field, user)
        drawn = {"hours": by_hour(passed, draft.night.strip()), "values": by_value(values, field)} if passed else {}
        return {
            "told": told, "histograms": drawn, "field": field, "night": draft.night, "examples": passed[:EXAMPLES],
            "named": NAMED, "took": time.monotonic() - began, "survey": draft.catalog.removesuffix("_alerts"),
        }  # fmt: skip

    return await _tried(request, draft, "_replay.html", tell)


async def save(request: web.Request, draft: Draft) -> web.StreamResponse:
    """It is the filter's active version; or the page says why it can't be, with all that was written."""
    user = request[USER]
    try:
        wanted = draft.version()
        filters = request.app[SERVICES].filters
        if not draft.new:
            await filters.get(wanted.filter_id, user)  # one that was removed meanwhile is not made anew
        elif await filters.store.get(wanted.filter_id) is not None:
            raise BadRequest(f"filter_id: there is a filter {wanted.filter_id} already")
        await filters.post(wanted, user)
    except BadRequest as error:
        return await _editor(request, draft, problem=str(error), status=400)
    return web.Response(status=303, headers={"Location": f"/lab/filters/{wanted.filter_id}"})


async def histogram(request: web.Request, told: Bars) -> web.StreamResponse:
    """A histogram that is counted already, as a plot."""
    edges, counts = told.numbers()
    return await sent(partial(bars, edges, counts, told.x, "alerts that pass", (False, False), told.theme, told.title))


PAGES = (
    Page("GET", "/lab/filters/new", new, params=Fresh),
    Page("GET", "/lab/filters/{filter_id:[0-9]+}/edit", edit, params=Wanted),
    Page("POST", "/lab/filters/check", check, form=Draft),
    Page("POST", "/lab/filters/fields", fields, form=Draft),
    Page("POST", "/lab/filters/count", count, form=Draft),
    Page("POST", "/lab/filters/explain", explain, form=Draft),
    Page("POST", "/lab/filters/replay", replay, form=Draft),
    Page("POST", "/lab/filters/save", save, form=Draft),
    Page("GET", "/lab/filters/bars.json", histogram, params=Bars),
)


async def _tried(request: web.Request, draft: Draft, template: str, tell: Any) -> web.StreamResponse:
    """What came of a trial: the part of the page alone for its script, else the whole page."""
    by_script = "application/json" in request.headers.get("Accept", "")
    try:
        told = await tell()
    except KowalskiError as error:
        if by_script or error.http_status >= 500:
            raise
        return await _editor(request, draft, problem=str(error), status=error.http_status)
    if by_script:
        return said({"html": fragment(template, **told)})
    return await _editor(request, draft, result=template, **told)


async def _editor(
    request: web.Request, draft: Draft, problem: str = "", status: int = 200, result: str = "", **told: Any
) -> web.Response:
    user: User = request[USER]
    alert = await _newest(request, draft.catalog)
    filled = {}
    if alert is not None:
        filled["night"] = draft.night or night_of(alert["candidate"]["jd"])
        filled["alert"] = draft.alert or str(alert["candid"])
    return page(
        request, "filter_editor.html", status=status, plots=True, draft=draft.model_copy(update=filled), problem=problem,
        result=result, groups=sorted(user.groups), surveys=[each.alerts for each in known_surveys() if user.sees(each.name)],
        **told,
    )  # fmt: skip


async def _newest(request: web.Request, catalog: str) -> dict[str, Any] | None:
    """The newest alert that the user sees: what a filter is tried on unless something else is said."""
    survey = next((each for each in known_surveys() if each.alerts == catalog), None)
    if survey is None:
        return None
    wanted = {"_id": 0, "candid": 1, "candidate.jd": 1}
    reading = Reading(1000, "newest alert", wanted, sort=[("candidate.jd", -1)], limit=1)
    try:
        return await anext(Reads(request.app[SERVICES].database, request[USER]).find(catalog, {}, reading), None)
    except KowalskiError:
        return None


async def _as_long_as_he_waits(request: web.Request, work: Coroutine[Any, Any, Any]) -> Any:
    """What some work gives; it is given up once nobody waits for it any more."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK))[0]:
            if request.transport is None or request.transport.is_closing():
                raise BadRequest("nobody waits for this any more")
        return task.result()
    finally:
        task.cancel()


def _group(user: User) -> int:
    """A group in whose name something may be tried before one is chosen."""
    return min(user.groups, default=1)
