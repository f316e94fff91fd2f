"""The index of a file of packets: which messages it holds, and how each is given back as it was received. An Avro file itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from io import BytesIO
from typing import Any, Literal

import fastavro

from kowalski.alerts.decode import SYNC_SIZE, blocks_of, end_of_header
from kowalski.archive.packets.framing import block, header
from kowalski.errors import PacketError

Kind = Literal["container", "wire", "fixed", "received"]
"""``container``, ``wire``: the bytes as received come out of the fixed form; ``fixed``: the fixed form alone; ``received``: the bytes
as received alone."""

SCHEMA = {
    "type": "record",
    "name": "Entry",
    "namespace": "kowalski.archive",
    "doc": "One record of a message, and where it lies in the file of packets of the same name",
    "fields": [
        {"name": "candid", "type": ["null", "long"]},
        {"name": "objectId", "type": ["null", "string"]},
        {"name": "jd", "type": ["null", "double"], "doc": "of its candidate, d, UTC"},
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "offset", "type": "long"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "Kafka's"},
        {"name": "taken", "type": "boolean", "doc": "whether the chain took it; else it went to quarantine"},
        {"name": "kind", "type": "string", "doc": "container, wire, fixed or received"},
        {"name": "position", "type": "long", "doc": "of its first block in the file, bytes"},
        {"name": "size", "type": "long", "doc": "of its blocks, bytes"},
        {"name": "head", "type": "int", "doc": "which of the heads in this file: header or prefix as received"},
        {"name": "head_bytes", "type": ["null", "bytes"], "doc": "the head, where it is named for the first time"},
        {"name": "sync", "type": "bytes", "doc": "sync marker as received"},
        {"name": "length", "type": "long", "doc": "of the message as received, bytes"},
        {"name": "crc32", "type": "long", "doc": "of the message as received"},
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)

Identity = tuple[str, int, int, int]
"""Topic, partition, offset and checksum: the same message delivered again has the same."""


@dataclass(slots=True)
class Entry:
    """One record of a message; the attributes are explained in `SCHEMA`."""

    candid: int | None
    objectId: str | None
    jd: float | None
    topic: str
    partition: int
    offset: int
    timestamp: datetime
    taken: bool
    kind: Kind
    position: int
    size: int
    head: int
    head_bytes: bytes | None
    sync: bytes
    length: int
    crc32: int

    @property
    def identity(self) -> Identity:
        """What tells its message from others."""
        return self.topic, self.partition, self.offset, self.crc32

    @property
    def end(self) -> int:
        """Where its blocks end in the file."""
        return self.position + self.size


NAMES = tuple(field.name for field in fields(Entry))


def index_header(notes: dict[str, str]) -> bytes:
    """How an index begins, its sync marker apart."""
    return header(json.dumps(SCHEMA), "null", notes)


def encoded(entries: Sequence[Entry], sync: bytes) -> bytes:
    """Some entries as one block of an index."""
    stream = BytesIO()
    for entry in entries:
        fastavro.schemaless_writer(stream, PARSED, {name: getattr(entry, name) for name in NAMES})
    return block(len(entries), stream.getvalue(), sync)


def read_index(data: bytes) -> tuple[list[Entry], int]:
    """The entries of an index as far as it is whole, and where that ends; a block that was cut off is none."""
    try:
        begin, sync = end_of_header(data)
    except PacketError:
        return [], 0
    end, entries = begin + SYNC_SIZE, list[Entry]()
    try:
        for count, first, last in blocks_of(data, begin):
            stream = BytesIO(data[first:last])
            entries += [_entry(fastavro.schemaless_reader(stream, PARSED, None)) for _ in range(count)]
            end = last + SYNC_SIZE
    except (PacketError, EOFError, ValueError, IndexError):  # torn: what was written last when the writer died
        pass
    return entries, end


def _entry(record: Any) -> Entry:
    return Entry(**record)
