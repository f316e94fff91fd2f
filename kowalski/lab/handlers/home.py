"""The first page: where one looks for an object, and what is there."""

import asyncio

from aiohttp import web

from kowalski.api.services.passed import read_newest_passed
from kowalski.api.services.reads import Reads
from kowalski.api.state import SERVICES, USER
from kowalski.lab.addresses import object_address
from kowalski.lab.rendering import page

#: objects that passed filters last that are shown
NEWEST = 10


async def show(request: web.Request) -> web.StreamResponse:
    """The search, what the user sees of each survey, and what passed his groups' filters last."""
    services = request.app[SERVICES]
    reads = Reads(services.database, request[USER])
    sights, newest = await asyncio.gather(
        services.glance.read(reads, services.bands), read_newest_passed(reads, NEWEST)
    )
    objects = [(each, alert, object_address(each.survey, each.object_id, each.candid)) for each, alert in newest]
    return page(request, "home.html", sights=sights, newest=objects)
