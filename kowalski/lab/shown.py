"""How values are written on pages: filters of the templates."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bson import json_util

from kowalski.alerts.times import moment_of

#: what stands where there is nothing
NOTHING = "–"


def number(value: Any, digits: int = 2) -> str:
    """A number with so many digits after the point, whole ones with thousands' separators."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def figure(value: Any) -> str:
    """A value of which nothing is known, as rows of catalogues have them: of a number six significant digits."""
    if value is None:
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def moment(jd: float | None) -> str:
    """The UTC time of a Julian date, to the second."""
    return utc(moment_of(jd)) if jd is not None and math.isfinite(jd) else NOTHING


def utc(time: datetime | None) -> str:
    """A time in UTC, to the second."""
    if time is None:
        return NOTHING
    return f"{time.astimezone(UTC) if time.tzinfo else time:%Y-%m-%d %H:%M:%S}"


def seconds(value: float | None) -> str:
    """A duration given in s, with the unit that fits it."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(value) >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value * 1000:.0f} ms"


def bytes_(value: float | None) -> str:
    """A size given in bytes, with the unit that fits it (powers of 1000)."""
    if value is None:
        return NOTHING
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def sexagesimal(ra: float, dec: float) -> str:
    """A position given in deg as ``hh:mm:ss.ss ±dd:mm:ss.s``."""
    hours = round(ra % 360 / 15 * 360_000) % (24 * 360_000)
    tenths, sign = round(abs(dec) * 36_000), "-" if dec < 0 else "+"
    right = f"{hours // 360_000:02d}:{hours // 6000 % 60:02d}:{hours % 6000 / 100:05.2f}"
    return f"{right} {sign}{tenths // 36_000:02d}:{tenths // 600 % 60:02d}:{tenths % 600 / 10:04.1f}"


def pretty(value: Any) -> str:
    """A document as indented JSON, dates and ids as MongoDB's extended JSON has them."""
    return json_util.dumps(value, indent=2, ensure_ascii=False, json_options=json_util.RELAXED_JSON_OPTIONS)


def plain_json(value: Any) -> str:
    """A value as JSON in one line, for a ``data-`` attribute; the template escapes it."""
    return json.dumps(value, default=str)


SHOWN: Mapping[str, Callable[..., str]] = {
    "number": number,
    "figure": figure,
    "moment": moment,
    "utc": utc,
    "seconds": seconds,
    "bytes": bytes_,
    "sexagesimal": sexagesimal,
    "pretty": pretty,
    "plain_json": plain_json,
}
