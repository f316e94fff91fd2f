"""Personal tokens: each can be taken back by itself."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.tokens import NewToken, TokenPath
from kowalski.api.state import SERVICES, SESSION, USER


async def add(request: web.Request, wanted: NewToken) -> web.StreamResponse:
    """Make a personal token; its text is shown this once."""
    token = await request.app[SERVICES].personal_tokens.add(request[SESSION], wanted)
    return await success(request, "added token: it is not shown again", token)


async def show_all(request: web.Request) -> web.StreamResponse:
    """The user's personal tokens, without their texts."""
    return await success(
        request, "retrieved tokens", await request.app[SERVICES].personal_tokens.of(request[USER].name)
    )


async def remove(request: web.Request, path: TokenPath) -> web.StreamResponse:
    """Take a personal token back."""
    await request.app[SERVICES].personal_tokens.remove(request[USER].name, path.token_id)
    return await success(request, f"removed token {path.token_id}")
