"""Light curves of objects: what packets bring is merged so that neither order nor repetition matters.

The merge is a join of sets: of copies of the same point one is kept by a total order (the brightest alert's for forced
photometry, else the latest packet's), so any sequence of packets ends in the same document. Forced points
that were the kept copy at some earlier time stay readable under ``<field>_replaced``: with `as_of` a filter sees what was known at its
alert's time, whatever arrived since.

Each stored point carries ``first_jd`` (the smallest candidate jd of the packets that brought it) and, as ``alert_jd`` and
``alert_candid``, the packet of the kept copy; both are left out where that is the object's ``last_packet``, so that a new packet that
repeats what is known changes next to nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from kowalski.alerts.survey import History, Point, Survey

Source = tuple[float, int]

#: packet of points that older versions stored without naming it
UNKNOWN: Source = (0.0, -1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one packet says about its object; ``programme`` is that of its alert, None where the survey has none."""

    source: Source
    first_alert: dict[str, Any]
    histories: Mapping[str, list[Point]]
    programme: int | None = None


@dataclass(slots=True)
class _Copy:
    point: Point
    source: Source
    first_jd: float


def detection_or_limit(point: Point) -> tuple[Any, ...]:
    """A detection is identified by its candid, an upper limit by (jd, fid, pid)."""
    candid = point.get("candid")
    return (0, candid) if candid is not None else (1, point["jd"], point.get("fid") or 0, point.get("pid") or 0)


def by_jd(point: Point) -> tuple[Any, ...]:
    """A point is identified by its jd."""
    return (point["jd"],)


def without_nulls(points: list[Point], candidate: Mapping[str, Any]) -> list[Point]:
    """The points without their null fields."""
    return [{key: value for key, value in point.items() if value is not None} for point in points]


def with_programme(points: list[Point], candidate: Mapping[str, Any]) -> list[Point]:
    """The points without their null fields, each with the ``programid`` of its packet's alert where it names none itself."""
    return [{"programid": candidate.get("programid"), **point} for point in without_nulls(points, candidate)]


def merged(aux: Mapping[str, Any], arrivals: Iterable[Arrival], survey: Survey) -> dict[str, Any]:
    """The light-curve part of an object's document after some packets.

    That is its histories, ``first_alert``, ``last_packet``, and ``programids``: those of its alerts, by which the object
    is shown or not.
    """
    arrivals = list(arrivals)
    last = aux.get("last_packet")
    before: Source = (last["jd"], last["candid"]) if last else UNKNOWN
    newest = max([before, *(arrival.source for arrival in arrivals)])
    known = [aux["first_alert"]] if "first_alert" in aux else []
    firsts = known + [arrival.first_alert for arrival in arrivals]
    document: dict[str, Any] = {
        "first_alert": min(firsts, key=lambda first: (first["jd"], first["candid"])),
        "last_packet": {"jd": newest[0], "candid": newest[1]},
    }
    if programmes := {*aux.get("programids", ()), *(each.programme for each in arrivals)} - {None}:
        document["programids"] = sorted(programmes)
    for history in survey.histories:
        document |= _merged_history(history, aux, before, arrivals, newest)
    return document


def _merged_history(
    history: History, aux: Mapping[str, Any], before: Source, arrivals: list[Arrival], newest: Source
) -> dict[str, list[Point]]:
    copies: dict[tuple[Any, ...], list[_Copy]] = {}
    for copy in _stored(history, aux, before):
        copies.setdefault(history.identity(copy.point), []).append(copy)
    for arrival in arrivals:
        for point in arrival.histories.get(history.field, ()):
            copies.setdefault(history.identity(point), []).append(_Copy(point, arrival.source, arrival.source[0]))
    kept, replaced = [], []
    for group in copies.values():
        first_jd = min(copy.first_jd for copy in group)
        *earlier, best = _records(group) if history.brightest_wins else (max(group, key=lambda copy: copy.source),)
        kept.append(_as_stored(best, first_jd, newest))
        replaced += [_as_stored(copy, copy.source[0], newest) for copy in earlier]
    document = {history.field: _sorted(history, kept)}
    if history.brightest_wins:
        document[f"{history.field}_replaced"] = _sorted(history, replaced)
    return document


def _stored(history: History, aux: Mapping[str, Any], before: Source) -> Iterator[_Copy]:
    for field in (history.field, f"{history.field}_replaced"):
        for stored in aux.get(field) or ():
            point = dict(stored)
            first_jd = point.pop("first_jd", -inf)
            candid = point.pop("alert_candid", None)
            source = before if candid is None else (point.pop("alert_jd"), candid)
            yield _Copy(point, source, first_jd)


def _records(group: list[_Copy]) -> list[_Copy]:
    """The copies that were the brightest alert's when they came, in the order of their packets; the last one is the brightest."""
    records: list[_Copy] = []
    for copy in sorted(group, key=lambda item: item.source):
        if not records or _rank(copy) < _rank(records[-1]):
            records.append(copy)
    return records


def _rank(copy: _Copy) -> tuple[float, float, int]:
    """Brighter alerts first, of equally bright ones the latest."""
    return _alert_mag(copy), -copy.source[0], -copy.source[1]


def _alert_mag(copy: _Copy) -> float:
    """Magnitude of the alert that brought a forced point; unknown ones of older versions win, as they did there."""
    mag = copy.point.get("alert_mag")
    return -99999.0 if mag is None else mag


def _as_stored(copy: _Copy, first_jd: float, newest: Source) -> Point:
    point = dict(copy.point)
    if first_jd != -inf:
        point["first_jd"] = first_jd
    if copy.source != newest:
        point["alert_jd"], point["alert_candid"] = copy.source
    return point


def _sorted(history: History, points: list[Point]) -> list[Point]:
    return sorted(points, key=lambda point: (point["jd"], history.identity(point), point.get("alert_jd", inf)))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The ``$set`` that turns one light-curve document into another: single points where few changed, else whole fields."""
    update: dict[str, Any] = {}
    for field, value in new.items():
        before = old.get(field)
        if before == value:
            continue
        if isinstance(before, list) and before and len(value) >= len(before):
            changed = [i for i, point in enumerate(value) if i >= len(before) or before[i] != point]
            if len(changed) <= len(value) // 2:
                update |= {f"{field}.{i}": value[i] for i in changed}
                continue
        update[field] = value
    return update


def as_of(aux: Mapping[str, Any], history: History, jd: float) -> list[Point]:
    """The points of one history as they were known when the packet of candidate jd ``jd`` was made."""
    last_jd = (aux.get("last_packet") or {}).get("jd", -inf)
    replaced: dict[tuple[Any, ...], list[Point]] = {}
    for point in aux.get(f"{history.field}_replaced") or ():
        replaced.setdefault(history.identity(point), []).append(point)
    seen = []
    for point in aux.get(history.field) or ():
        if point.get("first_jd", -inf) > jd:
            continue
        if history.brightest_wins and point.get("alert_jd", last_jd) > jd:
            earlier = [copy for copy in replaced.get(history.identity(point), ()) if copy["alert_jd"] <= jd]
            if not earlier:
                continue
            point = max(earlier, key=lambda copy: (copy["alert_jd"], copy["alert_candid"]))
        seen.append(point)
    return seen
