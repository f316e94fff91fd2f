"""How many queries of one user run at a time, on all processes of this machine together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from kowalski.api.errors import TooMany
from kowalski.api.services.rights import User
from kowalski.api.shared import Shared

#: s between looks at what other processes have ended; what ends in this one wakes the next at once
LOOK = 0.02


class Limits:
    """Lets ``at_once`` queries of a user run; more wait in order of their arrival, up to ``patience`` s."""

    def __init__(self, shared: Shared, at_once: int, patience: float):
        self.shared = shared
        self.at_once = at_once
        self.patience = patience
        self._queues: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def slot(self, user: User) -> AsyncIterator[None]:
        """A query of the user runs as long as the context lasts.

        Raises
        ------
        TooMany : none of those that run has ended in time
        """
        queue = self._queues.get(user.name)
        if queue is not None or self.shared.running(user.name) >= self.at_once:
            await self._wait(user.name)
        else:
            self.shared.begin(user.name)
        try:
            yield
        finally:
            self.shared.end(user.name)
            self._ended.set()

    async def _wait(self, name: str) -> None:
        queue = self._queues.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(self.patience), queue:
                while self.shared.running(name) >= self.at_once:
                    self._ended.clear()
                    await _either(self._ended, LOOK)
                self.shared.begin(name)
        except TimeoutError:
            raise TooMany(f"{self.at_once} of your queries are running: try again when one of them has ended") from None


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Return when something has happened, or after a while."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
