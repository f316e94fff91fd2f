"""The header by which a server says how long it wants to be left alone (RFC 9110, 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: s that a date asks for at least, as clocks differ
LEAST = 1.0


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as such or as a date; None: it asks for nothing that can be read."""
    if value is None:
        return None
    if value.isdigit():
        return float(value)
    try:
        return max(LEAST, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
