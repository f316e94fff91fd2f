"""How much memory the records of a schema can take, told of the schema and the number of their bytes before one is read.

A byte of Avro may stand for an empty list, a row of nulls, or, where items take no bytes at all, for any number of values. fastavro
follows whatever it is told until the memory is gone or, over types that hold one another, the stack.
"""

import re
import sys
from collections.abc import Mapping
from functools import cache
from math import inf
from typing import Any, NamedTuple

from kowalski.errors import PacketError

#: bytes of memory that the records of one message may take; ZTF's schema reaches it with 16 MB of the shortest points that it can have
MAX_MEMORY = 1 << 30
#: levels of lists and records; MongoDB takes 100, of which a history in its object's document needs some
MAX_DEPTH = 64
#: schemas that are remembered
REMEMBERED = 16

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,254}")
#: Python's objects in bytes (CPython 3.11 to 3.13), with what their allocation adds
_LIST, _PLACE, _TEXT, _BYTES, _NUMBER = 64, 10, 80, 48, 32
#: a map's entry, its key's bytes apart
_ENTRY = 120


class Unfolding(NamedTuple):
    """The memory that a value can take.

    Attributes
    ----------
    least : bytes that encode the shortest value
    fixed : bytes of memory that one of that length takes at most
    per_byte : and each further byte at most
    depth : levels of lists, maps and records in it
    """

    least: int
    fixed: float
    per_byte: float = 0.0
    depth: int = 0

    def memory(self, count: int, size: int) -> float:
        """Bytes that ``count`` values encoded in ``size`` bytes take at most."""
        further = size - count * self.least
        return count * self.fixed + (further * self.per_byte if further > 0 else 0.0)


PRIMITIVES = {
    "null": Unfolding(0, 0),
    "boolean": Unfolding(1, 0),
    "int": Unfolding(1, _NUMBER),
    "long": Unfolding(1, _NUMBER),
    "float": Unfolding(4, _NUMBER),
    "double": Unfolding(8, _NUMBER),
    "bytes": Unfolding(1, _BYTES, 1),
    "string": Unfolding(1, _TEXT, 4),  # one letter beyond the 16-bit ones, and each takes four bytes
}

_known: dict[int, tuple[Any, Unfolding]] = {}


def require_memory(schema: Any, count: int, size: int) -> None:
    """Raise `PacketError` (``too_large``) where ``count`` records in ``size`` bytes could take more than `MAX_MEMORY`."""
    memory = unfolding_of(schema).memory(count, size)
    if memory > MAX_MEMORY:
        raise PacketError("too_large", f"{size} bytes could take {memory:.2g} bytes of memory, {MAX_MEMORY} allowed")


def unfolding_of(schema: Any) -> Unfolding:
    """What a parsed schema's records can take; told once for each.

    Raises
    ------
    PacketError : ``schema``: a type holds itself, the levels are too many, or it isn't as Avro has it
    """
    known = _known.get(id(schema))
    if known is None:
        if len(_known) >= REMEMBERED:
            _known.clear()
        known = _known[id(schema)] = (schema, _of(schema, {}, 0))  # kept, so that the id stays its own
    return known[1]


def _of(kind: Any, named: dict[str, Unfolding | None], depth: int) -> Unfolding:
    """What a type can take, once those that it holds are known; ``named`` has None for those that hold it."""
    if depth > MAX_DEPTH:
        raise PacketError("schema", f"more than {MAX_DEPTH} levels")
    if isinstance(kind, list):
        if not kind or any(isinstance(branch, list) for branch in kind):
            raise PacketError("schema", "a union of nothing, or of unions")
        branches = [_of(branch, named, depth + 1) for branch in kind]
        least, fixed, per_byte, deepest = (list(values) for values in zip(*branches, strict=True))
        return Unfolding(1 + min(least), max(fixed), max(per_byte), max(deepest))
    if isinstance(kind, str):
        return _by_name(kind, named)
    if not isinstance(kind, dict) or not isinstance(kind.get("type"), str):
        raise PacketError("schema", f"{str(kind)[:60]} is no type")
    if "name" not in kind:
        return _by_kind(kind, named, depth)
    name = kind["name"]
    if name in PRIMITIVES:
        raise PacketError("schema", f"{name} is a type of Avro's own")
    named[name] = None
    found = named[name] = _by_kind(kind, named, depth)
    if found.depth > MAX_DEPTH:
        raise PacketError("schema", f"more than {MAX_DEPTH} levels in {name}")
    return found


def _by_name(name: str, named: Mapping[str, Unfolding | None]) -> Unfolding:
    if name in PRIMITIVES:
        return PRIMITIVES[name]
    if name not in named:
        raise PacketError("schema", f"{name} is no type")
    found = named[name]
    if found is None:
        raise PacketError("schema", f"{name} contains itself")
    return found


def _by_kind(kind: Any, named: dict[str, Unfolding | None], depth: int) -> Unfolding:
    match kind["type"]:
        case "record" | "error":
            _require_names(kind["fields"])
            fields = [_of(field["type"], named, depth + 1) for field in kind["fields"]]
            return Unfolding(
                sum(field.least for field in fields),
                _mapping(len(fields)) + sum(field.fixed for field in fields),
                max((field.per_byte for field in fields), default=0.0),
                1 + max((field.depth for field in fields), default=0),
            )
        case "array":
            return _of_many(_of(kind["items"], named, depth + 1), _PLACE, 0)
        case "map":
            return _of_many(_of(kind["values"], named, depth + 1), _ENTRY + _TEXT, 1)
        case "fixed":
            return Unfolding(_size(kind), _BYTES + _size(kind))
        case "enum":
            return Unfolding(1, 0)
        case name:
            return _by_name(name, named)


def _require_names(fields: list[Any]) -> None:
    """Raise `PacketError` where a field has no name as Avro has them: dots and signs mean something to MongoDB."""
    for field in fields:
        if not isinstance(field["name"], str) or not _NAME.fullmatch(field["name"]):
            raise PacketError("schema", f"{str(field['name'])[:60]!r} is no name of a field")


def _of_many(item: Unfolding, place: int, key: int) -> Unfolding:
    """A list or map of items, each of which has a place and a key of so many bytes at least."""
    least = item.least + key
    each = (item.fixed + place) / least if least else inf
    return Unfolding(1, _LIST, each + max(item.per_byte, 4.0 * key), 1 + item.depth)


def _size(kind: Any) -> int:
    size = kind.get("size")
    if type(size) is not int or size < 0:
        raise PacketError("schema", f"a fixed of {str(size)[:60]} bytes")
    return size


@cache
def _mapping(fields: int) -> int:
    """Bytes of a record with so many fields, whose names are the schema's."""
    return sys.getsizeof(dict.fromkeys(map(str, range(min(fields, 1 << 16))))) + 64 * max(0, fields - (1 << 16)) + 16
