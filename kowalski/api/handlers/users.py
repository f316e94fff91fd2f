"""Users, for the admin; anybody may look at himself."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.users import Edit, NewUser, UserPath
from kowalski.api.state import SERVICES, USER


async def add(request: web.Request, user: NewUser) -> web.StreamResponse:
    """Add a user."""
    await request.app[SERVICES].accounts.add(user)
    return await success(request, f"added user {user.username}")


async def show_all(request: web.Request) -> web.StreamResponse:
    """All users with their rights."""
    return await success(request, "retrieved users", await request.app[SERVICES].accounts.users.all())


async def show(request: web.Request, path: UserPath) -> web.StreamResponse:
    """One user with his rights; of others than himself only for the admin."""
    if path.username != request[USER].name:
        request[USER].require_admin()
    user = await request.app[SERVICES].accounts.show(path.username)
    return await success(request, f"retrieved user {path.username}", user)


async def edit(request: web.Request, path: UserPath, changes: Edit) -> web.StreamResponse:
    """Change a user's name, password, email, permissions or groups, or end his tokens."""
    await request.app[SERVICES].accounts.edit(path.username, changes)
    return await success(request, f"edited user {path.username}")


async def remove(request: web.Request, path: UserPath) -> web.StreamResponse:
    """Remove a user; his tokens end."""
    await request.app[SERVICES].accounts.remove(path.username)
    return await success(request, f"removed user {path.username}")
