"""Image cutouts of alerts."""

from aiohttp import web

from kowalski.api.models.cutouts import CutoutPath
from kowalski.api.services.reads import Reads
from kowalski.api.state import SERVICES, USER


async def get(request: web.Request, asked: CutoutPath) -> web.StreamResponse:
    """A cutout as a FITS file, or as a picture of 168 x 168 pixels."""
    services = request.app[SERVICES]
    file = await services.cutouts.file(asked, Reads(services.database, request[USER]))
    headers = {"Cache-Control": "private, max-age=86400"}  # alerts never change
    if file.content_type == "image/fits":
        headers["Content-Disposition"] = f"Attachment;filename={file.name}"
    return web.Response(body=file.content, content_type=file.content_type, headers=headers)
