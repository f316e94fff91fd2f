"""Time scales: Julian dates and moments, and what packets give in TAI, in UTC as all documents have it."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache

import erfa

#: JD of MJD 0, and of 1970-01-01, from which Unix times count
MJD_ZERO, EPOCH_JD = 2_400_000.5, 2_440_587.5
SECONDS = 86_400.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def jd_of(moment: datetime) -> float:
    """The Julian date (d, UTC) of a moment, to some 0.1 ms."""
    return moment.timestamp() / SECONDS + EPOCH_JD


def moment_of(jd: float) -> datetime | None:
    """The moment (UTC) of a Julian date (d, UTC), to some 0.1 ms; None where no calendar has it."""
    try:
        return EPOCH + timedelta(days=jd - EPOCH_JD)
    except OverflowError:
        return None


@cache
def _leap_seconds() -> tuple[list[float], list[float]]:
    """TAI (MJD) from which on it is ahead of UTC by so many seconds, from the table of the IERS that comes with astropy (ERFA)."""
    table = erfa.leap_seconds.get()
    ahead = table["tai_utc"].tolist()
    begin = [
        erfa.cal2jd(int(row["year"]), int(row["month"]), 1)[1] + seconds / SECONDS
        for row, seconds in zip(table, ahead, strict=True)
    ]
    return begin, ahead


def jd_of_tai(mjd: float) -> float:
    """JD in UTC of an MJD in TAI, to some 1e-9 d; from 1972 on, when UTC began to go in whole seconds."""
    begin, ahead = _leap_seconds()
    seconds = ahead[max(bisect_right(begin, mjd) - 1, 0)]
    return mjd - seconds / SECONDS + MJD_ZERO
