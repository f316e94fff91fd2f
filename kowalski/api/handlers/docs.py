"""The documentation: an OpenAPI document, and a page that shows it, with all that it needs."""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from kowalski.api.state import DOCUMENT

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Kowalski's API</title><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"></head>
<body><redoc spec-url="/docs/api/openapi.json" hide-download-button sort-props-alphabetically></redoc>
<script src="/docs/api/redoc.js"></script>
<noscript>This page needs JavaScript; the description itself is <a href="/docs/api/openapi.json">openapi.json</a>.</noscript>
</body></html>
"""
#: ReDoc styles its page by itself, and searches in a worker made of a blob; nothing comes from elsewhere
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def page(request: web.Request) -> web.StreamResponse:
    """This documentation, to be read in a browser."""
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(text=PAGE, content_type="text/html", headers=headers)


async def document(request: web.Request) -> web.StreamResponse:
    """This documentation in OpenAPI 3.1."""
    return web.Response(text=json.dumps(request.app[DOCUMENT]), content_type="application/json")


async def script(request: web.Request) -> web.StreamResponse:
    """The program that draws the page: ReDoc."""
    return web.FileResponse(_redoc(), headers={"Content-Type": "text/javascript", "Cache-Control": "max-age=86400"})


@cache
def _redoc() -> Path:
    """ReDoc's one file, which the package aiohttp-swagger3 carries."""
    spec = find_spec("aiohttp_swagger3")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package aiohttp-swagger3, which brings ReDoc, is not installed")
    return Path(spec.origin).parent / "redoc_ui" / "redoc.standalone.js"
