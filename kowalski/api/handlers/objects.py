"""Objects and surveys."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.objects import ObjectPath
from kowalski.api.services.objects import read_object, read_surveys
from kowalski.api.services.reads import Reads
from kowalski.api.state import SERVICES, USER


async def get(request: web.Request, path: ObjectPath) -> web.StreamResponse:
    """An object: its merged light curve, latest alert, matches with catalogues, and classifications."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        found = await read_object(path.survey, path.object_id, Reads(services.database, user), services.bands)
    return await success(request, f"retrieved {path.survey.lower()} object {path.object_id}", found)


async def surveys(request: web.Request) -> web.StreamResponse:
    """The surveys, and what the user sees of each."""
    services = request.app[SERVICES]
    found = await read_surveys(Reads(services.database, request[USER]), services.bands)
    return await success(request, "retrieved surveys", found)
