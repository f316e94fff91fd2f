"""Positions as clients write them: numbers in deg or sexagesimal texts, singly, in lists, or under names."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from kowalski.api.models.fields import literal

MAX_POSITIONS = 10_000

RIGHT_ASCENSION = re.compile(r"(\d{1,2})[:h](\d{1,2})[:m](\d{1,2}(?:\.\d*)?)s?")
DECLINATION = re.compile(r"([+-]?)(\d{1,2})[:d](\d{1,2})[:m](\d{1,2}(?:\.\d*)?)s?")

Position = tuple[float, float]


def read_positions(value: Any) -> dict[str, Position]:
    """The positions of a request by key: (ra, dec) in deg, 0 <= ra <= 360.

    A name is its own key, a position without a name has its text; each ``.`` of a key becomes ``_``, as keys with dots
    would be paths in MongoDB.

    Raises
    ------
    ValueError : one can't be read or is off the sky, two have the same key, there are none or too many
    """
    if isinstance(value, str):
        value = literal(value) if value.strip().startswith(("{", "[", "(")) else [value]
    if isinstance(value, dict):
        named = [(str(name), position) for name, position in value.items()]
    elif isinstance(value, list | tuple):
        unnamed = [value] if _is_position(value) else value
        named = [(item.strip() if isinstance(item, str) else str(item), item) for item in unnamed]
    else:
        raise ValueError("radec: a name -> [ra, dec] mapping, a list of [ra, dec], or their text is expected")
    if not 1 <= len(named) <= MAX_POSITIONS:
        raise ValueError(f"radec: {len(named)} positions, 1 to {MAX_POSITIONS} are possible")
    positions: dict[str, Position] = {}
    for name, item in named:
        key = name.replace(".", "_")
        if key in positions:
            raise ValueError(f"radec: two positions have the key {key!r}: name them apart")
        positions[key] = read_position(item)
    return positions


def read_position(value: Any) -> Position:
    """(ra, dec) in deg of ``[ra, dec]`` or ``"ra dec"``."""
    parts = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or len(parts) != 2:
        raise ValueError(f"radec: {value!r:.100} is not a pair of right ascension and declination")
    ra, dec = _angle(parts[0], _hours), _angle(parts[1], _degrees)
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ValueError(f"radec: {value!r:.100} is not on the sky: 0 <= ra <= 360, -90 <= dec <= 90")
    return ra, dec


def _is_position(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list is one position rather than a list of them: two numbers, or two texts of one angle each."""
    return len(value) == 2 and all(
        isinstance(part, int | float) or (isinstance(part, str) and len(re.split(r"[\s,]+", part.strip())) == 1)
        for part in value
    )


def _angle(value: Any, sexagesimal: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"radec: {value!r:.100} is not an angle")
    if isinstance(value, str) and (angle := sexagesimal(value.strip())) is not None:
        return angle
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"radec: {value!r:.100} is not an angle in deg, HH:MM:SS or DD:MM:SS") from None


def _hours(text: str) -> float | None:
    match = RIGHT_ASCENSION.fullmatch(text)
    return 15.0 * _sum(*match.groups()) if match else None


def _degrees(text: str) -> float | None:
    match = DECLINATION.fullmatch(text)
    if match is None:
        return None
    sign, *parts = match.groups()
    return -_sum(*parts) if sign == "-" else _sum(*parts)  # the sign of -00:30:00 is in the text alone


def _sum(whole: str, minutes: str, seconds: str) -> float:
    if int(minutes) >= 60 or float(seconds) > 60:  # 60.0: a rounded 59.99999
        raise ValueError(f"radec: {whole}:{minutes}:{seconds} has more than 60 minutes or seconds")
    return int(whole) + int(minutes) / 60 + float(seconds) / 3600


Positions = Annotated[dict[str, Position], BeforeValidator(read_positions)]
