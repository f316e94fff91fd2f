"""What SkyPortal has got from others than this outbox, learnt in bulk instead of by asking for every alert."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.skyportal.client import SkyPortal

#: how far back the first look goes; older objects are found when one of their alerts passes
FIRST_LOOK = timedelta(days=365)
#: asked for at once, so that no single question is heavy
WINDOW = timedelta(days=10)
#: looked at twice: a candidate may be stored after its time of passing, and clocks differ
OVERLAP = timedelta(hours=1)


def refresh(client: SkyPortal, objects: SkyPortalObjects, may_continue: Callable[[], bool]) -> int:
    """Add the objects that became candidates since the last refresh; how many were new to us.

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
        for object_ids in client.candidates_between(start, end):
            added += objects.add(object_ids, "refreshed")
        objects.refreshed(end)
        start = end
    return added
