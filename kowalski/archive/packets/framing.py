"""Packets taken apart and put together again: header, sync marker, blocks; nothing of a block but its sync marker is ever changed."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from kowalski.alerts.decode import MAGIC, SYNC_SIZE, blocks_of, end_of_header, read_long
from kowalski.alerts.survey import Survey
from kowalski.alerts.wire import HEADER
from kowalski.errors import PacketError


class Parts(NamedTuple):
    """What a message consists of.

    Attributes
    ----------
    head : a container's header without its sync marker, or a wire message's prefix
    sync : the container's sync marker; empty: it is a wire message
    body : all the rest; a container's blocks, each with the sync marker after it, or the record
    blocks : how many
    """

    head: bytes
    sync: bytes
    body: bytes
    blocks: int = 1

    @property
    def whole(self) -> bytes:
        """The message."""
        return self.head + self.sync + self.body


def taken_apart(data: bytes, survey: Survey) -> Parts:
    """The parts of a message.

    Raises
    ------
    PacketError : it is neither a container whose blocks are whole and hold records, nor a wire message of a survey that has such
    """
    if survey.schemas is not None and data[:1] == b"\0" and len(data) > HEADER.size:
        return Parts(data[: HEADER.size], b"", data[HEADER.size :])
    if not data.startswith(MAGIC):
        raise PacketError("not_avro", "no container")
    end, sync = end_of_header(data)
    if not (counts := [count for count, _, _ in blocks_of(data, end)]) or min(counts) < 1:
        raise PacketError("empty", "a block without records, behind which some readers see nothing")
    return Parts(data[:end], sync, data[end + SYNC_SIZE :], len(counts))


def contents(body: bytes, sync: bytes) -> list[tuple[int, bytes]]:
    """The blocks of a container's body: numbers of records, and bytes as they are there."""
    return [(count, body[begin - SYNC_SIZE : end - SYNC_SIZE]) for count, begin, end in blocks_of(sync + body, 0)]


def resynced(body: bytes, before: bytes, after: bytes) -> bytes:
    """A container's body with another sync marker after each of its blocks."""
    data = before + body
    pieces, begin = [], SYNC_SIZE
    for _, _, end in blocks_of(data, 0):
        pieces += [data[begin:end], after]
        begin = end + SYNC_SIZE
    return b"".join(pieces)


def received(kind: str, head: bytes, sync: bytes, blocks: bytes, kept_sync: bytes) -> bytes:
    """A message as it was received, from its blocks as they are kept, each with the sync marker ``kept_sync`` after it."""
    if kind == "container":
        return head + sync + resynced(blocks, kept_sync, sync)
    ((_, content),) = contents(blocks, kept_sync)
    if kind == "wire":
        return head + content
    size, begin = read_long(content, 0)
    return content[begin : begin + size]


def block(count: int, content: bytes, sync: bytes) -> bytes:
    """One block of a container."""
    return long(count) + long(len(content)) + content + sync


def header(schema: str, codec: str, notes: Mapping[str, str]) -> bytes:
    """A container's header without its sync marker; ``notes`` stand beside schema and codec."""
    entries = {"avro.schema": schema, "avro.codec": codec, **notes}
    return MAGIC + long(len(entries)) + b"".join(_text(part) for entry in entries.items() for part in entry) + long(0)


def long(value: int) -> bytes:
    """A number as Avro writes it."""
    value = (value << 1) ^ (value >> 63)
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _text(text: str) -> bytes:
    data = text.encode()
    return long(len(data)) + data


#: schema of what is kept as it was received and in no other form
RECEIVED = json.dumps(
    {
        "type": "record",
        "name": "Received",
        "namespace": "kowalski.archive",
        "doc": "A message that can't be read as an alert, as it was received",
        "fields": [{"name": "data", "type": "bytes"}],
    }
)
