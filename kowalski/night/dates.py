"""Nights as people write them, and the night that an alert belongs to."""

from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from math import floor

from kowalski.alerts.survey import Survey
from kowalski.errors import StreamError

#: JD of the noon of a day is its ordinal plus this
NOON = 1_721_425
#: nights of nonsensical jds: the years that are written with four digits
EARLIEST, LATEST = date(1000, 1, 1), date.max


@lru_cache
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


def night_of_alert(survey: Survey, topic: str, jd: float, longitude: float | None = None) -> date:
    """The night of an alert: its topic's where that names one, else that of its jd, from noon to noon, by the day on which it begins.

    Parameters
    ----------
    topic : the topic that brought it
    jd : d, UTC, of its candidate; finite
    longitude : deg, east positive, of the site whose mean noon is meant; None: noon UTC
    """
    if (named := survey.night_of(topic)) is not None:
        with suppress(StreamError):  # eight digits that are no date
            return night_from(named)
    days = floor(jd + (longitude or 0.0) / 360) - NOON
    return date.fromordinal(min(max(days, EARLIEST.toordinal()), LATEST.toordinal()))
