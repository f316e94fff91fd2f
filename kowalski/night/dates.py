"""Nights as people write them, and the night that an alert belongs to."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from kowalski.alerts.survey import Survey
from kowalski.alerts.times import EPOCH_JD
from kowalski.errors import StreamError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: days from there to the years 1000 and 9999, within which jds are looked for
EARLIEST, LATEST = (float((datetime(year, 1, 1, tzinfo=UTC) - EPOCH).days) for year in (1000, 9999))


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


def night_of_alert(survey: Survey, topic: str | None, jd: float) -> date:
    """The night of an alert: its topic's, where that names one, else that of its jd (d, UTC), from local noon to local noon."""
    if topic and (named := survey.night_of(topic)) is not None:
        with suppress(StreamError):  # eight digits that are no date
            return night_from(named)
    return survey.night_at(moment_of(jd))


def moment_of(jd: float) -> datetime:
    """The moment (UTC) of a jd; of a nonsensical one the nearest in a year of four digits."""
    return EPOCH + timedelta(days=min(max(jd - EPOCH_JD, EARLIEST), LATEST))
