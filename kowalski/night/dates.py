"""Nights as people write them."""

from contextlib import suppress
from datetime import UTC, date, datetime

from kowalski.errors import StreamError


def night_from(text: str) -> date:
    """The night that YYYYMMDD or YYYY-MM-DD names.

    Raises
    ------
    StreamError : it names none
    """
    for form in ("%Y%m%d", "%Y-%m-%d"):
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC).date()
    raise StreamError(f"{text} is not a night: give YYYYMMDD or YYYY-MM-DD")
