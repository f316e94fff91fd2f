"""Messages in Confluent's wire format to records: a zero byte, the number of a schema, the record without its schema.

The number is a big-endian int of four bytes, whatever the Rubin project's own description says of its alerts: their bytes are.
"""

import struct
from collections.abc import Callable
from typing import Any

from kowalski.alerts.decode import read_records
from kowalski.alerts.unfolding import require_memory
from kowalski.errors import PacketError

HEADER = struct.Struct(">BI")

Schemas = Callable[[int], Any]
"""The parsed schema of a number; raises `PacketError` where there is none."""


def schema_number(data: bytes) -> int:
    """The number of the schema that a message is written with.

    Raises
    ------
    PacketError : ``empty``, ``truncated`` or ``not_avro``
    """
    if not data:
        raise PacketError("empty", "the message has no bytes")
    if data[0] != 0:
        raise PacketError("not_avro", f"begins with {data[:8]!r}, neither with a zero byte nor as an Avro container")
    if len(data) <= HEADER.size:
        raise PacketError("truncated", f"{len(data)} bytes are too few for a schema's number and a record")
    number: int = HEADER.unpack_from(data)[1]
    return number


def decode_wire(
    data: bytes, schemas: Schemas, accept: Callable[[Any], None] = lambda schema: None
) -> list[dict[str, Any]]:
    """The one record of a message; no other schema is tried than the one it names, as some decode as each other.

    Raises
    ------
    PacketError : as `schema_number`, ``schemas`` and ``accept`` do, or ``corrupt``, ``schema``, ``too_large`` or ``trailing_bytes``
    """
    schema = schemas(schema_number(data))
    accept(schema)
    require_memory(schema, 1, len(data) - HEADER.size)
    return read_records(data[HEADER.size :], 1, schema)
