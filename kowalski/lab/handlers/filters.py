"""The filters of a user: the list, and one with its versions, how it does, and what can be changed."""

import asyncio
from typing import Any

from aiohttp import web

from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import FilterPath
from kowalski.api.state import SERVICES, USER
from kowalski.lab.entrance import Page
from kowalski.lab.filters.forms import Alteration, Wanted
from kowalski.lab.filters.versions import readable, side_by_side, stages_in
from kowalski.lab.rendering import page

#: nights in the list, and lines of the table of one filter
NIGHTS, LINES = 5, 15
#: what filters of older versions lack
LACKED = dict.fromkeys(
    (
        "active",
        "active_fid",
        "fv",
        "permissions",
        "surveys",
        "watchlists",
        "autosave",
        "auto_followup",
        "update_annotations",
    )
)


async def show_all(request: web.Request) -> web.StreamResponse:
    """The user's filters, the admin's are all."""
    found = await request.app[SERVICES].filters.all(request[USER])
    nights = sorted({night for each in found for night in each["passed"]}, reverse=True)[:NIGHTS]
    return page(request, "filters.html", filters=[LACKED | each for each in found], nights=nights)


async def show(request: web.Request, wanted: Wanted) -> web.StreamResponse:
    """One filter; two of its versions side by side, where they are chosen."""
    return await _filter(request, wanted)


async def alter(request: web.Request, path: FilterPath, alteration: Alteration) -> web.StreamResponse:
    """A filter is changed, or the page says why not."""
    try:
        await request.app[SERVICES].filters.patch(alteration.change(path.filter_id), request[USER])
    except BadRequest as error:
        return await _filter(request, Wanted(filter_id=path.filter_id), str(error), 400)
    return web.Response(status=303, headers={"Location": f"/lab/filters/{path.filter_id}"})


async def _filter(request: web.Request, wanted: Wanted, problem: str = "", status: int = 200) -> web.Response:
    filters, user = request.app[SERVICES].filters, request[USER]
    stored, how = await asyncio.gather(filters.get(wanted.filter_id, user), filters.status(wanted.filter_id, user))
    versions = [
        {"created_at": None} | each | {"stages": stages_in(each["pipeline"])}
        for each in reversed(stored.get("fv") or [])
    ]
    return page(
        request, "filter.html", status=status, filter=LACKED | stored, how=how, versions=versions, problem=problem,
        nights=how["nights"][:LINES], **await asyncio.to_thread(_compared, wanted, versions),
    )  # fmt: skip


def _compared(wanted: Wanted, versions: list[dict[str, Any]]) -> dict[str, Any]:
    """Two versions: those that were chosen, else the two latest are offered."""
    texts = {each["fid"]: each["pipeline"] for each in versions}
    fids = list(texts)
    a = wanted.a if wanted.a in texts else fids[min(1, len(fids) - 1)] if fids else ""
    b = wanted.b if wanted.b in texts else fids[0] if fids else ""
    chosen = wanted.a in texts and wanted.b in texts
    return {"a": a, "b": b, "lines": side_by_side(readable(texts[a]), readable(texts[b])) if chosen else None}


ONE = "/lab/filters/{filter_id:[0-9]+}"
PAGES = (
    Page("GET", "/lab/filters", show_all),
    Page("GET", ONE, show, params=Wanted),
    Page("POST", ONE, alter, params=FilterPath, form=Alteration),
)
