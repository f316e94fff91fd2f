"""Watchlists: made of what is uploaded, shown, replaced and removed, by members of their groups."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.models.watchlists import Content, Lists, NewWatchlist, Replacement, WatchlistRows
from kowalski.api.services.rights import User
from kowalski.database.watchlist_store import BEAT, Document, WatchlistStore
from kowalski.errors import DatabaseError, KowalskiError
from kowalski.log import get_logger
from kowalski.watchlists.child import read
from kowalski.watchlists.grids import RADIUS
from kowalski.watchlists.rows import Wanted

log = get_logger(__name__)

#: uploads that a process reads at once; others wait
AT_ONCE = 2
#: lists that a filter may declare
MOST_DECLARED = 10


class KnownWatchlist(KowalskiError):
    """The group has a list of this name."""

    http_status = 409


class WatchlistService:
    """Changes lists on behalf of users: the admin all, others those of their groups, which alone exist for them."""

    def __init__(self, store: WatchlistStore):
        self.store = store
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tidying: set[asyncio.Task[None]] = set()

    async def all(self, asked: Lists, user: User) -> list[Document]:
        """The lists of a user's groups."""
        condition: Document = {} if user.is_admin else {"group_id": {"$in": sorted(user.groups)}}
        if asked.group_id is not None:
            condition = {"$and": [condition, {"group_id": asked.group_id}]}
        if asked.name is not None:
            condition["name"] = asked.name
        return [_told(each) for each in await self.store.find(condition)]

    async def show(self, asked: WatchlistRows, user: User) -> Document:
        """A list with some of its rows."""
        found = await self._get(asked.list_id, user)
        rows = await self.store.first_rows(found["version"], asked.skip, asked.limit) if asked.limit else []
        return _told(found) | {"first": [_row(each) for each in rows]}

    async def add(self, wanted: NewWatchlist, pieces: AsyncIterator[bytes], user: User) -> Document:
        """A new list.

        Raises
        ------
        BadRequest : the user is not in the group
        KnownWatchlist : there is one of the name
        WatchlistError : the file can't be read, or a row is wrong
        """
        group, name = wanted.group_id, wanted.name
        if not (user.is_admin or group in user.groups):
            raise BadRequest(f"you are not in group {group}")
        known = KnownWatchlist(f"group {group} has a watchlist {name}: PUT replaces it")
        if await self.store.find({"group_id": group, "name": name}):
            raise known
        made = await self._upload(wanted, group, name, RADIUS, pieces, user, new=True)
        if made is None:
            raise known
        return made

    async def replace(self, wanted: Replacement, pieces: AsyncIterator[bytes], user: User) -> Document:
        """A list of other rows in place of one; raises as `add`."""
        found = await self._get(wanted.list_id, user)
        made = await self._upload(wanted, found["group_id"], found["name"], found["radius"], pieces, user, new=False)
        if made is None:
            raise BadRequest(f"watchlist {found['name']} was removed meanwhile: POST makes it anew")
        return made

    async def remove(self, list_id: str, user: User) -> str:
        """A list is gone; its name.

        Raises
        ------
        BadRequest : filters declare it
        """
        found = await self._get(list_id, user)
        if users := await self.store.users_of(found["group_id"], found["name"]):
            raise BadRequest(
                f"filter {', '.join(map(str, users))} declares watchlist {found['name']}: change the filter first"
            )
        await self.store.remove(list_id)
        return str(found["name"])

    async def named(self, group_id: int, given: list[str]) -> list[str]:
        """The names of a group's lists, given as names or ids.

        Raises
        ------
        BadRequest : the group has no such list, or they are too many
        """
        if not given:
            return []
        lists = await self.store.find({"group_id": group_id})
        names = [each["name"] for each in lists]
        by_id = {each["_id"]: each["name"] for each in lists}
        if missing := [each for each in given if each not in names and each not in by_id]:
            raise BadRequest(
                f"watchlists: group {group_id} has no {', '.join(missing)[:200]}; it has {', '.join(names)[:500] or 'none'}"
            )
        found = list(dict.fromkeys(each if each in names else by_id[each] for each in given))
        if len(found) > MOST_DECLARED:
            raise BadRequest(f"watchlists: a filter may declare {MOST_DECLARED} at most")
        return found

    async def _get(self, list_id: str, user: User) -> Document:
        found = await self.store.find({"_id": list_id})
        if not found or not (user.is_admin or found[0]["group_id"] in user.groups):
            raise BadRequest(f"watchlist {list_id} not found: GET /api/watchlists tells those of your groups")
        return found[0]

    async def _upload(
        self,
        wanted: Content,
        group: int,
        name: str,
        radius: float,
        pieces: AsyncIterator[bytes],
        user: User,
        *,
        new: bool,
    ) -> Document | None:
        """A list with the rows of a file; None where there is one that should not be."""
        async with self._places:
            list_id, version = await self.store.begin(group, name)
            beating = asyncio.create_task(self._beat(list_id, version))
            try:
                own = Wanted(list_id, str(version), wanted.kind, wanted.radius or radius)
                told = await read(pieces, own, self.store.write)
                made = await self.store.finish(list_id, version, {**told, "made_by": user.name}, new)
            except BaseException:
                await self._give_up(list_id, version)
                raise
            finally:
                beating.cancel()
            if made is None:
                await self._give_up(list_id, version)
                return None
            self._tidy()
            return _told(made)

    async def _beat(self, list_id: str, version: Any) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with suppress(DatabaseError):
                await self.store.beat(list_id, version)

    async def _give_up(self, list_id: str, version: Any) -> None:
        try:
            await self.store.give_up(list_id, version)
        except DatabaseError as error:  # its mark stays, and the next upload of the list finds it
            log.warning("watchlist %s: %s", list_id, error)

    def _tidy(self) -> None:
        """Begin to remove what no list needs any more, dead uploads' rows too; where that fails the next upload does it."""

        async def tidy() -> None:
            try:
                await self.store.tidy_all()
            except DatabaseError as error:
                log.warning("watchlists: %s", error)

        task = asyncio.create_task(tidy())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)


def _told(found: Document) -> Document:
    """A list as users see it."""
    shown = ("name", "group_id", "kind", "radius", "rows", "columns", "made_by", "made_at", "at")
    return {"id": found["_id"], **{name: found.get(name) for name in shown}, "version": str(found["version"])}


def _row(row: Document) -> Document:
    """A row as users see it: of a region the number of its ranges alone."""
    if "ranges" in row:
        return {"row": row["_id"]["row"], "ranges": len(row["ranges"]) // 16}
    longitude, dec = row["coordinates"]["radec_geojson"]["coordinates"] if "coordinates" in row else (None, None)
    place = {"ra": longitude + 180.0, "dec": dec} if longitude is not None else {}
    own = {name: row[name] for name in ("id", "radius") if name in row}
    return {"row": row["_id"]["row"], **own, **place, **row["columns"]}
