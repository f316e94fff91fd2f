"""Logarithmic bins: how times are counted where they can't all be kept, and quantiles of what was counted."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

#: bins in a factor of two
BINS_PER_OCTAVE = 4
#: what is less counts as this much
LEAST = 1e-3


def bin_of(value: float) -> int:
    """The logarithmic bin of a value."""
    return math.floor(BINS_PER_OCTAVE * math.log2(max(value, LEAST)))


def quantile(bins: Mapping[Any, int], share: float) -> float | None:
    """The value within which a share of those counted lies, to the upper edge of a bin (19 % wide); None where there are none."""
    ordered = sorted((int(place), number) for place, number in bins.items())
    wanted = share * sum(number for _, number in ordered)
    for place, number in ordered:
        wanted -= number
        if wanted <= 0:
            return float(2 ** ((place + 1) / BINS_PER_OCTAVE))
    return None


def together(counted: Iterable[Mapping[Any, int]]) -> dict[int, int]:
    """What was counted in several places, as one."""
    whole: dict[int, int] = {}
    for bins in counted:
        for place, number in bins.items():
            whole[int(place)] = whole.get(int(place), 0) + number
    return whole
