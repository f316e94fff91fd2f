"""Points of light curves as they are stored, and what of them can be told without decoding them.

A stored point begins with what merging and looking back need: ``jd``, where it came from, ``candid`` and ``programid``. Of hundreds
of points a new packet touches a few, so those of an object are left as the bytes that MongoDB gave (`RawBSONDocument`), and are given
back to it as such; only what is touched is decoded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, nan
from typing import Any

import bson
import numpy as np
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

Point = dict[str, Any]
Stored = Mapping[str, Any]
"""A point, decoded or not."""
Source = tuple[float, int]
"""jd and candid of a packet."""

#: fields that say where a point came from, and all with which stored points begin, as far as they have them, in this order
PROVENANCE = ("first_jd", "alert_jd", "alert_candid")
FIRST = ("jd", *PROVENANCE, "candid", "programid")
#: no number
NONE = np.iinfo(np.int64).min

#: type and name of these fields in BSON (bsonspec.org); a value of 8 bytes follows each, of 4 the last
_JD, _FIRST_JD, _ALERT_JD = b"\x01jd\0", b"\x01first_jd\0", b"\x01alert_jd\0"
_ALERT_CANDID, _CANDID, _PROGRAMID = b"\x12alert_candid\0", b"\x12candid\0", b"\x10programid\0"
#: the last one, where it takes 8 bytes: no survey has such a programme, but packets may say anything
_LARGE = b"\x12programid\0"
#: bytes of the length, then of all fields, and of what follows as many as `_LARGE` has
_LENGTH = 4
_SIZE = (
    _LENGTH + sum(map(len, (_JD, _FIRST_JD, _ALERT_JD, _ALERT_CANDID, _CANDID, _PROGRAMID))) + 5 * 8 + 4 + len(_LARGE)
)


@dataclass(frozen=True, slots=True)
class Heads:
    """What N points begin with, as arrays of shape (N,).

    Attributes
    ----------
    first_jd : smallest candidate jd of the packets that brought each, -inf where older versions did not note it
    alert_jd : jd of the packet of each copy, NaN where that is the object's last packet
    candid, programid : `NONE` where there is none
    """

    jd: np.ndarray
    first_jd: np.ndarray
    alert_jd: np.ndarray
    candid: np.ndarray
    programid: np.ndarray

    @property
    def of_last_packet(self) -> np.ndarray:
        """Which copies are of the object's last packet."""
        return np.isnan(self.alert_jd)

    def of(self, chosen: np.ndarray) -> "Heads":
        """Those of some of the points, chosen by an array of shape (N,), bool."""
        return Heads(*(getattr(self, field.name)[chosen] for field in fields(self)))


def heads_of(points: Sequence[Stored]) -> Heads:
    """What points begin with, decoded no further where that can be."""
    raw = [place for place, point in enumerate(points) if type(point) is RawBSONDocument]
    heads = Heads(*np.empty((3, len(points))), *np.empty((2, len(points)), np.int64))
    known = _read(points, np.array(raw, int), heads) if raw else frozenset()
    for place, point in enumerate(points):
        if place not in known:
            decoded = point if isinstance(point, dict) else plain(point)
            heads.jd[place] = decoded["jd"]
            heads.first_jd[place] = decoded.get("first_jd", -inf)
            heads.alert_jd[place] = nan if decoded.get("alert_candid") is None else decoded["alert_jd"]
            heads.candid[place] = _number(decoded.get("candid"))
            programid = _number(decoded.get("programid"))
            heads.programid[place] = programid if -(2**31) <= programid < 2**31 else NONE  # as it is read below
    return heads


def _read(points: Sequence[Stored], places: np.ndarray, heads: Heads) -> frozenset[int]:
    """Fill in what points that are not decoded begin with; the places of those that begin as they should."""
    begins = [points[place].raw[:_SIZE] for place in places.tolist()]
    begin = b"".join(begins)
    if len(begin) != _SIZE * len(begins):
        begin = b"".join([bytes(each).ljust(_SIZE, b"\0") for each in begins])
    rows = np.frombuffer(begin, np.uint8).reshape(-1, _SIZE)[:, _LENGTH:]
    good, jd, rows = _field(rows, _JD, "<f8")
    also, first_jd, rows = _field(rows, _FIRST_JD, "<f8")
    noted, alert_jd, rows = _field(rows, _ALERT_JD, "<f8")
    _, _, rows = _field(rows, _ALERT_CANDID, "<i8")
    has_candid, candid, rows = _field(rows, _CANDID, "<i8")
    has_programid, programid, rows = _field(rows, _PROGRAMID, "<i4")
    large = (rows[:, : len(_LARGE)] == np.frombuffer(_LARGE, np.uint8)).all(axis=1)
    good &= also & ~large
    heads.jd[places], heads.first_jd[places] = jd, first_jd
    heads.alert_jd[places] = np.where(noted, alert_jd, nan)
    heads.candid[places] = np.where(has_candid, candid, NONE)
    heads.programid[places] = np.where(has_programid, programid.astype(np.int64), NONE)
    return frozenset(places[good].tolist())


def _field(rows: np.ndarray, name: bytes, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows of bytes, shape (N, bytes), begin with a field, its values, and the rows after it where it is there."""
    end = len(name) + np.dtype(kind).itemsize
    there = (rows[:, : len(name)] == np.frombuffer(name, np.uint8)).all(axis=1)
    values = np.ascontiguousarray(rows[:, len(name) : end]).view(kind)[:, 0]
    rest = rows[:, end:]
    if not there.all():
        rest = np.where(there[:, None], rest, rows[:, : rest.shape[1]])
    return there, values, rest


def plain(point: Stored) -> Point:
    """A point of one's own, decoded."""
    return bson.decode(point.raw) if type(point) is RawBSONDocument else dict(point)


def same(one: Any, other: Any) -> bool:
    """Whether two points, or other values, are equal, decoded or not."""
    if one is other:
        return True
    left, right = (plain(each) if type(each) is RawBSONDocument else each for each in (one, other))
    return bool(left == right)


def as_stored(point: Point, first_jd: float, alert: Source | None) -> Point:
    """A point with where it came from, its fields in the order in which it is stored; no ``alert``: from the object's last packet."""
    begin: Point = {"jd": point["jd"]}
    if first_jd != -inf:
        begin["first_jd"] = first_jd
    if alert is not None:
        begin["alert_jd"], begin["alert_candid"] = alert[0], Int64(alert[1])
    if (candid := point.get("candid")) is not None and _number(candid) != NONE:
        begin["candid"] = Int64(candid)
    if (programid := point.get("programid")) is not None and _number(programid) != NONE:
        begin["programid"] = int(programid)
    stored = begin | point | begin  # the order of the first, the values of the last
    for name in PROVENANCE:
        if name not in begin:
            stored.pop(name, None)
    return stored


def _number(value: Any) -> int:
    """A whole number that BSON has, or `NONE`."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else NONE
