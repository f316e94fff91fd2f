"""Objects: the search, an object's page, and the files that it shows."""

import asyncio
import csv
import io
import json
from typing import Literal

from aiohttp import web
from pydantic import Field

from kowalski.alerts.survey import key_of
from kowalski.api.errors import BadRequest
from kowalski.api.handlers import cutouts
from kowalski.api.models.cutouts import Candid, CutoutPath
from kowalski.api.models.fields import Body
from kowalski.api.models.questions import read_question
from kowalski.api.services.object_page import Curve, read_curve, read_page
from kowalski.api.services.object_search import ObjectSearch
from kowalski.api.services.reads import Reads
from kowalski.api.state import SERVICES, USER
from kowalski.errors import DatabaseError
from kowalski.lab import curve_plot
from kowalski.lab.addresses import object_address
from kowalski.lab.curve_rows import Row, rows_of
from kowalski.lab.entrance import Page
from kowalski.lab.incoming import origin_of
from kowalski.lab.object_view import view_of
from kowalski.lab.rendering import error_page, page

#: s for which a browser may keep a light curve
KEPT = {"Cache-Control": "private, max-age=60", "Vary": "Cookie", "X-Content-Type-Options": "nosniff"}


class Question(Body):
    """What is looked for."""

    q: str = ""


class Which(Body):
    """An object, and which of its alerts is shown."""

    survey: str
    object_id: str = Field(min_length=1, max_length=200)
    candid: Candid | None = None


class Drawing(Which):
    """How a light curve is drawn."""

    y: Literal["mag", "flux"] = "mag"
    theme: Literal["light", "dark"] = "light"


async def search(request: web.Request, asked: Question) -> web.StreamResponse:
    """What was found; a single object leads to its page."""
    text = asked.q.strip()
    if not text:
        raise web.HTTPSeeOther("/lab")
    services = request.app[SERVICES]
    try:
        async with services.limits.slot(request[USER]):
            found = await ObjectSearch(Reads(services.database, request[USER])).find(read_question(text))
    except (ValueError, DatabaseError) as error:
        return page(request, "objects.html", status=400, q=text, hits=[], tried=[], more=False, problem=str(error))
    if len(found.hits) == 1:
        hit = found.hits[0]
        raise web.HTTPSeeOther(object_address(hit.survey, hit.object_id, hit.candid))
    hits = [(hit, object_address(hit.survey, hit.object_id, hit.candid)) for hit in found.hits]
    return page(request, "objects.html", q=text, hits=hits, tried=found.tried, more=found.more, problem="")


async def show(request: web.Request, which: Which) -> web.StreamResponse:
    """All of an object."""
    services, user = request.app[SERVICES], request[USER]
    try:
        _require_survey(which)
        async with services.limits.slot(user):
            reads = Reads(services.database, user)
            found = await read_page(
                which.survey, which.object_id, which.candid, reads, services.bands, services.lightcurves
            )
    except BadRequest as error:
        return error_page(request, 404, str(error))
    view = await asyncio.to_thread(view_of, found, services.skyportal, origin_of(request))
    return page(request, "object.html", plots=True, o=view)


async def light_curve(request: web.Request, which: Drawing) -> web.StreamResponse:
    """An object's light curve as a plot."""

    def drawn(curve: Curve) -> str:
        return json.dumps(curve_plot.plot(rows_of(curve.points), curve.fit, curve.survey.name, which.y, which.theme))

    text = await asyncio.to_thread(drawn, await _curve(request, which))
    return web.Response(text=text, content_type="application/json", headers=KEPT)


async def points(request: web.Request, which: Which) -> web.StreamResponse:
    """An object's light curve as a table in a file."""
    curve = await _curve(request, which)

    def written() -> str:
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows_of(curve.points))
        return content.getvalue()

    name = "".join(
        letter if letter.isalnum() else "_" for letter in which.object_id.encode("ascii", "replace").decode()
    )
    headers = KEPT | {"Content-Disposition": f'attachment; filename="{name}_light_curve.csv"'}
    return web.Response(text=await asyncio.to_thread(written), content_type="text/csv", headers=headers)


async def cutout(request: web.Request, asked: CutoutPath) -> web.StreamResponse:
    """A cutout, as the API gives it."""
    answer = await cutouts.get(request, asked)
    answer.headers["X-Content-Type-Options"], answer.headers["Vary"] = "nosniff", "Cookie"
    return answer


async def _curve(request: web.Request, which: Which) -> Curve:
    services, user = request.app[SERVICES], request[USER]
    _require_survey(which)
    async with services.limits.slot(user):
        reads = Reads(services.database, user)
        return await read_curve(which.survey, which.object_id, reads, services.bands, services.lightcurves)


def _require_survey(which: Which) -> None:
    if key_of(which.survey) is None:
        raise BadRequest(f"there is no survey {which.survey}")


_HERE = "/lab/objects/{survey}/{object_id}"
OBJECT_PAGES = (
    Page("GET", "/lab/objects", search, params=Question),
    Page("GET", _HERE, show, params=Which),
    Page("GET", f"{_HERE}/lightcurve.json", light_curve, params=Drawing),
    Page("GET", f"{_HERE}/lightcurve.csv", points, params=Which),
    Page("GET", "/lab/cutouts/{survey}/{candid}/{cutout}/{file_format}", cutout, params=CutoutPath),
)
