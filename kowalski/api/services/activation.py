"""What a new version of a filter would have let through last night: too much is said, or refused."""

import asyncio

from kowalski.api.errors import BadRequest
from kowalski.api.services.filter_trials import GRACE
from kowalski.api.services.replays import Replays
from kowalski.database.filter_store import FilterStore
from kowalski.database.queries import Document
from kowalski.errors import KowalskiError
from kowalski.filters.sight import Sight
from kowalski.log import get_logger
from kowalski.settings import Filters

log = get_logger(__name__)

#: s that a look may take in the background, and while the client waits
LOOK, GLANCE = 600.0, 1.5
#: looks at once
AT_ONCE = 2


class ActivationGuard:
    """Looks at what is activated: always in the background, and beforehand where too much is to be refused."""

    def __init__(self, replays: Replays, store: FilterStore, settings: Filters):
        self.replays = replays
        self.store = store
        self.settings = settings
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._looks: set[asyncio.Task[None]] = set()

    async def require(self, sight: Sight, stages: list[Document], seconds: float) -> None:
        """Raise `BadRequest` where too much would pass, as far as can be seen in the time that there is."""
        if self.settings.activation_guard != "refuse":
            return
        try:
            allowed = max(0.1, min(GLANCE, seconds))
            seen = await asyncio.wait_for(self.replays.share(sight, stages, allowed), allowed + GRACE)
        except (KowalskiError, TimeoutError) as error:
            log.warning("a filter could not be looked at: %r", error)
            return
        if seen is not None and seen["share"] > self.settings.activation_share:
            raise BadRequest(f"{self._warning(seen)} (filters.activation_guard)")

    def look(self, filter_id: int, fid: str, sight: Sight, stages: list[Document]) -> None:
        """Begin to look at a version that was activated; what is seen stands in the filter's status."""
        task = asyncio.create_task(self._look(filter_id, fid, sight, stages))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, filter_id: int, fid: str, sight: Sight, stages: list[Document]) -> None:
        try:
            async with self._turns:
                seen = await self.replays.share(sight, stages, LOOK)
                if seen is None:
                    return
                warning = self._warning(seen) if seen["share"] > self.settings.activation_share else None
                await self.store.checked(filter_id, fid, {**seen, "warning": warning})
        except KowalskiError as error:
            log.warning("filter %s, version %s could not be looked at: %s", filter_id, fid, error)

    def _warning(self, seen: Document) -> str:
        share, most = seen["share"], self.settings.activation_share
        return f"{seen['passed']} of {seen['alerts']} alerts of {seen['night']} pass: {share:.1%}, more than {most:.1%}"
