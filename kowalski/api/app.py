"""The application: one per gunicorn worker."""

import asyncio
import gc
from collections.abc import AsyncIterator

from aiohttp import web

from kowalski.api.errors import errors_as_json
from kowalski.api.metrics import measured
from kowalski.api.openapi import make_document
from kowalski.api.routes import ROUTES, add_routes
from kowalski.api.sending import LARGEST
from kowalski.api.shared import Shared
from kowalski.api.state import DOCUMENT, SERVICES, Services
from kowalski.lab.pages import add_pages
from kowalski.settings import Config

#: s that a worker waits for MongoDB before it takes requests: of several, none refuses a login that another would take
HEAD_START = 5.0


def make_app(config: Config, shared: Shared) -> web.Application:
    """An application for a configuration; it answers soon, and is ready when MongoDB is."""
    app = web.Application(middlewares=[measured, errors_as_json], client_max_size=config.server.client_max_size)

    async def services(app: web.Application) -> AsyncIterator[None]:
        app[SERVICES] = made = Services.of(config, shared)
        preparing = asyncio.create_task(made.prepare())
        await asyncio.wait({preparing}, timeout=HEAD_START)
        gc.freeze()  # what is here now stays: the collector need not look at it again while requests wait
        yield
        preparing.cancel()
        made.close()

    app.cleanup_ctx.append(services)
    add_routes(app)
    add_pages(app)
    app[LARGEST] = config.server.max_answer_size
    app[DOCUMENT] = make_document(ROUTES, config.server)
    return app
