"""The cockpit: how everything stands, and goes on to stand as one looks at it."""

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from aiohttp import web

from kowalski.api.models.fields import Body
from kowalski.api.services import standing
from kowalski.api.services.cockpit import Now
from kowalski.api.state import SERVICES
from kowalski.errors import DatabaseError, KowalskiError
from kowalski.lab.entrance import session_of
from kowalski.lab.plot_looks import sent
from kowalski.lab.rendering import fragment, page
from kowalski.lab.throughput import plot

#: s between two looks
BEAT = 2.0
#: the parts of the page that are sent anew, each a template of its own
PARTS = (
    "alarms",
    "surveys",
    "latency",
    "stages",
    "models",
    "streams",
    "outbox",
    "quarantine",
    "ledger",
    "disk",
    "programs",
)
#: those that need little room, and share a line where there is enough
SMALL = frozenset({"latency", "stages", "models", "outbox", "quarantine", "ledger", "disk"})
#: share of a disk from which on it is an alarm
NEARLY_FULL = 0.9
ENDING = web.AppKey("lab_streams_end", asyncio.Event)


class Look(Body):
    """How a plot is to look."""

    theme: Literal["light", "dark"] = "light"


async def show(request: web.Request) -> web.StreamResponse:
    """The page, as things stand now; a script keeps it so."""
    return page(request, "status.html", plots=True, parts=PARTS, small=SMALL, **await _context(request))


async def throughput(request: web.Request, look: Look) -> web.StreamResponse:
    """The alerts stored over the last hour, as a plot."""
    rates = await standing.throughput(request.app[SERVICES].database)
    return await sent(partial(plot, rates, look.theme, datetime.now(UTC)))


async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: every `BEAT` s the parts of the page that have changed, as HTML by their names.

    The stream ends when the one who watches is logged out, or is no admin any more, and when the server stops.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    sent: dict[str, str] = {}
    ending = request.app[ENDING]
    while not ending.is_set():
        try:
            (await session_of(request)).user.require_admin()
            context = await _context(request)
        except KowalskiError:  # the page that is loaded anew says what it is
            break
        shown = {name: fragment(f"status/{name}.html", **context) for name in PARTS}
        changed = {name: html for name, html in shown.items() if sent.get(name) != html}
        sent = shown
        data = json.dumps({"at": f"{context['now'].at:%H:%M:%S}", "parts": changed})
        try:
            await response.write(f"data: {data}\n\n".encode())
        except ConnectionError:  # nobody watches any more
            break
        try:
            await asyncio.wait_for(ending.wait(), BEAT)
        except TimeoutError:
            continue
    return response


def end_streams_with(app: web.Application) -> None:
    """Streams end when the application does, which would wait for them."""
    app[ENDING] = asyncio.Event()

    async def end(app: web.Application) -> None:
        app[ENDING].set()

    app.on_shutdown.append(end)


async def _context(request: web.Request) -> dict[str, Any]:
    services = request.app[SERVICES]
    now, problem = await services.cockpit.now(), ""
    try:
        books = await services.cockpit.books()
    except DatabaseError as error:
        books, problem = None, str(error)
    return {
        "now": now,
        "books": books,
        "books_problem": problem,
        "max_quarantine": services.quarantine_bytes,
        "alarms": _alarms(now, books),
    }


def _alarms(now: Now, books: dict[str, Any] | None) -> list[str]:
    """What has to be looked after, the worst first."""
    said = [f"can't be read: {each}" for each in now.missing]
    if books and books["balance"]:
        said.append(
            f"{books['balance']} messages of the night {books['night']} are unaccounted for: ./kowalski.py ledger {books['night']}"
        )
    if now.quarantine_alarm:
        said.append(now.quarantine_alarm)
    for survey, stands in now.surveys.items():
        said += [f"{survey}: no score of {name}: {why}" for name, why in stands.model_problems.items()]
        said += [_of_breaker(each) for each in stands.open_breakers]
        if survey in now.work and not now.work[survey].workers:
            said.append(f"{survey} has no worker")
    said += [
        f"{each.failed} messages of lane {each.name} were refused: ./kowalski.py outbox"
        for each in now.lanes
        if each.failed
    ]
    if any(poster["ailing"] for poster in now.posters):
        said.append("SkyPortal does not take messages: they wait, and are sent when it does")
    if now.disk is not None and now.disk.total and now.disk.used > NEARLY_FULL * now.disk.total:
        said.append(f"MongoDB's disk is {now.disk.used / now.disk.total:.0%} full")
    return said


def _of_breaker(each: dict[str, Any]) -> str:
    return f"filter {each['filter_id']} is left alone until {each['until']:%H:%M:%S}: {each['reason']}"
