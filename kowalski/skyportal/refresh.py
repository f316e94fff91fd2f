"""What SkyPortal has got from others than this outbox, learnt in bulk instead of by asking for every alert."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain

from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.errors import SkyPortalError
from kowalski.log import get_logger
from kowalski.skyportal.client import SkyPortal

log = get_logger(__name__)

#: how far back the first look goes; older objects are found when one of their alerts passes
FIRST_LOOK = timedelta(days=365)
#: asked for at once, so that no single question is heavy
WINDOW = timedelta(days=10)
#: looked at twice: a candidate may be stored after its time of passing, and clocks differ
OVERLAP = timedelta(hours=1)


def refresh(client: SkyPortal, objects: SkyPortalObjects, may_continue: Callable[[], bool]) -> int:
    """Add the objects that became candidates or sources since the last refresh; how many were new to us.

    Progress is kept window by window, so that it resumes where it stopped.

    Raises
    ------
    SkyPortalError : SkyPortal doesn't answer; the next refresh goes on from here
    """
    now = datetime.now(UTC)
    until = objects.refreshed_until()
    start = now - FIRST_LOOK if until is None else until - OVERLAP
    added = 0
    while start < now and may_continue():
        end = min(start + WINDOW, now)
        for object_ids in chain(client.candidates_between(start, end), _sources(client, start, end)):
            added += objects.add(object_ids, "refreshed")
        objects.refreshed(end)
        start = end
    return added


def _sources(client: SkyPortal, start: datetime, end: datetime) -> Iterator[list[str]]:
    """Objects saved in an interval; none where SkyPortal refuses to list them, which must not keep us from its candidates."""
    try:
        yield from client.sources_between(start, end)
    except SkyPortalError as error:
        if error.retriable:
            raise
        log.warning("sources are not learnt: %s", error)
