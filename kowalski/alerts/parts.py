"""Histories too long for one document: MongoDB's end at 16 MB, and no point is to be lost to that.

An object's own document that would take more than `LIMIT` keeps the newest points, up to `ROOM`; the older ones, whatever list they are
of, go to further documents, its parts, each named in the field ``older`` of its own. A part is written once and never changed: where a
packet changes a point in it, the part's points are put with those of the object's own document, and what is too much goes to new parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
import numpy as np
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from kowalski.alerts.points import Stored, heads_of

MIB = 1024 * 1024
#: bytes that an object's own document may take, and that it keeps once it took more: so that not each new point moves an old one
LIMIT, ROOM = 12 * MIB, 8 * MIB
#: points that fit in any case, so that few objects are measured: the largest known ones take 2 kB
FIT = 2000
#: bytes that an element of a list takes besides its value
ELEMENT = 9

Part = dict[str, Any]
"""``_id``, ``objectId``, and points in lists named as in the object's own document."""


@dataclass(frozen=True, slots=True)
class Apart:
    """An object's documents as they were read, where there are several.

    Attributes
    ----------
    own : its own, with the points that are in it
    parts : those that ``own`` names
    strays : ids of others: what writes that came to nothing have left
    """

    own: Mapping[str, Any]
    parts: Sequence[Part]
    strays: frozenset[str] = frozenset()


def joined(own: Mapping[str, Any], parts: Iterable[Mapping[str, Any]], fields: Iterable[str]) -> dict[str, Any]:
    """An object's own document with the points of its parts, those of each list by jd."""
    parts, whole = list(parts), dict(own)
    for field in fields:
        if any(part.get(field) for part in parts):
            points = [point for each in (*parts, own) for point in each.get(field) or ()]
            order = np.argsort(heads_of(points).jd, kind="stable")
            whole[field] = [points[place] for place in order.tolist()]
    return whole


def may_be_too_long(document: Mapping[str, Any], fields: Iterable[str]) -> bool:
    """Whether a document has so many points that it must be measured."""
    return sum([len(document.get(field) or ()) for field in fields]) > FIT


def divided(
    whole: Mapping[str, Any], parts: Iterable[Part], fields: Sequence[str]
) -> tuple[dict[str, Any], list[Part]]:
    """A whole object as its own document and the parts that are not stored yet; those stored are kept where nothing in them changed."""
    places = [(field, point) for field in fields for point in whole.get(field) or ()]
    raws = [(field, _raw(point)) for field, point in places]
    kept, there = list[Part](), set[tuple[str, bytes]]()
    if parts := list(parts):
        known = set(raws)
        for part in parts:
            held = {(field, _raw(point)) for field in fields for point in part.get(field) or ()}
            if held <= known:
                kept.append(part)
                there |= held
    left = [place for place, raw in zip(places, raws, strict=True) if raw not in there]
    sizes = np.array([len(raw) + ELEMENT for field, raw in raws if (field, raw) not in there], int)
    rest = len(bson.encode({name: value for name, value in whole.items() if name not in fields}))
    moved: list[Part] = []
    if rest + sizes.sum() > LIMIT:
        jds = heads_of([point for _, point in left]).jd
        own = _newest(jds, sizes, ROOM - rest)
        moved = _parts(whole["_id"], left, np.flatnonzero(~own), jds, sizes)
        left = [place for place, stays in zip(left, own.tolist(), strict=True) if stays]
    if not parts and not moved:
        return dict(whole), []
    older = [part["_id"] for part in (*kept, *moved)]
    return {**whole, **_lists(left, [field for field in fields if field in whole]), "older": older}, moved


def newest_that_fit(lists: Mapping[str, Sequence[Stored]], room: int) -> Mapping[str, Sequence[Stored]]:
    """Lists of points without the oldest of all, where together they take more than ``room`` bytes."""
    if sum(map(len, lists.values())) <= FIT:
        return lists
    places = [(field, point) for field, points in lists.items() for point in points]
    sizes = np.array([len(_raw(point)) + ELEMENT for _, point in places])
    if sizes.sum() > room:
        stay = _newest(heads_of([point for _, point in places]).jd, sizes, room)
        places = [place for place, stays in zip(places, stay.tolist(), strict=True) if stays]
    return _lists(places, lists)


def _raw(point: Stored) -> bytes:
    return bytes(point.raw) if type(point) is RawBSONDocument else bson.encode(point)


def _newest(jds: np.ndarray, sizes: np.ndarray, room: int) -> np.ndarray:
    """Which of N points are the newest that take up to ``room`` bytes; shape (N,), bool."""
    order = np.argsort(-jds, kind="stable")
    newest = np.zeros(len(jds), bool)
    newest[order] = np.cumsum(sizes[order]) <= room
    return newest


def _parts(
    object_id: str, places: list[tuple[str, Stored]], moved: np.ndarray, jds: np.ndarray, sizes: np.ndarray
) -> list[Part]:
    """New parts of about `ROOM` bytes from some of the points, the oldest first."""
    moved = moved[np.argsort(jds[moved], kind="stable")]
    numbers = (np.cumsum(sizes[moved]) - sizes[moved]) // ROOM
    parts = []
    for number in np.unique(numbers).tolist():
        own = [places[place] for place in moved[numbers == number].tolist()]
        fields = dict.fromkeys(field for field, _ in own)
        parts.append({"_id": f"{object_id}:{ObjectId()}", "objectId": object_id, **_lists(own, fields)})
    return parts


def _lists(places: Iterable[tuple[str, Stored]], fields: Iterable[str]) -> dict[str, list[Stored]]:
    lists: dict[str, list[Stored]] = {field: [] for field in fields}
    for field, point in places:
        lists[field].append(point)
    return lists
