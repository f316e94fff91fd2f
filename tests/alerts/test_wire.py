"""Confluent's wire format: the one record, read with the one schema that its number names, or refused with the reason."""

from io import BytesIO
from typing import Any

import fastavro
import pytest

from kowalski.alerts.decode import parsed
from kowalski.alerts.wire import decode_wire, schema_number
from kowalski.errors import PacketError

TEXT = (
    '{"type": "record", "name": "tiny", "fields": [{"name": "id", "type": "long"}, {"name": "text", "type": "string"}]}'
)
TINY = parsed(TEXT)
RECORD = {"id": 2**62 + 1, "text": "x"}


def message(record: Any = RECORD, number: int = 1000, schema: Any = TINY) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, schema, record)
    return b"\0" + number.to_bytes(4, "big") + body.getvalue()


def schemas(number: int) -> Any:
    if number != 1000:
        raise PacketError("unknown_schema", str(number))
    return TINY


def test_a_record_is_read_with_the_schema_of_its_number() -> None:
    assert decode_wire(message(), schemas) == [RECORD]


@pytest.mark.parametrize("number", [704, 900, 1000, 1101, 2**31])
def test_the_number_is_big_endian(number: int) -> None:
    assert schema_number(message(number=number)) == number


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\0", "truncated"),
        (b"\0\0\0\x03", "truncated"),
        (b"\0\0\0\x03\xe8", "truncated"),
        (b"Obj\x01 and more", "not_avro"),
        (b"\x01" + message()[1:], "not_avro"),
        (message(number=1001), "unknown_schema"),
        (message(number=0xE8030000), "unknown_schema"),  # 1000, little-endian
        (message()[:-1], "corrupt"),
        (message()[:7], "corrupt"),
        (message() + b"\0", "trailing_bytes"),
        (message() + message(), "trailing_bytes"),
    ],
)
def test_what_is_not_one_record_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(PacketError) as refused:
        decode_wire(data, schemas)
    assert refused.value.reason == reason


def test_a_schema_that_is_not_a_record_is_refused() -> None:
    with pytest.raises(PacketError, match="not a record"):
        decode_wire(b"\0\0\0\x03\xe8\x02", lambda number: "long")


def test_no_other_schema_is_tried() -> None:
    """The bytes of one decode as the other: the number decides."""
    other = parsed(TEXT.replace('"id"', '"other"'))
    assert decode_wire(message(number=900), {900: other, 1000: TINY}.__getitem__) == [{"other": 2**62 + 1, "text": "x"}]


def test_a_schema_may_be_refused_before_its_records_are_read() -> None:
    def accept(schema: Any) -> None:
        raise PacketError("schema_drift", schema["name"])

    with pytest.raises(PacketError, match="schema_drift: tiny"):
        decode_wire(message() + b"more", schemas, accept)
