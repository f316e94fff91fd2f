"""What a page shows of a replay."""

from datetime import date
from typing import Any
from urllib.parse import urlencode

import numpy as np

from kowalski.alerts.times import EPOCH_JD
from kowalski.database.queries import Document
from kowalski.lab.query.plots import counted

#: alerts that are named, and bins of a histogram
EXAMPLES, BINS = 20, 24


def by_hour(candidates: list[Document], night: str) -> str:
    """Where the histogram of passes by UTC hour of a night is."""
    begin = date.fromisoformat(night).toordinal() - date(1970, 1, 1).toordinal() + EPOCH_JD
    hours = [int(24 * (each["jd"] - begin)) for each in candidates]
    counts = np.bincount(np.clip(hours, 0, 23), minlength=24) if hours else np.zeros(24, int)
    return _address(f"hour of {night} (UTC)", [float(hour) for hour in range(25)], counts)


def by_value(values: list[float], field: str) -> str:
    """Where the histogram of some values of a field is; empty where there are none."""
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return ""
    counts, edges = counted(finite, BINS)
    return _address(field, [float(edge) for edge in edges], counts)


def _address(x: str, edges: list[float], counts: Any) -> str:
    told = {"x": x, "edges": ",".join(f"{edge:.8g}" for edge in edges), "counts": ",".join(map(str, counts))}
    return f"/lab/filters/bars.json?{urlencode(told)}"
