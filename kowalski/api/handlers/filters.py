"""Users' filters."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.filters import Change, FilterPath, NewVersion, Replay, ToExplain, Trial
from kowalski.api.state import SERVICES, USER


async def post(request: web.Request, wanted: NewVersion) -> web.StreamResponse:
    """Add a filter, or a new version of one, which becomes the active one; it is tried on the newest alert first."""
    message, version = await request.app[SERVICES].filters.post(wanted, request[USER])
    return await success(request, message, version)


async def patch(request: web.Request, change: Change) -> web.StreamResponse:
    """Change what goes with a filter, or which of its versions is active."""
    changed = await request.app[SERVICES].filters.patch(change, request[USER])
    return await success(request, f"Updated filter id {change.filter_id}", changed)


async def get(request: web.Request, path: FilterPath) -> web.StreamResponse:
    """A filter with all its versions."""
    found = await request.app[SERVICES].filters.get(path.filter_id, request[USER])
    return await success(request, f"Retrieved filter id {path.filter_id}", found)


async def remove(request: web.Request, path: FilterPath) -> web.StreamResponse:
    """Remove a filter."""
    await request.app[SERVICES].filters.remove(path.filter_id, request[USER])
    return await success(request, f"Removed filter id {path.filter_id}")


async def test(request: web.Request, path: FilterPath, trial: Trial) -> web.StreamResponse:
    """Run a version of a filter over stored alerts: each is seen as it was known at its time."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        found = await services.filters.test(path.filter_id, trial, user)
        return await success(request, "filter test successful", found)


async def explain(request: web.Request, path: FilterPath, asked: ToExplain) -> web.StreamResponse:
    """Why an alert passes a filter or not: stage by stage, down to the condition that rejected it and the value it met."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        return await success(request, "filter explained", await services.filters.explain(path.filter_id, asked, user))


async def replay(request: web.Request, path: FilterPath, asked: Replay) -> web.StreamResponse:
    """What a version of a filter makes of past alerts, what its stages cost, and how another version differs."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        return await success(request, "filter replayed", await services.filters.replay(path.filter_id, asked, user))


async def status(request: web.Request, path: FilterPath) -> web.StreamResponse:
    """How a filter does: what it saw and passed night by night, how long it takes, and whether it is left alone."""
    found = await request.app[SERVICES].filters.status(path.filter_id, request[USER])
    return await success(request, f"Status of filter id {path.filter_id}", found)
