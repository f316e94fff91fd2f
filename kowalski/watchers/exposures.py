"""Rows of ZTF's exposure log, a table of columns of fixed width (``allexp.tbl``), as documents."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.alerts.coordinates import position
from kowalski.alerts.times import jd_of
from kowalski.errors import SourceError

#: Julian date of 1970-01-01
#: ra and dec of exposures that looked at no place of the sky
NOWHERE = -99.0


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


#: name, width and kind of each column
COLUMNS: list[tuple[str, int, Callable[[str], Any]]] = [
    ("utc_start", 22, _time),
    ("sun_elevation", 4, int),
    ("exp", 6, int),
    ("filter", 4, int),
    ("type", 5, str),
    ("field", 8, int),
    ("pid", 4, int),
    ("ra", 9, _number),
    ("dec", 9, _number),
    ("slew", 7, _number),
    ("wait", 8, _number),
    ("fileroot", 29, str),
    ("programpi", 11, str),
    ("qcomment", 25, str),
]


def is_heading(line: str) -> bool:
    """Whether a line is empty, or tells of the columns instead of an exposure."""
    return not line.strip() or line.startswith("|") or "UT_START" in line


def exposure_of(line: str) -> dict[str, Any]:
    """One exposure: the columns by their names, its end, both times as JD (UTC) too, and ``coordinates`` where it looked at the sky.

    ``exp`` is in s, ``ra`` and ``dec`` in deg.

    Raises
    ------
    SourceError : a column is not what it should be; the text names it
    """
    row: dict[str, Any] = {}
    begin = 0
    for name, width, kind in COLUMNS:
        text = line[begin : begin + width].strip()
        begin += width
        try:
            row[name] = kind(text)
        except ValueError:
            raise SourceError(f"column {name} (characters {begin - width + 1} to {begin}) is {text!r}") from None
    if line[begin:].strip():
        raise SourceError(f"there is something beyond column {begin}: {line[begin:].strip()[:40]!r}")
    if not row["fileroot"]:
        raise SourceError("column fileroot is empty")
    row["utc_end"] = row["utc_start"] + timedelta(seconds=row["exp"])
    row["jd_start"], row["jd_end"] = (jd_of(row[name]) for name in ("utc_start", "utc_end"))
    if (row["ra"], row["dec"]) != (NOWHERE, NOWHERE):
        if not (0 <= row["ra"] <= 360 and -90 <= row["dec"] <= 90):
            raise SourceError(f"ra {row['ra']}, dec {row['dec']} is no position in deg")
        row["coordinates"] = position(row["ra"] % 360.0, row["dec"])
    return row
