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
from itertools import compress
from math import inf
from typing import Any

import numpy as np

from kowalski.alerts.points import PROVENANCE, Heads, Source, Stored, as_stored, heads_of, plain, same
from kowalski.alerts.survey import History, Point, Survey

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


def detection_or_limit(point: Stored) -> tuple[Any, ...]:
    """A detection is identified by its candid, an upper limit by (jd, fid, pid)."""
    candid = point.get("candid")
    return (0, candid) if candid is not None else (1, point["jd"], point.get("fid") or 0, point.get("pid") or 0)


def by_jd(point: Stored) -> tuple[Any, ...]:
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
) -> dict[str, list[Stored]]:
    """Stored points that no packet brings again stay as they are, undecoded, once it is noted where they came from."""
    groups: dict[tuple[Any, ...], list[_Copy]] = {}
    for arrival in arrivals:
        for point in arrival.histories.get(history.field, ()):
            groups.setdefault(history.identity(point), []).append(_Copy(point, arrival.source, arrival.source[0]))
    names = [history.field, f"{history.field}_replaced"] if history.brightest_wins else [history.field]
    kept, *replaced = (_Untouched(history, aux.get(name) or [], groups, before, newest) for name in names)
    for group in groups.values():
        if len(group) == 1:
            kept.new.append(_as_stored(group[0], group[0].first_jd, newest))
            continue
        first_jd = min(copy.first_jd for copy in group)
        *earlier, best = _records(group) if history.brightest_wins else (max(group, key=lambda copy: copy.source),)
        kept.new.append(_as_stored(best, first_jd, newest))
        for copy in earlier:
            replaced[0].new.append(_as_stored(copy, copy.source[0], newest))
    return {name: points.in_order() for name, points in zip(names, (kept, *replaced), strict=True)}


class _Untouched:
    """The stored points that belong to none of some groups of copies; those that do are put into their groups.

    Attributes
    ----------
    new : the points that the groups come to
    """

    def __init__(
        self,
        history: History,
        stored: list[Stored],
        groups: dict[tuple[Any, ...], list[_Copy]],
        before: Source,
        newest: Source,
    ):
        self.history, self.points, self.new = history, list(stored), list[Point]()
        if not stored:
            return
        heads = heads_of(stored)
        to_note = heads.of_last_packet & (before != newest)
        look = to_note | (_may_be_copied(heads, groups) if history.copies_share else True)
        left = np.ones(len(stored), bool)
        for place in np.flatnonzero(look).tolist():
            copy = _copy_of(stored[place], before)
            if (copies := groups.get(history.identity(copy.point))) is not None:
                copies.append(copy)
                left[place] = False
            elif to_note[place]:
                self.points[place] = as_stored(copy.point, copy.first_jd, before)
        self.jds = heads.jd[left]
        self.points = list(compress(self.points, left.tolist()))

    def in_order(self) -> list[Stored]:
        """These and the new ones by jd; those of one moment by their identity, copies by the packet that brought them."""
        if not self.points:
            return sorted(self.new, key=self._place)
        points = self.points + self.new
        jds = np.concatenate([self.jds, [point["jd"] for point in self.new]])
        order = np.argsort(jds, kind="stable")
        ordered = [points[place] for place in order.tolist()]
        for begin, end in _ties(jds[order]):
            ordered[begin:end] = sorted(ordered[begin:end], key=self._place)
        return ordered

    def _place(self, point: Stored) -> tuple[Any, ...]:
        return point["jd"], self.history.identity(point), point.get("alert_jd", inf), point.get("alert_candid", inf)


def _may_be_copied(heads: Heads, groups: Mapping[tuple[Any, ...], list[_Copy]]) -> np.ndarray:
    """Which stored points may have a copy in some groups: copies have the same jd or the same candid."""
    points = [copies[0].point for copies in groups.values()]
    jds = np.array([point["jd"] for point in points])
    candids = np.array([point["candid"] for point in points if point.get("candid") is not None], np.int64)
    return np.isin(heads.jd, jds) | np.isin(heads.candid, candids)


def _ties(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of equal numbers among ascending ones."""
    edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
    for run in np.flatnonzero(np.diff(edges) > 1).tolist():
        yield int(edges[run]), int(edges[run + 1])


def _copy_of(stored: Stored, before: Source) -> _Copy:
    """A stored point as it came; where it doesn't say from which packet, it was the last one ``before``."""
    point = plain(stored)
    candid, source = point.get("alert_candid"), before
    if candid is not None:
        source = point["alert_jd"], candid
    first_jd = point.get("first_jd", -inf)
    for name in PROVENANCE:
        point.pop(name, None)
    return _Copy(point, source, first_jd)


def _as_stored(copy: _Copy, first_jd: float, newest: Source) -> Point:
    return as_stored(copy.point, first_jd, None if copy.source == newest else copy.source)


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


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The ``$set`` that turns one light-curve document into another: single points where few changed, else whole fields."""
    update: dict[str, Any] = {}
    for field, value in new.items():
        before = old.get(field)
        if before == value:
            continue
        if isinstance(before, list) and before and len(value) >= len(before):
            changed = [i for i, point in enumerate(value) if i >= len(before) or not same(before[i], point)]
            if len(changed) <= len(value) // 2:
                update |= {f"{field}.{i}": value[i] for i in changed}
                continue
        update[field] = value
    return update


def as_of(aux: Mapping[str, Any], history: History, jd: float) -> list[Stored]:
    """The points of one history as they were known when the packet of candidate jd ``jd`` was made."""
    return known_at(aux, history, jd)[0]


def known_at(aux: Mapping[str, Any], history: History, jd: float) -> tuple[list[Stored], Heads]:
    """The same, and what they begin with."""
    points = list[Stored](aux.get(history.field) or ())
    heads = heads_of(points)
    known = heads.first_jd <= jd
    if history.brightest_wins:
        last_jd = (aux.get("last_packet") or {}).get("jd", -inf)
        later = known & (np.where(heads.of_last_packet, last_jd, heads.alert_jd) > jd)
        earlier = _latest_until(jd, aux.get(f"{history.field}_replaced") or (), history) if later.any() else {}
        for place in np.flatnonzero(later).tolist():
            copy = earlier.get(history.identity(points[place]))
            known[place] = copy is not None
            points[place] = copy or points[place]
        heads = heads_of(points) if earlier else heads
    return list(compress(points, known.tolist())), heads.of(known)


def _latest_until(jd: float, replaced: Iterable[Stored], history: History) -> dict[tuple[Any, ...], Stored]:
    """Of copies that were replaced, the latest of each point that a packet until then brought."""
    latest: dict[tuple[Any, ...], Stored] = {}
    until = (copy for copy in replaced if copy["alert_jd"] <= jd)
    for copy in sorted(until, key=lambda copy: (copy["alert_jd"], copy["alert_candid"])):
        latest[history.identity(copy)] = copy
    return latest
