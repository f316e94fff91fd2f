"""The head of a packet that can't be decoded: its first record, field by field, up to where it breaks.

For a person to look at; fastavro gives a record or nothing.
"""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from kowalski.alerts.decode import MAGIC, MAX_CONTENT, open_head
from kowalski.alerts.survey import Survey
from kowalski.alerts.wire import HEADER, Schemas, schema_number
from kowalski.errors import PacketError

#: values that are read at most, so that a list of nothing, a billion times, comes to an end
MAX_VALUES = 100_000

FLOATS = {"float": struct.Struct("<f"), "double": struct.Struct("<d")}
TEXTS = ("string", "bytes")


class Head(NamedTuple):
    """What can be told of a packet.

    Attributes
    ----------
    schema : that it was written with; None: that can't be known
    record : as many of its fields as can be read
    problem : what kept the rest from being read; empty: nothing
    """

    schema: Any
    record: dict[str, Any]
    problem: str


def read_head(data: bytes, survey: Survey, schemas: Schemas) -> Head:
    """As much of a packet's first record as can be read; raises nothing, whatever the bytes are."""
    schema: Any = None
    record: dict[str, Any] = {}
    try:
        if survey.schemas is not None and not data.startswith(MAGIC):
            schema = schemas(schema_number(data))
            reader = _Reader(data[HEADER.size :])
        else:
            schema, decompress, rest = open_head(data)
            block = _Reader(rest)
            block.long()  # the number of its records
            reader = _Reader(decompress(block.some(block.long()), MAX_CONTENT))
        reader.fill(record, schema)
    except PacketError as error:
        return Head(schema, record, str(error))
    except RecursionError:
        return Head(schema, record, "schema: its types lie too deep within each other")
    return Head(schema, record, "")


class _Reader:
    """Reads values into records and lists that are there already, so that what was read stays when something breaks."""

    def __init__(self, data: bytes):
        self._data, self._at, self._read = data, 0, 0
        self._named: dict[str, Any] = {}
        self._field = "the block's size"

    def fill(self, record: dict[str, Any], schema: Any) -> None:
        """Put the fields of a record where they belong."""
        if not isinstance(schema, Mapping) or "fields" not in schema:
            raise PacketError("schema", "the schema describes no record")
        self._named[schema["name"]] = schema
        for field in schema["fields"]:
            self._put(record, field["name"], field["type"])

    def long(self) -> int:
        """A zigzag-encoded number."""
        shift = value = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > 63:
                raise PacketError("corrupt", f"{self._field} has a number of more than 64 bits")

    def some(self, size: int) -> bytes:
        """So many bytes, or as many as there are."""
        return self._data[self._at : self._at + max(size, 0)]

    def _take(self, size: int) -> bytes:
        if size < 0:
            raise PacketError("corrupt", f"{self._field} has {size} bytes")
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise PacketError("truncated", f"ends inside {self._field}")
        self._at += size
        return taken

    def _put(self, holder: dict[str, Any] | list[Any], key: str, kind: Any) -> None:
        """Read one value of a type into a record, under its name, or at the end of a list."""
        self._read += 1
        if self._read > MAX_VALUES:
            raise PacketError("corrupt", f"more than {MAX_VALUES} values")
        self._field = key
        kind = self._branch(kind)
        name = kind["type"] if isinstance(kind, Mapping) else kind
        value: Any = {"record": {}, "error": {}, "map": {}, "array": []}.get(name)
        if value is None:
            value = self._scalar(name, kind)
        if isinstance(holder, list):
            holder.append(value)
        else:
            holder[key] = value
        if name in ("record", "error"):
            self.fill(value, kind)
        elif name in ("map", "array"):
            self._items(value, key, kind)

    def _branch(self, kind: Any) -> Any:
        if isinstance(kind, list):
            number = self.long()
            if not 0 <= number < len(kind):
                raise PacketError("corrupt", f"{self._field} has branch {number} of {len(kind)}")
            kind = kind[number]
        if isinstance(kind, str):
            return self._named.get(kind, kind)
        if isinstance(kind, Mapping) and "name" in kind:
            self._named[kind["name"]] = kind
        return kind

    def _items(self, holder: dict[str, Any] | list[Any], key: str, kind: Any) -> None:
        while count := self.long():
            if count < 0:
                self.long()  # bytes, for who skips them
            for _ in range(abs(count)):
                if isinstance(holder, list):
                    self._put(holder, key, kind["items"])
                else:
                    self._put(holder, self._scalar("string", kind), kind["values"])

    def _scalar(self, name: str, kind: Any) -> Any:
        if name == "null":
            return None
        if name == "boolean":
            return self._take(1) != b"\0"
        if name in ("int", "long"):
            return self.long()
        if name in FLOATS:
            return FLOATS[name].unpack(self._take(FLOATS[name].size))[0]
        if name in TEXTS:
            data = self._take(self.long())
            return data if name == "bytes" else data.decode(errors="replace")
        if name == "fixed":
            return self._take(kind["size"])
        if name == "enum" and 0 <= (number := self.long()) < len(kind["symbols"]):
            return kind["symbols"][number]
        raise PacketError("corrupt", f"{self._field} is no {name}")
