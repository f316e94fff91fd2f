"""Avro to Arrow to Parquet and back: the same to the last bit, of real packets and of whatever Avro can say."""

import io
import json
import struct
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import real_files

from kowalski.alerts.decode import decode, open_container
from kowalski.archive.tables.arrow import Kind, from_arrow, kind_of, schema_of, to_arrow
from kowalski.errors import SchemaError

SURVEYS = {"ztf": 36, "pgir": 17, "wntr": 11, "turbo": 11, "lsst": 10}


def bits(value: Any) -> Any:
    """A value in which equal means equal to the last bit, and in type."""
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, dict):
        return [(key, bits(each)) for key, each in value.items()]
    if isinstance(value, list):
        return [bits(each) for each in value]
    if isinstance(value, Decimal):
        return value.as_tuple()
    return type(value), value


def through_parquet(values: list[Any], kind: Kind) -> list[Any]:
    file = io.BytesIO()
    pq.write_table(to_arrow(values, kind), file)
    return from_arrow(pq.read_table(file), kind)


@pytest.mark.parametrize("survey", SURVEYS)
def test_real_packets_come_back_to_the_last_bit(test_data: Path, survey: str) -> None:
    files, compared = real_files(test_data, survey), 0
    assert len(files) == SURVEYS[survey]
    for file in files:
        data = file.read_bytes()
        kind = kind_of(open_container(data)[0])
        records = decode(data)
        assert bits(through_parquet(records, kind)) == bits(records)
        compared += 1
    assert compared == SURVEYS[survey]


def test_identifiers_are_int64_and_floats_float32(test_data: Path) -> None:
    schema = schema_of(kind_of(open_container(real_files(test_data, "ztf")[0].read_bytes())[0]))
    candidate = schema.field("candidate").type
    assert schema.field("candid").type == pa.int64()
    assert not schema.field("candid").nullable
    assert candidate.field("magpsf").type == pa.float32()
    assert candidate.field("jd").type == pa.float64()
    assert candidate.field("fid").type == pa.int32()
    assert pa.types.is_list(schema.field("prv_candidates").type)


# whatever Avro can say

INT, LONG = 2**31, 2**63


def payload(number: int) -> float:
    """A quiet NaN that carries a number."""
    nan: float = struct.unpack("<d", struct.pack("<Q", 0x7FF8 << 48 | number))[0]
    return nan


SINGLE = st.one_of(
    st.floats(width=32), st.just(-0.0), st.integers(0, 2**22 - 1).map(lambda number: payload(number << 29))
)
DOUBLE = st.one_of(st.floats(), st.just(-0.0), st.integers(0, 2**51 - 1).map(payload))
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
MILLIS = MOMENTS.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))
TIMES = st.times()
LEAVES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "null": ("null", st.none()),
    "boolean": ("boolean", st.booleans()),
    "int": ("int", st.sampled_from([-INT, INT - 1]) | st.integers(-INT, INT - 1)),
    "long": ("long", st.sampled_from([-LONG, LONG - 1]) | st.integers(-LONG, LONG - 1)),
    "float": ("float", SINGLE),
    "double": ("double", DOUBLE),
    "bytes": ("bytes", st.binary(max_size=5)),
    "string": ("string", TEXT),
    "date": ({"type": "int", "logicalType": "date"}, st.dates(date(1, 1, 2))),
    "time-millis": ({"type": "int", "logicalType": "time-millis"}, TIMES.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))),
    "time-micros": ({"type": "long", "logicalType": "time-micros"}, TIMES),
    "timestamp-millis": ({"type": "long", "logicalType": "timestamp-millis"}, MILLIS),
    "timestamp-micros": ({"type": "long", "logicalType": "timestamp-micros"}, MOMENTS),
    "local-millis": ({"type": "long", "logicalType": "local-timestamp-millis"}, MILLIS.map(lambda at: at.replace(tzinfo=None))),
    "local-micros": ({"type": "long", "logicalType": "local-timestamp-micros"}, MOMENTS.map(lambda at: at.replace(tzinfo=None))),
    "uuid": ({"type": "string", "logicalType": "uuid"}, st.uuids()),
    "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}, st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-3))),
    "of nobody": ({"type": "long", "logicalType": "parsecs"}, st.integers(-LONG, LONG - 1)),
}  # fmt: skip


class Maker:
    """Draws schemas, each with what gives its values; names are numbered, and types may be named again."""

    def __init__(self, draw: Any):
        self.draw, self.named = draw, list[tuple[str, st.SearchStrategy[Any]]]()

    def schema(self, depth: int = 0) -> tuple[Any, st.SearchStrategy[Any]]:
        nested = ["record", "array", "map", "union"] if depth < 3 else []
        choices = [*LEAVES, "enum", "fixed", *nested, *(["again"] if self.named else [])]
        choice = self.draw(st.sampled_from(choices))
        return LEAVES[choice] if choice in LEAVES else getattr(self, f"_{choice}")(depth)

    def _name(self, values: st.SearchStrategy[Any]) -> str:
        self.named.append((f"n{len(self.named)}", values))
        return self.named[-1][0]

    def _again(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        return self.draw(st.sampled_from(self.named))

    def _enum(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        values = st.sampled_from(["A", "B", "C"])
        return {"type": "enum", "name": self._name(values), "symbols": ["A", "B", "C"]}, values

    def _fixed(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        size = self.draw(st.integers(0, 4))
        values = st.binary(min_size=size, max_size=size)
        return {"type": "fixed", "name": self._name(values), "size": size}, values

    def _array(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        items, values = self.schema(depth + 1)
        return {"type": "array", "items": items}, st.lists(values, max_size=3)

    def _map(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        items, values = self.schema(depth + 1)
        return {"type": "map", "values": items}, st.dictionaries(TEXT, values, max_size=3)

    def _record(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        fields = [self.schema(depth + 1) for _ in range(self.draw(st.integers(0, 4)))]
        values = st.fixed_dictionaries({f"f{place}": each for place, (_, each) in enumerate(fields)})
        listed = [{"name": f"f{place}", "type": schema} for place, (schema, _) in enumerate(fields)]
        return {"type": "record", "name": self._name(values), "fields": listed}, values

    def _union(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        found = dict[str, tuple[Any, st.SearchStrategy[Any]]]()
        for _ in range(self.draw(st.integers(1, 4))):
            schema, values = self.schema(depth + 1)
            name = schema if isinstance(schema, str) else schema.get("name", schema["type"]) if isinstance(schema, dict) else "union"  # fmt: skip
            if name != "union":  # which Avro has not within each other
                found.setdefault(name, (schema, values))
        if not found:
            return "null", st.none()
        branches = [schema for schema, _ in found.values()]
        return branches, st.one_of([values for _, values in found.values()])


@st.composite
def schemas_and_records(draw: Any) -> tuple[Any, list[Any]]:
    schema, values = Maker(draw).schema()
    return schema, draw(st.lists(values, min_size=1, max_size=4))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(schemas_and_records())
def test_whatever_avro_says_comes_back(case: tuple[Any, list[Any]]) -> None:
    schema, values = case
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    read = []
    for value in values:  # as Avro has it: of a union's branches fastavro takes one that may not hold all
        file = BytesIO()
        fastavro.schemaless_writer(file, parsed, value)
        file.seek(0)
        read.append(fastavro.schemaless_reader(file, parsed, None))
    kind = kind_of(parsed)
    assert bits(through_parquet(read, kind)) == bits(read)


def test_the_branch_that_holds_all_of_a_value_is_taken() -> None:
    schema = ["null", "int", "long", "float", "double", "string", {"type": "record", "name": "a.R", "fields": [{"name": "x", "type": "int"}]}, {"type": "record", "name": "b.R", "fields": []}]  # fmt: skip
    kind = kind_of({"type": "record", "name": "T", "fields": [{"name": "u", "type": schema}]})
    values = [None, 5, 2**40, 0.5, 0.1, "s", {"x": 1}, {}]
    table = to_arrow([{"u": value} for value in values], kind)
    found = [
        row["u"] and next(name for name, each in row["u"].items() if each is not None) for row in table.to_pylist()
    ]
    assert found == [None, "int", "long", "float", "double", "string", "a_R", "b_R"]
    assert bits([row["u"] for row in through_parquet([{"u": value} for value in values], kind)]) == bits(values)
    with pytest.raises(SchemaError, match=r"no branch of the union int, .* holds a bytes"):
        to_arrow([{"u": b""}], kind)


def test_large_decimals_uuids_and_times() -> None:
    fields = {
        "wide": {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 2},
        "wider": {"type": "bytes", "logicalType": "decimal", "precision": 90, "scale": 2},
        "id": {"type": "string", "logicalType": "uuid"},
        "at": {"type": "long", "logicalType": "time-micros"},
    }
    kind = kind_of({"type": "record", "name": "T", "fields": [{"name": name, "type": each} for name, each in fields.items()]})  # fmt: skip
    record = {
        "wide": Decimal((0, (7,) * 60, -2)),
        "wider": Decimal((1, (7,) * 90, -2)),
        "id": UUID(int=7),
        "at": time(1, 2, 3, 4),
    }
    assert bits(through_parquet([record], kind)) == bits([record])
    assert schema_of(kind).types == [pa.decimal256(60, 2), pa.string(), pa.string(), pa.time64("us")]


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "record", "name": "Tree", "fields": [{"name": "of", "type": {"type": "array", "items": "Tree"}}]}, "the Avro type Tree holds itself"),
        ({"type": "record", "name": "a.Deep", "fields": [{"name": "x", "type": {"type": "record", "name": "In", "fields": [{"name": "y", "type": ["null", "a.Deep"]}]}}]}, "the Avro type a.Deep holds itself"),
        ({"type": "record", "name": "T", "fields": [{"name": "x", "type": "strin"}]}, "not a valid Avro schema: strin"),
    ],
    ids=["itself", "through another", "no type"],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused(schema: Any, what: str) -> None:
    with pytest.raises(SchemaError, match=what):
        kind_of(schema)
