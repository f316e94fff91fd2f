"""Nights: as people write them, and the one that an alert belongs to."""

from contextlib import suppress
from datetime import UTC, date, datetime
from math import floor

from kowalski.alerts.survey import Survey
from kowalski.errors import StreamError

#: Julian day number of the day before 1 January of the year 1, from which `date` counts
BEFORE_THE_FIRST = 1_721_425


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


def night_of_alert(survey: Survey, topic: str | None, jd: float, longitude: float | None = None) -> date:
    """The night of an alert: its topic's, where that names one, else that of its candidate's jd, from noon to noon.

    Parameters
    ----------
    longitude : of the telescope, deg east; noon is that of its mean local time. None: noon in UTC
    """
    if topic and (named := survey.night_of(topic)):
        with suppress(StreamError):
            return night_from(named)
    return date.fromordinal(floor(jd + (longitude or 0.0) / 360) - BEFORE_THE_FIRST)
