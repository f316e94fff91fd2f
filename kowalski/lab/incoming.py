"""What pages read of the requests for them."""

from typing import Annotated

from aiohttp import web
from pydantic import BeforeValidator

from kowalski.api.state import SERVICES

#: a field of a form or a query string; of one that is given several times, the last
Text = Annotated[str, BeforeValidator(lambda value: value[-1] if isinstance(value, list) else value)]


def scheme_of(request: web.Request) -> str:
    """``http`` or ``https``, as the browser speaks it."""
    said = request.headers.getall("X-Forwarded-Proto", [])
    return request.app[SERVICES].proxies.scheme(request.scheme, request.remote, said)


def origin_of(request: web.Request) -> str:
    """Scheme and host by which the browser reaches the API."""
    return f"{scheme_of(request)}://{request.host}"
