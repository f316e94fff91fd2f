"""Pictures of light curves, and fits to them."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.objects import ObjectPath
from kowalski.api.services.reads import Reads
from kowalski.api.state import SERVICES, USER


async def picture(request: web.Request, path: ObjectPath) -> web.StreamResponse:
    """An object's light curve as a PNG of 990 x 616 pixels: detections, forced photometry, upper limits, and the fit of SALT2."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        drawn = await services.lightcurves.picture(path, Reads(services.database, user), services.bands)
    return web.Response(body=drawn, content_type="image/png", headers={"Cache-Control": "private, max-age=60"})


async def salt2(request: web.Request, path: ObjectPath) -> web.StreamResponse:
    """The fit of SALT2 to an object's light curve, or the reason why there is none."""
    services = request.app[SERVICES]
    found = await services.lightcurves.salt2(path, Reads(services.database, request[USER]))
    return await success(request, f"retrieved the fit of {path.survey.lower()} object {path.object_id}", found)
