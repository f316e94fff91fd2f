"""What a request brings to say who asks."""

import re

from aiohttp import web

from kowalski.api.errors import Unauthorized


def token_of(request: web.Request) -> str:
    """The token in a request's header, bare or after ``Bearer``; raises `Unauthorized` where there is none."""
    header = request.headers.get("Authorization", "").strip()
    if not header:
        raise Unauthorized
    return re.sub(r"^bearer\b\s*", "", header, flags=re.IGNORECASE)
