"""What is stored beside what comes of it when it is made again: value by value, each with a verdict."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import bson

SAME, DIFFERS = "same", "differs"
#: what made it has changed since, which by itself is no other result
CHANGED = "changed"
#: nothing was noted with which it could be compared
NOT_RECORDED = "not recorded"
#: it could not be made again here
NOT_CHECKED = "not checked"
VERDICTS = (SAME, DIFFERS, CHANGED, NOT_RECORDED, NOT_CHECKED)

#: the value of a field that is not there
MISSING = object()
#: letters of a value that are shown, and values of a list
LETTERS, ITEMS = 64, 3

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing of a section: as it is stored, as it is when made again, and what that means."""

    section: str
    thing: str
    stored: Any
    made: Any
    verdict: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For programs, with values in words where JSON has no type for them."""
        values = {"stored": plain(self.stored), "recomputed": plain(self.made)}
        return {"section": self.section, "thing": self.thing, **values, "verdict": self.verdict, "note": self.note}


@dataclass(frozen=True, slots=True)
class Difference:
    """A place at which two values differ."""

    path: str
    stored: Any
    made: Any


def row(section: str, thing: str, stored: Any, made: Any, note: str = "", tolerance: float = 0.0) -> Row:
    """The verdict on two values; floats may differ by ``tolerance`` (absolute)."""
    equal = next(differences(stored, made, absolute=tolerance), None) is None
    return Row(section, thing, stored, made, SAME if equal else DIFFERS, note)


def differences(
    stored: Any, made: Any, path: str = "", absolute: float = 0.0, relative: float = 0.0
) -> Iterator[Difference]:
    """Where two values differ; exactly, but for floats where a tolerance is given. NaN is the same as NaN, 1 is not 1.0."""
    if isinstance(stored, Mapping) and isinstance(made, Mapping):
        for key in [*made, *(key for key in stored if key not in made)]:
            below = f"{path}.{key}" if path else str(key)
            yield from differences(stored.get(key, MISSING), made.get(key, MISSING), below, absolute, relative)
    elif isinstance(stored, list) and isinstance(made, list) and len(stored) == len(made):
        for place, (one, other) in enumerate(zip(stored, made, strict=True)):
            yield from differences(one, other, f"{path}[{place}]", absolute, relative)
    elif not _equal(stored, made, absolute, relative):
        yield Difference(path, stored, made)


def _equal(stored: Any, made: Any, absolute: float, relative: float) -> bool:
    if isinstance(stored, float) and isinstance(made, float):
        if math.isnan(stored) or math.isnan(made):
            return math.isnan(stored) and math.isnan(made)
        return stored == made or math.isclose(stored, made, abs_tol=absolute, rel_tol=relative)
    return _kind(stored) == _kind(made) and bool(stored == made)


def _kind(value: Any) -> type:
    """The type of a value; MongoDB's int64 is an int."""
    return next((kind for kind in (bool, int, float, str, bytes, dict, list) if isinstance(value, kind)), type(value))


def leaves(value: Any) -> int:
    """How many values there are in one."""
    if isinstance(value, Mapping | list):
        return sum(map(leaves, value.values() if isinstance(value, Mapping) else value))
    return 1


def as_read(document: Document) -> dict[str, Any]:
    """A document as it comes out of MongoDB: moments without the time zone, of a resolution of 1 ms."""
    return bson.decode(bson.encode(document))


def plain(value: Any) -> Any:
    """A value for JSON: in words where that has no type for it."""
    whole = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if value is None or whole else shown(value)


def shown(value: Any) -> str:
    """A value in few words."""
    if value is MISSING:
        return "missing"
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]}"
    if isinstance(value, list):
        listed = ", ".join(shown(each) for each in value[:ITEMS])
        return f"[{listed}, ... {len(value)} in all]" if len(value) > ITEMS else f"[{listed}]"
    text = "none" if value is None else repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}..."


def counted(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows have each verdict."""
    found = dict.fromkeys(VERDICTS, 0)
    for each in rows:
        found[each.verdict] += 1
    return found
