"""The root: is anybody there, and does he know me?"""

from aiohttp import web

from kowalski.api.answers import success


async def greet(request: web.Request) -> web.StreamResponse:
    """A greeting for whoever has a valid token."""
    return await success(request, "greetings from Kowalski!")
