"""Guessing passwords takes long: after some failures, each further one doubles the time until the next try."""

from datetime import UTC, datetime

from kowalski.api.errors import BadRequest
from kowalski.database.logins import Logins

#: failures of one name from one address that cost nothing, and of one name from anywhere
FREE, FREE_FROM_ANYWHERE = 5, 100
#: s to wait at most
LONGEST = 300


class Throttle:
    """Counts failed logins by name and address, and by name alone against guesses from many addresses."""

    def __init__(self, logins: Logins):
        self.logins = logins

    async def require_free(self, username: str, address: str) -> None:
        """Raise `BadRequest` while the next try has to wait."""
        keys = _keys(username, address)
        failures = await self.logins.failures(list(keys))
        waits = [_wait(*failures[key], free) for key, free in keys.items() if key in failures]
        if waits and (wait := max(waits)) > 0:
            raise BadRequest(f"too many failed logins: try again in {int(wait) + 1} s")

    async def failed(self, username: str, address: str) -> None:
        """A password was wrong."""
        await self.logins.failed(list(_keys(username, address)))

    async def succeeded(self, username: str, address: str) -> None:
        """A password was right: what failed before from there was a slip of the pen."""
        await self.logins.succeeded([next(iter(_keys(username, address)))])


def _keys(username: str, address: str) -> dict[str, int]:
    """Under what a login is counted, and how many failures are free there."""
    return {f"{address} {username}"[:1000]: FREE, f"* {username}"[:1000]: FREE_FROM_ANYWHERE}


def _wait(failures: int, last: datetime, free: int) -> float:
    """s until the next try."""
    if failures < free:
        return 0.0
    waiting = min(2.0 ** min(failures - free, 20), LONGEST)
    return waiting - (datetime.now(UTC) - last).total_seconds()
