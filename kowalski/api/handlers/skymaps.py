"""Sky maps of events."""

import json

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.skymaps import NewSkymap, SkymapQuery, SkymapToRemove
from kowalski.api.services.skymaps import KnownSkymap
from kowalski.api.state import SERVICES


async def put(request: web.Request, wanted: NewSkymap) -> web.StreamResponse:
    """Store a sky map with contours of its credible regions, or add contours to one that is stored."""
    try:
        message, told = await request.app[SERVICES].skymaps.add(wanted)
    except KnownSkymap as known:
        told = {"status": "already_exists", "message": str(known), "data": known.data}
        return web.Response(status=known.http_status, text=json.dumps(told), content_type="application/json")
    return await success(request, message, told)


async def get(request: web.Request, asked: SkymapQuery) -> web.StreamResponse:
    """A stored sky map with its contours."""
    return await success(request, "retrieved skymap", await request.app[SERVICES].skymaps.get(asked))


async def remove(request: web.Request, asked: SkymapToRemove) -> web.StreamResponse:
    """Remove a stored sky map."""
    return await success(request, f"deleted {await request.app[SERVICES].skymaps.remove(asked)} skymap")
