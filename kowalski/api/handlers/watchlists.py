"""Watchlists of groups."""

from collections.abc import AsyncIterator

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.watchlists import Lists, NewWatchlist, Replacement, WatchlistPath, WatchlistRows
from kowalski.api.state import SERVICES, USER


async def show_all(request: web.Request, asked: Lists) -> web.StreamResponse:
    """The lists of the user's groups."""
    return await success(
        request, "retrieved watchlists", await request.app[SERVICES].watchlists.all(asked, request[USER])
    )


async def add(request: web.Request, wanted: NewWatchlist, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Make a list of a file: CSV or a FITS table with a column objectId, or with ra and dec (deg), or a MOC.

    It is there once all of it is stored; of a file that is refused nothing is.
    """
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        made = await services.watchlists.add(wanted, pieces, user)
        return await success(request, f"added watchlist {wanted.name} with {made['rows']} rows", made)


async def show(request: web.Request, asked: WatchlistRows) -> web.StreamResponse:
    """A list and some of its rows."""
    found = await request.app[SERVICES].watchlists.show(asked, request[USER])
    return await success(request, f"retrieved watchlist {found['name']}", found)


async def replace(request: web.Request, wanted: Replacement, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Put another file in a list's place: filters see the old rows until all new ones are stored, and then these."""
    services, user = request.app[SERVICES], request[USER]
    async with services.limits.slot(user):
        made = await services.watchlists.replace(wanted, pieces, user)
        return await success(request, f"replaced watchlist {made['name']} with {made['rows']} rows", made)


async def remove(request: web.Request, path: WatchlistPath) -> web.StreamResponse:
    """Remove a list that no filter declares."""
    name = await request.app[SERVICES].watchlists.remove(path.list_id, request[USER])
    return await success(request, f"removed watchlist {name}")
