"""Avro packets to records: strict, any codec, the writer's schema parsed once and remembered.

fastavro reads the records; the container around them is walked here because fastavro parses the schema anew for each
packet (0.5 of 1.25 ms) and accepts trailing bytes and a missing last sync marker.
"""

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from typing import Any

import cramjam
import numpy as np
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import SchemaParseException, UnknownType

from kowalski.alerts.unfolding import REMEMBERED, require_memory, unfolding_of
from kowalski.errors import PacketError

Codec = Callable[[bytes, int], bytes]
"""Decompresses a block, as far as there is room for it."""

MAGIC = b"Obj\x01"
SYNC_SIZE = 16
#: bytes of all blocks of a packet, decompressed; real packets have 60 kB to 300 kB, the largest allowed by Kafka here 32 MB
MAX_CONTENT = 32 * 1024 * 1024
#: bytes of a header, of which some are remembered; real ones have 5 kB to 60 kB
MAX_HEADER = 1024 * 1024
#: what xz may take to decompress a block
XZ_MEMORY = 128 * 1024 * 1024
#: cramjam's words for a buffer that is full
NO_ROOM = "failed to write whole buffer"
#: what is kept of logical types: MongoDB has moments, but no days, decimals of any length or UUIDs without more ado
MOMENTS = ("timestamp-millis", "timestamp-micros")


@dataclass(frozen=True, slots=True)
class Packet:
    """One message of a stream, as it was received.

    Attributes
    ----------
    timestamp : when Kafka got it
    kept : it comes out of the packet archive, and need not be put there
    received : when it was read as it came; None: it is replayed
    """

    data: bytes
    topic: str = ""
    partition: int = 0
    offset: int = 0
    timestamp: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    kept: bool = False
    received: datetime | None = None


def decode(data: bytes, accept: Callable[[Any], None] = lambda schema: None) -> list[dict[str, Any]]:
    """The records of one Avro object container; ``accept`` may refuse its schema by raising `PacketError`.

    Raises
    ------
    PacketError : ``empty``, ``not_avro``, ``schema``, ``codec``, ``truncated``, ``corrupt``, ``too_large`` or ``trailing_bytes``
    """
    schema, blocks = open_container(data)
    accept(schema)
    require_memory(schema, sum(count for count, _ in blocks), sum(len(block) for _, block in blocks))
    records = [record for count, block in blocks for record in read_records(block, count, schema)]
    if not records:
        raise PacketError("empty", "the packet holds no record")
    return records


def open_container(data: bytes) -> tuple[Any, list[tuple[int, bytes]]]:
    """The parsed schema of an Avro object container and its blocks, decompressed, with their numbers of records.

    Raises
    ------
    PacketError : as `decode`
    """
    schema, decompress, header_end = _opened(data)
    blocks: list[tuple[int, bytes]] = []
    room = MAX_CONTENT
    for count, begin, end in blocks_of(data, header_end):
        blocks.append((count, decompress(data[begin:end], room)))
        room -= len(blocks[-1][1])
    return schema, blocks


def blocks_of(data: bytes, header_end: int) -> Iterator[tuple[int, int, int]]:
    """Of each block behind a header: its number of records, and where its content begins and ends, the sync marker after it.

    Raises
    ------
    PacketError : ``truncated`` or ``corrupt``
    """
    position = header_end + SYNC_SIZE
    sync = data[header_end:position]
    while position < len(data):
        count, position = read_long(data, position)
        size, position = read_long(data, position)
        end = position + size
        if count < 0 or size < 0:
            raise PacketError("corrupt", f"a block of {count} records and {size} bytes")
        if end + SYNC_SIZE > len(data):
            raise PacketError("truncated", f"{len(data)} bytes, {end + SYNC_SIZE} announced")
        if data[end : end + SYNC_SIZE] != sync:
            raise PacketError("corrupt", "sync marker missing after a block")
        yield count, position, end
        position = end + SYNC_SIZE


def open_head(data: bytes) -> tuple[Any, Codec, bytes]:
    """Of an Avro object container that may be cut off behind its header: its parsed schema, its codec, and the bytes after the header.

    Raises
    ------
    PacketError : as `decode`
    """
    schema, decompress, header_end = _opened(data)
    return schema, decompress, data[header_end + SYNC_SIZE :]


def _opened(data: bytes) -> tuple[Any, Codec, int]:
    """The schema and the decompressor of a container, and where its first sync marker begins."""
    if not data:
        raise PacketError("empty", "the message has no bytes")
    if not data.startswith(MAGIC):
        raise PacketError("not_avro", f"begins with {data[:8]!r}, not with an Avro object container's {MAGIC!r}")
    header_end, _ = end_of_header(data)
    if header_end > MAX_HEADER:
        raise PacketError("too_large", f"a header of {header_end} bytes, {MAX_HEADER} allowed")
    return *_header(data[:header_end]), header_end


def read_records(block: bytes, count: int, schema: Any) -> list[dict[str, Any]]:
    """The records that these bytes are, no byte more or less.

    Raises
    ------
    PacketError : ``corrupt``, ``schema`` or ``trailing_bytes``
    """
    if count > len(block):
        raise PacketError("corrupt", f"{count} records in {len(block)} bytes")
    stream = BytesIO(block)
    records = []
    for _ in range(count):
        try:
            record = schemaless_reader(stream, schema, None)
        except Exception as error:  # a C decoder over hostile bytes: whatever it raises, the packet is at fault
            raise PacketError("corrupt", f"record can't be read: {type(error).__name__}: {error}") from None
        if not isinstance(record, dict):
            raise PacketError("schema", f"the schema describes a {type(record).__name__}, not a record")
        records.append(record)
    if stream.tell() != len(block):
        raise PacketError("trailing_bytes", f"{len(block) - stream.tell()} bytes after the last record")
    return records


def read_long(data: bytes, position: int) -> tuple[int, int]:
    """A zigzag-encoded Avro long and the position after it."""
    shift = value = 0
    while True:
        if position >= len(data) or shift > 63:
            raise PacketError("truncated", f"ends inside a number at byte {position}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7


def end_of_header(data: bytes) -> tuple[int, bytes]:
    """Where the header's metadata end, and the sync marker that follows them."""
    position = len(MAGIC)
    for _ in range(1000):
        count, position = read_long(data, position)
        if count == 0:
            break
        if count < 0:
            _, position = read_long(data, position)
        for _ in range(2 * abs(count)):
            size, position = read_long(data, position)
            position += size
            if size < 0 or position > len(data):
                raise PacketError("truncated", "ends inside its header")
    sync = data[position : position + SYNC_SIZE]
    if len(sync) < SYNC_SIZE:
        raise PacketError("truncated", "ends inside its header")
    return position, sync


@lru_cache(maxsize=REMEMBERED)
def _header(header: bytes) -> tuple[Any, Codec]:
    """The parsed schema and the decompressor that a header names."""
    metadata = dict(metadata_of(header))
    codec = metadata.get("avro.codec", b"null").decode(errors="replace")
    if codec not in CODECS:
        raise PacketError("codec", f"{codec} is not one of {', '.join(CODECS)}")
    if "avro.schema" not in metadata:
        raise PacketError("schema", "the header holds none")
    return parsed(metadata["avro.schema"]), CODECS[codec]


def parsed(text: bytes | str) -> Any:
    """A writer's schema, ready to read its records with.

    Raises
    ------
    PacketError : ``schema``
    """
    try:
        schema = parse_schema(_essential(json.loads(text)))
        unfolding_of(schema)
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        SchemaParseException,
        UnknownType,
    ) as error:
        raise PacketError("schema", f"not a valid Avro schema: {type(error).__name__}: {error}") from None
    return schema


def _essential(schema: Any) -> Any:
    """A schema without what reading needs not: fields' defaults, of which fastavro refuses those of another type than the field, and logical
    types for which MongoDB has none, whose values are then the plain ones."""
    if isinstance(schema, list):
        return [_essential(branch) for branch in schema]
    if isinstance(schema, dict):
        return {
            key: _essential(value)
            for key, value in schema.items()
            if key != "default" and not (key == "logicalType" and value not in MOMENTS)
        }
    return schema


def metadata_of(header: bytes) -> list[tuple[str, bytes]]:
    """What a header says: names and values, in its order."""
    entries = []
    position = len(MAGIC)
    while position < len(header):
        count, position = read_long(header, position)
        if count < 0:
            _, position = read_long(header, position)
        for _ in range(abs(count)):
            fields = []
            for _ in range(2):
                size, position = read_long(header, position)
                fields.append(header[position : position + size])
                position += size
            entries.append((fields[0].decode(errors="replace"), fields[1]))
    return entries


def _bounded(name: str, decompress: Codec) -> Codec:
    """A codec whose failures and excesses are packet errors."""

    def run(block: bytes, room: int) -> bytes:
        try:
            plain = decompress(block, room)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, cramjam.DecompressionError) as error:
            raise PacketError("corrupt", f"{name} block can't be decompressed: {error}") from None
        if len(plain) > room:
            raise _excess(name)
        return plain

    return run


def _excess(name: str) -> PacketError:
    return PacketError("too_large", f"{name} blocks have more than {MAX_CONTENT} bytes when decompressed")


def _stream(decompressor: Any, block: bytes, room: int) -> bytes:
    """The whole content of a compressed stream, as far as it may be kept."""
    plain: bytes = decompressor.decompress(block, room + 1)
    if not decompressor.eof and len(plain) <= room:
        raise ValueError("it ends early")
    return plain


def _snappy(block: bytes, room: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block[:-4]) > room:  # before memory is taken for it
        raise _excess("snappy")
    plain = bytes(cramjam.snappy.decompress_raw(block[:-4]))
    if zlib.crc32(plain).to_bytes(4, "big") != block[-4:]:
        raise ValueError("checksum differs")
    return plain


def _lz4(block: bytes, room: int) -> bytes:
    if int.from_bytes(block[:4], "little") > room:
        raise _excess("lz4")
    return bytes(cramjam.lz4.decompress_block(block))


def _zstandard(block: bytes, room: int) -> bytes:
    buffer: Any = np.empty(room + 1, np.uint8)  # pages that are not written cost nothing
    try:
        return buffer[: cramjam.zstd.decompress_into(block, buffer)].tobytes()
    except cramjam.DecompressionError as error:
        if str(error) == NO_ROOM:
            raise _excess("zstandard") from None
        raise


CODECS: dict[str, Codec] = {
    "null": _bounded("null", lambda block, room: block),
    "deflate": _bounded("deflate", lambda block, room: _stream(zlib.decompressobj(-15), block, room)),
    "bzip2": _bounded("bzip2", lambda block, room: _stream(bz2.BZ2Decompressor(), block, room)),
    "xz": _bounded("xz", lambda block, room: _stream(lzma.LZMADecompressor(memlimit=XZ_MEMORY), block, room)),
    "snappy": _bounded("snappy", _snappy),
    "zstandard": _bounded("zstandard", _zstandard),
    "lz4": _bounded("lz4", _lz4),
}
