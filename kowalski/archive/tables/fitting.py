"""Documents into the columns of a table; what has no column of its own, or does not fit it, is kept in ``more``.

Most documents fit: Arrow takes these as they are, all at once, 10 times as fast as one value after the other. The others are taken apart.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
from bson import json_util

from kowalski.archive.tables.arrow import Kind, schema_of, table_of

#: largest finite number of 32 bits, and whole number up to which 64 bits hold all
LARGEST_SINGLE, WHOLE = 3.4028234663852886e38, 2**53
MORE = "more"

Row = dict[str, Any]
Document = Mapping[str, Any]


def fitted(kind: Kind, documents: Iterable[Row]) -> pa.Table:
    """Documents as a table of that kind of rows; those that fit come first."""
    plain, odd = list[Row](), list[Row]()
    for document in documents:
        (plain if kind.encode is None and _has_columns(kind, document) else odd).append(document)
    try:
        wide = pa.array(plain, _widened(kind.type))
        narrow = wide.cast(kind.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # one of them doesn't fit
        return table_of([row_of(kind, document) for document in (*plain, *odd)], kind)
    rounded = _rounded(wide, narrow)
    odd += [plain[place] for place in np.flatnonzero(rounded).tolist()]
    taken = narrow.filter(pa.array(~rounded))
    tables = [pa.Table.from_batches([pa.RecordBatch.from_struct_array(taken)]).cast(schema_of(kind))]
    if odd:
        tables.append(table_of([row_of(kind, document) for document in odd], kind))
    return pa.concat_tables(tables)


def row_of(kind: Kind, document: Document) -> Row:
    """A document as a row, value by value."""
    held, rest = _taken_apart(kind, document)
    if rest is not None and MORE in kind.fields:
        held[MORE] = text_of(rest)
    return held


def text_of(value: Any) -> str:
    """A value of MongoDB as relaxed extended JSON."""
    return json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)


def taken(kind: Kind, value: Any) -> tuple[Any, Any]:
    """A value as its column holds it, and what of it the column does not hold; None: nothing.

    A number that 32 bits hold only nearly is in the column so, and whole in the rest.
    """
    if value is None:
        return None, None
    if kind.fields and isinstance(value, Mapping):
        return _taken_apart(kind, value)
    if kind.fits(value):
        return (kind.encode(value) if kind.encode else value), None
    if pa.types.is_floating(kind.type) and isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and abs(value) <= WHOLE:
            return taken(kind, float(value))
        if isinstance(value, float) and (not isfinite(value) or abs(value) <= LARGEST_SINGLE):
            return value, value
    return None, value


def _taken_apart(kind: Kind, value: Document) -> tuple[Row, Row | None]:
    held, rest, fields = {}, {}, kind.fields
    for name, each in value.items():
        if each is None:
            continue
        if (field := fields.get(name)) is None:
            rest[name] = each
            continue
        held[name], left = taken(field, each)
        if left is not None:
            rest[name] = left
    return held, rest or None


def _has_columns(kind: Kind, document: Document) -> bool:
    """Whether there is a column for each field, down to the innermost."""
    if not document.keys() <= kind.fields.keys():
        return False
    return all(
        _has_columns(field, each) if isinstance(each := document[name], dict) else True
        for name in kind.nested
        if name in document and (field := kind.fields[name])
    )


def _widened(kind: pa.DataType) -> pa.DataType:
    """The same type with 64 bits where it has floats of 32."""
    if kind == pa.float32():
        return pa.float64()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_widened(field.type)) for field in kind])
    return pa.list_(kind.value_field.with_type(_widened(kind.value_type))) if pa.types.is_list(kind) else kind


def _rounded(wide: pa.Array, narrow: pa.Array) -> np.ndarray:
    """Which of N values have a number that 32 bits hold only nearly; shape (N,), bool."""
    rounded = np.zeros(len(wide), bool)
    if wide.type == narrow.type:
        return rounded
    if pa.types.is_struct(wide.type):
        for place in range(wide.type.num_fields):
            rounded |= _rounded(wide.field(place), narrow.field(place))
    elif pa.types.is_list(wide.type):
        rounded[:] = _rounded(wide.flatten(), narrow.flatten()).any()  # whichever of them it is
    else:
        one, other = (array.to_numpy(zero_copy_only=False).astype(float) for array in (wide, narrow))
        rounded = (one != other) & ~(np.isnan(one) & np.isnan(other))
    return rounded
