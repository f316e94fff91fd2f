"""How many queries of one user run at a time, on all processes of this machine together."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kowalski.api.errors import TooMany
from kowalski.api.services.rights import User
from kowalski.api.shared import Shared

#: s between looks at what other processes have ended; what ends in this one lets the next in at once
LOOK = 0.02

Turn = asyncio.Future[None]


class Limits:
    """Lets ``at_once`` queries of a user run; more wait in order of their arrival, up to ``patience`` s.

    Where several processes have some waiting, each keeps its share of the running ones and leaves the rest to the others.
    """

    def __init__(self, shared: Shared, at_once: int, patience: float):
        self.shared = shared
        self.at_once = at_once
        self.patience = patience
        self._queues: dict[str, deque[Turn]] = {}

    @asynccontextmanager
    async def slot(self, user: User) -> AsyncIterator[None]:
        """A query of the user runs as long as the context lasts.

        Raises
        ------
        TooMany : none of those that run has ended in time
        """
        name = user.name
        if name in self._queues or self.shared.running(name) >= self.at_once:
            await self._wait(name)
        else:
            self.shared.begin(name)
        try:
            yield
        finally:
            self._end(name)

    async def _wait(self, name: str) -> None:
        """Return when a query may run, which then counts as running."""
        loop = asyncio.get_running_loop()
        if name not in self._queues:
            self._queues[name] = deque()
            self.shared.wait(name, True)
            loop.call_later(LOOK, self._look, name)
        turn: Turn = loop.create_future()
        self._queues[name].append(turn)
        text = f"{self.at_once} of your queries are running: try again when one of them has ended"
        expiry = loop.call_later(self.patience, _expire, turn, text)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._end(name)  # let in and called off at the same moment
            raise
        finally:
            expiry.cancel()

    def _end(self, name: str) -> None:
        """A query has ended: the next of this process runs in its place, unless others have less than their share."""
        if not (self.shared.running_here(name) <= self.at_once // self.shared.contenders(name) and self._let_in(name)):
            self.shared.end(name)

    def _look(self, name: str) -> None:
        """Take what other processes have left, as long as anybody waits."""
        while name in self._queues and self.shared.running(name) < self.at_once:
            self.shared.begin(name)
            if not self._let_in(name):
                self.shared.end(name)
        if name in self._queues:
            asyncio.get_running_loop().call_later(LOOK, self._look, name)

    def _let_in(self, name: str) -> bool:
        """Whether somebody waited: who has waited longest may run."""
        queue = self._queues.get(name, deque())
        while queue:
            turn = queue.popleft()
            if not queue:
                del self._queues[name]
                self.shared.wait(name, False)
            if not turn.done():
                turn.set_result(None)
                return True
        return False


def _expire(turn: Turn, text: str) -> None:
    if not turn.done():
        turn.set_exception(TooMany(text))
