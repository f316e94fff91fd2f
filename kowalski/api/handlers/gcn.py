"""Events that notices of the General Coordinates Network told of."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.gcn import EventPath, WhichEvents
from kowalski.api.state import SERVICES, USER


async def show_all(request: web.Request, which: WhichEvents) -> web.StreamResponse:
    """Events, the latest noticed first, each with how many alerts lie in its sky map."""
    found = await request.app[SERVICES].gcn.latest(request[USER], which.limit, which.skip)
    return await success(request, "retrieved events", found)


async def show(request: web.Request, path: EventPath) -> web.StreamResponse:
    """An event with its notices and the recent alerts in its sky map, the most probable first."""
    found = await request.app[SERVICES].gcn.event(path.event, request[USER])
    return await success(request, f"retrieved event {path.event}", found)
