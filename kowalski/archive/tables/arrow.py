"""Avro to Arrow and back: every type has its counterpart, so that what Avro said is read again to the last bit.

====================================== ==============================================================================
Avro                                   Arrow
====================================== ==============================================================================
null, boolean, int, long               null, bool, int32, int64
float, double, bytes, string           float32, float64, binary, string
fixed, enum                            fixed-size binary, string
array, map                             list, map
record, error                          struct; one without fields is ``true``
[null, X], [X]                         X, with nulls and without
any other union                        struct of its branches, of which one has the value
date, time-*, (local-)timestamp-*      date32, time32 and time64, timestamp (UTC, or none)
decimal                                decimal128 or decimal256, text beyond 76 digits
uuid                                   string
any other logical type                 what it is made of
====================================== ==============================================================================

The rules for logical types are those by which fastavro reads them. A type that holds itself has no counterpart.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

import pyarrow as pa
from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

from kowalski.errors import SchemaError

#: key of the writer's schema in the metadata of an Arrow schema
AVRO_SCHEMA = b"avro.schema"
#: name of the one column of what is no record
VALUE = "value"
#: digits that an Arrow decimal has at most
DIGITS = 38, 76

Change = Callable[[Any], Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One Avro type, and what its values are in Arrow.

    Attributes
    ----------
    fits : whether a Python value is one of this type, and nothing of it is lost
    encode : Python value -> what Arrow is given; None: the value itself
    decode : what Arrow gives -> Python value; None: itself
    nullable : whether None is among its values
    fields : of a record: its fields
    items : of an array: that of its items
    """

    type: pa.DataType
    fits: Callable[[Any], bool]
    encode: Change | None = None
    decode: Change | None = None
    nullable: bool = False
    fields: Mapping[str, "Kind"] = field(default_factory=dict)
    items: "Kind | None" = None

    @cached_property
    def nested(self) -> tuple[str, ...]:
        """The fields that are records."""
        return tuple(name for name, kind in self.fields.items() if kind.fields)

    def column(self, name: str) -> pa.Field:
        """A column of this type."""
        return pa.field(name, self.type, self.nullable)


def kind_of(schema: Any) -> Kind:
    """What an Avro schema is in Arrow.

    Raises
    ------
    SchemaError : it is none, or a type of it holds itself, which tables can't have
    """
    try:
        return _Reader().kind(parse_schema(schema))
    except (SchemaParseException, UnknownType) as error:
        raise SchemaError(f"not a valid Avro schema: {error}") from None
    except RecursionError:
        raise SchemaError("an Avro schema whose types lie too deep within each other") from None


def record_of(fields: Mapping[str, Kind]) -> Kind:
    """A record of fields of some kinds."""
    if not fields:
        return Kind(pa.bool_(), lambda value: value == {}, lambda value: True, lambda value: {})
    changes = {name: kind.encode for name, kind in fields.items() if kind.encode}
    backwards = {name: kind.decode for name, kind in fields.items() if kind.decode}

    def fits(value: Any) -> bool:
        return isinstance(value, Mapping) and value.keys() == fields.keys() and all(kind.fits(value[name]) for name, kind in fields.items())  # fmt: skip

    columns = [kind.column(name) for name, kind in fields.items()]
    return Kind(pa.struct(columns), fits, _in_fields(changes), _in_fields(backwards), fields=dict(fields))


def with_nulls(kind: Kind) -> Kind:
    """The same kind, and None."""
    return replace(kind, nullable=True, fits=lambda value: value is None or kind.fits(value), encode=_but_none(kind.encode), decode=_but_none(kind.decode))  # fmt: skip


def schema_of(kind: Kind, avro: str | None = None) -> pa.Schema:
    """The columns of a table of values of one kind: a record's fields, else `VALUE`; ``avro`` is kept as the writer's schema."""
    columns = list(kind.type) if kind.fields and not kind.nullable else [kind.column(VALUE)]
    return pa.schema(columns, {AVRO_SCHEMA: avro.encode()} if avro else None)


def to_arrow(values: Iterable[Any], kind: Kind) -> pa.Table:
    """Values of one kind, as they are when read from Avro, as a table."""
    changed = [kind.encode(value) for value in values] if kind.encode else list(values)
    return table_of(changed, kind)


def table_of(encoded: list[Any], kind: Kind) -> pa.Table:
    """Values that are encoded already as a table."""
    array = pa.array(encoded, kind.type)
    schema = schema_of(kind)
    if kind.fields and not kind.nullable:
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(array)]).cast(schema)
    return pa.table([array], schema)


def from_arrow(table: pa.Table, kind: Kind) -> list[Any]:
    """The values that `to_arrow` made a table of."""
    if kind.fields and not kind.nullable:
        rows: list[Any] = table.to_pylist()
    else:
        rows = table[VALUE].to_pylist()
    return [kind.decode(row) for row in rows] if kind.decode else rows


class _Reader:
    """Reads a parsed schema, whose types may name others before them."""

    def __init__(self) -> None:
        self._known: dict[str, Kind] = {}
        self._open: list[str] = []

    def kind(self, schema: Any) -> Kind:
        """The kind of a type."""
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return self._named(schema)
        name = schema["type"]
        if not isinstance(name, str):
            return self.kind(name)
        if (logical := f"{name}-{schema.get('logicalType')}") in LOGICAL:
            return self._keep(schema, LOGICAL[logical](schema))
        if name in ("record", "error"):
            return self._record(schema)
        if name == "array":
            return _array(self.kind(schema["items"]))
        if name == "map":
            return _map(self.kind(schema["values"]))
        if name == "fixed":
            return self._keep(schema, _fixed(schema["size"]))
        if name == "enum":
            return self._keep(schema, _enum(frozenset(schema["symbols"])))
        return self._named(name)

    def _named(self, name: str) -> Kind:
        if name in PLAIN:
            return PLAIN[name]
        if name in self._open:
            raise SchemaError(f"the Avro type {name} holds itself: tables have no such types")
        if name not in self._known:
            raise SchemaError(f"there is no Avro type {name}")
        return self._known[name]

    def _keep(self, schema: Mapping[str, Any], kind: Kind) -> Kind:
        if "name" in schema:
            self._known[schema["name"]] = kind
        return kind

    def _record(self, schema: Mapping[str, Any]) -> Kind:
        self._open.append(schema["name"])
        kind = record_of({each["name"]: self.kind(each["type"]) for each in schema["fields"]})
        self._open.pop()
        return self._keep(schema, kind)

    def _union(self, branches: list[Any]) -> Kind:
        others = [branch for branch in branches if branch != "null"]
        kinds = [self.kind(branch) for branch in others]
        if not kinds:
            return PLAIN["null"]
        kind = kinds[0] if len(kinds) == 1 else _branches(dict(zip(_names(others), kinds, strict=True)))
        return with_nulls(kind) if len(others) < len(branches) else kind


def _names(branches: list[Any]) -> list[str]:
    """A name for each branch of a union: that of its type, without its namespace where that is enough."""
    full = [branch if isinstance(branch, str) else branch.get("name") or str(branch["type"]) for branch in branches]
    short = [name.rpartition(".")[2] for name in full]
    return [each if short.count(each) == 1 else name.replace(".", "_") for each, name in zip(short, full, strict=True)]


def _branches(kinds: Mapping[str, Kind]) -> Kind:
    """A union of several: the value stands in the first branch that holds all of it."""

    def encode(value: Any) -> Any:
        for name, kind in kinds.items():
            if kind.fits(value):
                return {name: kind.encode(value) if kind.encode else value}
        raise SchemaError(f"no branch of the union {', '.join(kinds)} holds a {type(value).__name__}")

    def decode(value: Any) -> Any:
        (name,) = (name for name in kinds if value[name] is not None)
        change = kinds[name].decode
        return change(value[name]) if change else value[name]

    columns = [pa.field(name, kind.type) for name, kind in kinds.items()]
    return Kind(pa.struct(columns), lambda value: any(kind.fits(value) for kind in kinds.values()), encode, decode)


def _array(items: Kind) -> Kind:
    def fits(value: Any) -> bool:
        return isinstance(value, list) and all(map(items.fits, value))

    return Kind(pa.list_(items.column("element")), fits, _each(items.encode), _each(items.decode), items=items)


def _map(values: Kind) -> Kind:
    encode, decode = values.encode or _same, values.decode or _same

    def fits(value: Any) -> bool:
        return isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(values.fits, value.values()))

    return Kind(
        pa.map_(pa.string(), values.column("value")),
        fits,
        lambda value: [(key, encode(each)) for key, each in value.items()],
        lambda value: {key: decode(each) for key, each in value},
    )


def _fixed(size: int) -> Kind:
    kind = pa.binary(size) if size else pa.binary()
    return Kind(kind, lambda value: isinstance(value, bytes) and len(value) == size)


def _enum(symbols: frozenset[str]) -> Kind:
    return Kind(pa.string(), lambda value: isinstance(value, str) and value in symbols)


def _decimal(schema: Mapping[str, Any]) -> Kind:
    digits, scale = schema["precision"], schema.get("scale", 0)

    def fits(value: Any) -> bool:
        return isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == -scale

    if digits > DIGITS[1]:
        return Kind(pa.string(), fits, str, Decimal)
    return Kind((pa.decimal128 if digits <= DIGITS[0] else pa.decimal256)(digits, scale), fits)


def _moment(unit: str, zone: str | None) -> Callable[[Any], Kind]:
    def fits(value: Any) -> bool:
        return isinstance(value, datetime)

    def decode(value: datetime) -> datetime:
        return value.replace(tzinfo=UTC)

    return lambda schema: Kind(pa.timestamp(unit, zone), fits, decode=decode if zone else None)


def _of(kind: pa.DataType, python: type) -> Callable[[Any], Kind]:
    return lambda schema: Kind(kind, lambda value: isinstance(value, python) and not isinstance(value, datetime))


def _whole(bits: int) -> Callable[[Any], bool]:
    end = 1 << (bits - 1)
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and -end <= value < end


def is_single(value: Any) -> bool:
    """Whether a value is a number that 32 bits hold exactly."""
    if not isinstance(value, float):
        return False
    try:
        single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return False
    return single == value or (value != value and struct.pack("<d", single) == struct.pack("<d", value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _same(value: Any) -> Any:
    return value


def _but_none(change: Change | None) -> Change | None:
    return change and (lambda value: None if value is None else change(value))


def _each(change: Change | None) -> Change | None:
    return change and (lambda values: [change(value) for value in values])


def _in_fields(changes: Mapping[str, Change]) -> Change | None:
    """A record with some of its fields changed."""
    if not changes:
        return None
    return lambda value: {**value, **{name: change(value[name]) for name, change in changes.items()}}


PLAIN = {
    "null": Kind(pa.null(), lambda value: value is None, nullable=True),
    "boolean": Kind(pa.bool_(), lambda value: isinstance(value, bool)),
    "int": Kind(pa.int32(), _whole(32)),
    "long": Kind(pa.int64(), _whole(64)),
    "float": Kind(pa.float32(), is_single),
    "double": Kind(pa.float64(), lambda value: isinstance(value, float)),
    "bytes": Kind(pa.binary(), lambda value: isinstance(value, bytes)),
    "string": Kind(pa.string(), _is_text),
}
#: those that fastavro reads as something else than what they are made of
LOGICAL: dict[str, Callable[[Any], Kind]] = {
    "int-date": _of(pa.date32(), date),
    "int-time-millis": _of(pa.time32("ms"), time),
    "long-time-micros": _of(pa.time64("us"), time),
    "long-timestamp-millis": _moment("ms", "UTC"),
    "long-timestamp-micros": _moment("us", "UTC"),
    "long-local-timestamp-millis": _moment("ms", None),
    "long-local-timestamp-micros": _moment("us", None),
    "bytes-decimal": _decimal,
    "fixed-decimal": _decimal,
    "string-uuid": lambda schema: Kind(pa.string(), lambda value: isinstance(value, UUID), str, UUID),
}
