"""Guessing passwords takes long: after some failures, each further one doubles the time until the next try."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil

from kowalski.api.errors import BadRequest, TooMany
from kowalski.database.logins import Logins

#: failures of one name from one address that cost nothing, and of one name from anywhere
FREE, FREE_FROM_ANYWHERE = 5, 100
#: s to wait at most
LONGEST = 300
#: logins that wait in a process for their turn, and those of one address among them: penquins gives up after 5 s,
#: and one takes a quarter of a second
QUEUE, QUEUE_OF_ONE = 24, 16


class Throttle:
    """Counts failed logins by name and address, and by name alone against guesses from many addresses."""

    def __init__(self, logins: Logins):
        self.logins = logins
        self._turn = asyncio.Lock()
        self._queued: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, username: str, address: str) -> AsyncIterator[None]:
        """Nobody else's password is checked by this process as long as the context lasts.

        So that of many guesses sent at once each waits for those before it to be counted.

        Raises
        ------
        BadRequest : the next try with this name has to wait
        TooMany : too many logins are under way
        """
        await self._require_free(username, address)
        if self._queued.total() >= QUEUE or self._queued[address] >= QUEUE_OF_ONE:
            raise TooMany("many logins are under way: try again")
        self._queued[address] += 1
        try:
            async with self._turn:
                await self._require_free(username, address)
                yield
        finally:
            self._queued -= Counter([address])  # and what is 0 is gone

    async def failed(self, username: str, address: str) -> None:
        """A password was wrong."""
        await self.logins.failed([_from_there(username, address), _from_anywhere(username)])

    async def succeeded(self, username: str, address: str) -> None:
        """A password was right: what failed before from there was a slip of the pen."""
        await self.logins.succeeded(_from_there(username, address))

    async def _require_free(self, username: str, address: str) -> None:
        free = {_from_there(username, address): FREE, _from_anywhere(username): FREE_FROM_ANYWHERE}
        failures = await self.logins.failures(list(free))
        wait = max((waiting(count, free[key]) - ago for key, (count, ago) in failures.items()), default=0.0)
        if wait > 0:
            raise BadRequest(f"too many failed logins: try again in {ceil(wait)} s")


def waiting(failures: int, free: int) -> float:
    """s from the last of so many failures until the next try, when ``free`` of them cost nothing."""
    return 0.0 if failures < free else min(2.0 ** min(failures - free, 20), LONGEST)


def _from_there(username: str, address: str) -> str:
    return f"{address} {username}"[:1000]


def _from_anywhere(username: str) -> str:
    return f"* {username}"[:1000]
