"""What an alert's document tells of itself besides its measurements: scores and their course, and the moments on its way."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

#: the moments of a trace, in their order; others come behind
MOMENTS = ("exposure", "emitted", "received", "scored", "stored", "filtered", "delivered")
#: units of the small picture of a score's course
WIDTH, HEIGHT = 120.0, 24.0


class Score(NamedTuple):
    """A network's score of the alert that is shown, and its course: points of a line in `WIDTH` by `HEIGHT`, and where the alert is on it."""

    model: str
    score: float
    version: str | None
    lowest: float
    highest: float
    number: int
    line: str
    here: tuple[float, float]


class Moment(NamedTuple):
    """A moment on an alert's way, and the s since the one before."""

    name: str
    time: datetime
    since: float | None


def scores_of(alerts: Sequence[Mapping[str, Any]], candid: int | None) -> list[Score]:
    """The scores of an alert, by name, among those of all of its object's alerts, oldest first."""
    shown = next((alert for alert in alerts if alert["candid"] == candid), None)
    said = (shown or {}).get("classifications") or {}
    return [
        _score(name, float(value), said, alerts, candid)
        for name, value in sorted(said.items())
        if _is_score(name, value)
    ]


def _score(model: str, score: float, said: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]], candid: int | None) -> Score:  # fmt: skip
    course = [
        (alert["candid"], alert["candidate"]["jd"], float(scores[model]))
        for alert in alerts
        if _is_score(model, (scores := alert.get("classifications") or {}).get(model))
    ]
    first, last = course[0][1], course[-1][1]
    values = [value for _, _, value in course]
    floor, ceiling = min(0.0, *values), max(1.0, *values)
    places = {
        each: (
            round(3 + (WIDTH - 6) * ((jd - first) / (last - first) if last > first else 0.5), 1),
            round(HEIGHT - 3 - (HEIGHT - 6) * (value - floor) / (ceiling - floor), 1),
        )
        for each, jd, value in course
    }
    line = " ".join(f"{x},{y}" for x, y in places.values())
    version = said.get(f"{model}_version")
    here = places[candid] if candid is not None else (0.0, 0.0)
    return Score(model, score, str(version) if version is not None else None, min(values), max(values), len(values), line, here)  # fmt: skip


def _is_score(name: str, value: Any) -> bool:
    return not name.endswith("_version") and isinstance(value, int | float) and not isinstance(value, bool)


def moments_of(alert: Mapping[str, Any]) -> list[Moment]:
    """The moments of an alert's ``trace``, in their order; none where it has none."""
    trace = alert.get("trace") or {}
    names = [*(name for name in MOMENTS if name in trace), *(name for name in trace if name not in MOMENTS)]
    found: list[Moment] = []
    for name in names:
        time = trace[name].replace(tzinfo=UTC)  # MongoDB gives it without
        found.append(Moment(name, time, (time - found[-1].time).total_seconds() if found else None))
    return found
