"""Documents of MongoDB as Parquet: types that all of them fit, found by looking at each.

int32 and int64 are int64, ObjectId, UUID and Decimal128 are text, moments are timestamps in ms (UTC), lists and documents stay nested. Where values
of one field have types that don't go together, or that Arrow hasn't, the column is the values' JSON as text; so are documents of more
fields than `WIDEST`, and what lies deeper than `DEEPEST`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import pyarrow as pa
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from kowalski.archive.tables.fitting import text_of

#: fields of a document that get columns of their own, and levels
WIDEST, DEEPEST = 2000, 32
#: whole numbers up to here are doubles, too
EXACT = 2**53
#: name of the column of documents that have no fields at all
NOTHING = "document"

#: Python's types -> names of the kinds of values
NAMES: dict[type, str] = {
    bool: "bool", int: "int", Int64: "int", float: "float", str: "text", bytes: "bytes", datetime: "moment",
    ObjectId: "text_of", Decimal128: "text_of", UUID: "text_of", list: "list", dict: "document",
}  # fmt: skip
SCALARS = {
    "bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bytes": pa.binary(),
    "moment": pa.timestamp("ms", "UTC"), "text_of": pa.string(),
}  # fmt: skip

Change = Callable[[Any], Any]


class Shape:
    """What the values of one field are, as far as they were seen."""

    __slots__ = ("depth", "exact", "fields", "items", "kinds")

    def __init__(self, depth: int = 0):
        self.depth = depth
        self.kinds: set[str] = set()
        self.exact = True
        self.fields: dict[str, Shape] = {}
        self.items: Shape | None = None

    def see(self, value: Any) -> None:
        """Take a value into account."""
        if value is None:
            return
        name = NAMES.get(type(value), "other")
        self.kinds.add(name)
        if name == "int":
            self.exact = self.exact and -EXACT <= value <= EXACT
        elif name == "document" and self.depth < DEEPEST and len(self.fields) <= WIDEST:
            for key, each in value.items():
                self._field(key).see(each)
        elif name == "list" and self.depth < DEEPEST:
            if self.items is None:
                self.items = Shape(self.depth + 1)
            for each in value:
                self.items.see(each)

    def column(self) -> tuple[pa.DataType, Change | None]:
        """The type of them all, and what makes a value one of it; None: it is already."""
        if not self.kinds:
            return pa.null(), None
        if self.kinds == {"int", "float"} and self.exact:
            return pa.float64(), float
        if self.kinds == {"text", "text_of"}:
            return pa.string(), str
        if len(self.kinds) > 1 or self.depth >= DEEPEST:
            return pa.string(), text_of
        (name,) = self.kinds
        if name == "document":
            return self._struct()
        if name == "list":
            return self._list()
        return (SCALARS[name], str if name == "text_of" else None) if name in SCALARS else (pa.string(), text_of)

    def _field(self, name: str) -> "Shape":
        shape = self.fields.get(name)
        if shape is None:
            shape = self.fields[name] = Shape(self.depth + 1)
        return shape

    def _struct(self) -> tuple[pa.DataType, Change | None]:
        if not self.fields or len(self.fields) > WIDEST:
            return pa.string(), text_of
        columns = {name: shape.column() for name, shape in self.fields.items()}
        changes = {name: change for name, (_, change) in columns.items() if change}
        kind = pa.struct([pa.field(name, each) for name, (each, _) in columns.items()])
        return kind, (lambda value: changed(value, changes)) if changes else None

    def _list(self) -> tuple[pa.DataType, Change | None]:
        kind, change = self.items.column() if self.items else (pa.null(), None)
        if change is None:
            return pa.list_(pa.field("element", kind)), None
        return pa.list_(pa.field("element", kind)), lambda value: [None if each is None else change(each) for each in value]  # fmt: skip


def changed(document: Mapping[str, Any], changes: Mapping[str, Change]) -> dict[str, Any]:
    """A document with some of its fields changed, where they are not null."""
    made = {name: change(document[name]) for name, change in changes.items() if document.get(name) is not None}
    return {**document, **made}


class Documents:
    """Makes tables of documents, once all of them were seen."""

    def __init__(self) -> None:
        self._whole = Shape()

    def see(self, documents: Iterable[dict[str, Any]]) -> None:
        """Take documents into account."""
        for document in documents:
            self._whole.see(document)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all that was seen."""
        kind, _ = self._column
        return pa.schema(list(kind) if pa.types.is_struct(kind) else [pa.field(NOTHING, pa.string())])

    def table(self, documents: list[dict[str, Any]]) -> pa.Table:
        """Some of the documents."""
        kind, change = self._column
        array = pa.array([change(each) for each in documents] if change else documents, kind)
        if pa.types.is_struct(kind):
            return pa.Table.from_batches([pa.RecordBatch.from_struct_array(array)], self.schema)
        return pa.table([array], self.schema)

    @cached_property
    def _column(self) -> tuple[pa.DataType, Change | None]:
        return self._whole.column()
