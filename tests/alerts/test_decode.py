"""Decoding: what is a packet is read as fastavro reads it, whatever is none is refused as such, and nothing else happens."""

import bz2
import json
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import pytest
from packets import JD, encode, forced_point, prv_point, real_files, ztf_record, ztf_schema

from kowalski.alerts.decode import MAX_CONTENT, decode
from kowalski.errors import PacketError

SYNC = b"0123456789abcdef"
TINY: dict[str, Any] = {
    "type": "record",
    "name": "t",
    "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": "bytes"}],
}
RECORD = {"n": 2**60, "s": b"0123456789" * 100}


def deflate(plain: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(plain) + engine.flush()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": deflate,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "snappy": lambda plain: bytes(cramjam.snappy.compress_raw(plain)) + zlib.crc32(plain).to_bytes(4, "big"),
    "zstandard": lambda plain: bytes(cramjam.zstd.compress(plain)),
    "lz4": lambda plain: bytes(cramjam.lz4.compress_block(plain)),
}


def long(value: int) -> bytes:
    """Zigzag encoding of an Avro long."""
    value, coded = (value << 1) ^ (value >> 63), bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def header(schema: Any, codec: bytes = b"null") -> bytes:
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    metadata = {b"avro.schema": text, b"avro.codec": codec}
    entries = b"".join(long(len(part)) + part for item in metadata.items() for part in item)
    return b"Obj\x01" + long(len(metadata)) + entries + long(0) + SYNC


def block(content: bytes, count: int = 1) -> bytes:
    return long(count) + long(len(content)) + content + SYNC


def plain(*records: dict[str, Any]) -> bytes:
    stream = BytesIO()
    for record in records:
        fastavro.schemaless_writer(stream, fastavro.parse_schema(TINY), record)
    return stream.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(PacketError) as caught:
        decode(data)
    return caught.value.reason


@pytest.fixture(scope="module")
def ztf() -> bytes:
    return encode(ztf_record(prv=[prv_point(JD - 1, candid=2**60)], forced=[forced_point(JD - 2)]))


@pytest.mark.parametrize("survey", ["ztf", "pgir", "wntr", "lsst"])
def test_real_packets_are_read_as_fastavro_reads_them(test_data: Path, survey: str) -> None:
    files = real_files(test_data, survey)
    assert files
    for path in files:
        with path.open("rb") as file:
            assert repr(decode(path.read_bytes())) == repr(list(fastavro.reader(file))), path.name


@pytest.mark.parametrize("default", [None, "text", 1.5, {}])
def test_a_default_that_breaks_avros_rules_does_not_matter(default: Any) -> None:
    """TURBO's packets have null for numbers that can't be null: what was written has no use for defaults."""
    fields = [{"name": "fid", "type": "int", "default": default}, {"name": "default", "type": "string"}]
    schema = {"type": "record", "name": "alert", "fields": fields}
    assert decode(header(schema) + block(long(3) + long(1) + b"x")) == [{"fid": 3, "default": "x"}]


@pytest.mark.parametrize("codec", COMPRESS)
def test_every_codec(codec: str) -> None:
    content = COMPRESS[codec](plain(RECORD))
    assert decode(header(TINY, codec.encode()) + block(content)) == [RECORD]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy"])
def test_codecs_as_fastavro_writes_them(codec: str, ztf: bytes) -> None:
    (record,) = decode(ztf)
    assert decode(encode(record, codec=codec)) == [record]


@pytest.mark.parametrize("codec", [codec for codec in COMPRESS if codec != "null"])
def test_damaged_compression_is_refused(codec: str) -> None:
    content = COMPRESS[codec](plain(RECORD))
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 40, content[:3]):
        assert reason(header(TINY, codec.encode()) + block(damaged)) in (
            "corrupt",
            "too_large",
        )  # of lz4 it says its size


@pytest.mark.parametrize("codec", [codec for codec in COMPRESS if codec != "null"])
def test_a_bomb_does_not_go_off(codec: str) -> None:
    data = header(TINY, codec.encode()) + block(COMPRESS[codec](bytes(MAX_CONTENT + 1)))
    assert reason(data) == "too_large"


@pytest.mark.parametrize("announced", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x07"])
@pytest.mark.parametrize("codec", ["snappy", "lz4"])
def test_memory_is_not_taken_on_a_packets_word(codec: str, announced: bytes) -> None:
    tracemalloc.start()
    try:
        assert reason(header(TINY, codec.encode()) + block(announced + bytes(100))) == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_truncation_anywhere(ztf: bytes) -> None:
    assert_truncations_are_refused(ztf)


def test_truncation_of_real_packets(test_data: Path) -> None:
    for path in (real_files(test_data)[0], real_files(test_data)[-1]):
        assert_truncations_are_refused(path.read_bytes())


def assert_truncations_are_refused(packet: bytes) -> None:
    for length in (*range(1000, len(packet), 1000), len(packet) - 1, len(packet) - 16, 5, 4, 3, 1):
        assert reason(packet[:length]) == ("truncated" if length >= 4 else "not_avro"), length


def test_what_is_no_packet() -> None:
    assert reason(b"") == "empty"
    for data in (b"\x00", b"{}", b"Obj\x02" + bytes(100), b"SIMPLE  =" + bytes(2880), bytes(20_000_000)):
        assert reason(data) == "not_avro"
    assert reason(header(TINY)) == "empty"
    assert reason(header(TINY) + block(b"", count=0)) == "empty"
    assert reason(b"Obj\x01" + bytes([0x80]) * 200) == "truncated"


def test_sync_markers() -> None:
    good = header(TINY) + block(plain(RECORD))
    assert reason(good[:-16]) == "truncated"
    assert reason(good[:-1] + b"?") == "corrupt"
    assert reason(good[:-16] + b"another marker..") == "corrupt"


def test_trailing_bytes() -> None:
    content = plain(RECORD)
    assert reason(header(TINY) + block(content + b"\x00")) == "trailing_bytes"
    for tail in (b"\x00", b"garbage", bytes(40)):
        assert reason(header(TINY) + block(content) + tail) in ("truncated", "corrupt")


@pytest.mark.parametrize(("count", "size"), [(-1, 5), (1, -5), (2**62, 5), (1, 2**62), (2, None), (-(2**63), -(2**63))])
def test_counts_and_sizes_that_lie(count: int, size: int | None) -> None:
    content = plain(RECORD)
    announced = long(count) + long(len(content) if size is None else size)
    assert reason(header(TINY) + announced + content + SYNC) in ("corrupt", "truncated")


def test_records_without_bytes_are_not_counted_on() -> None:
    empty = {"type": "record", "name": "nothing", "fields": []}
    assert reason(header(empty) + block(b"", count=2**40)) == "too_large"
    assert reason(header(empty) + block(b"", count=1000)) == "corrupt"


def test_several_records_and_blocks() -> None:
    records = [{"n": n, "s": b"x"} for n in range(5)]
    data = header(TINY) + block(plain(*records[:3]), 3) + block(plain(*records[3:]), 2)
    assert decode(data) == records


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"5",
        b'"nope"',
        b"[" * 100_000,
        json.dumps({"type": "record", "name": "r"}).encode(),
        json.dumps({"type": "record", "name": "r", "fields": [{"name": "self", "type": "r"}]}).encode(),
        json.dumps({"type": "record", "name": "r", "fields": [{"name": "s", "type": ["null", "r"]}]}).encode(),
        json.dumps(
            {"type": "record", "name": "r", "fields": [{"name": "s", "type": {"type": "map", "values": "r"}}]}
        ).encode(),
        b'"long"',
        b'{"type": "array", "items": "int"}',
    ],
)
def test_schemas_that_no_packet_can_have(schema: bytes) -> None:
    assert reason(header(schema) + block(b"\x02" * 50)) in ("schema", "corrupt", "trailing_bytes")


@pytest.mark.parametrize("name", ["long", "null", "string"])
def test_no_record_has_the_name_of_a_type_of_avros_own(name: str) -> None:
    """Its fields of that type would be taken for itself."""
    schema = {"type": "record", "name": name, "fields": [{"name": "n", "type": name}]}
    assert reason(header(json.dumps(schema).encode()) + block(b"\x02")) == "schema"


def test_no_schema_and_no_such_codec() -> None:
    assert reason(b"Obj\x01" + long(0) + SYNC + block(b"\x00")) == "schema"
    assert reason(header(TINY, b"brotli") + block(plain(RECORD))) == "codec"
    assert reason(header(TINY, b"\xff") + block(plain(RECORD))) == "codec"


def test_schema_4_02_with_more_optional_unions(ztf: bytes) -> None:
    """Packets of 4.02 differ from 4.01 by ``["null", T]`` where there was T."""
    schema = json.loads(json.dumps({key: value for key, value in ztf_schema().items() if not key.startswith("__")}))
    candidate = next(field for field in schema["fields"] if field["name"] == "candidate")["type"]
    for field in candidate["fields"]:
        if isinstance(field["type"], str) and field["name"] not in ("jd", "candid", "ra", "dec"):
            field["type"] = ["null", field["type"]]
    schema["version"] = "4.02"
    (record,) = decode(ztf)
    assert decode(encode(record, schema=schema)) == [record]
    record["candidate"]["magpsf"] = None
    assert decode(encode(record, schema=schema)) == [record]


def test_packets_of_different_schemas_do_not_mix(ztf: bytes) -> None:
    other = {**TINY, "fields": list(reversed(TINY["fields"]))}
    swapped = BytesIO()
    fastavro.schemaless_writer(swapped, fastavro.parse_schema(other), RECORD)
    for _ in range(2):
        assert decode(header(TINY) + block(plain(RECORD))) == [RECORD]
        assert decode(header(other) + block(swapped.getvalue())) == [RECORD]
        assert decode(ztf)[0]["objectId"] == "ZTF23aaaaaaa"


def test_an_array_of_headers_metadata_in_several_blocks() -> None:
    """Metadata may come in blocks, of which a negative count announces the size."""
    first = long(len(b"avro.schema")) + b"avro.schema" + long(len(json.dumps(TINY))) + json.dumps(TINY).encode()
    second = long(3) + b"key" + long(5) + b"value"
    data = b"Obj\x01" + long(-1) + long(len(first)) + first + long(1) + second + long(0) + SYNC + block(plain(RECORD))
    assert decode(data) == [RECORD]


def test_mutations_raise_nothing_but_packet_errors(ztf: bytes) -> None:
    chance = random.Random(20260728)
    originals = [header(TINY, codec.encode()) + block(COMPRESS[codec](plain(RECORD))) for codec in COMPRESS] + [ztf]
    read = 0
    for _ in range(5_000):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 2, 10))):
            _mutate(data, chance)
        try:
            assert all(isinstance(record, dict) for record in decode(bytes(data)))
            read += 1
        except PacketError:
            pass
    assert 0 < read < 20_000


def _mutate(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    match chance.randrange(4):
        case 0:
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        case 1:
            data[at] ^= 1 << chance.randrange(8)
        case 2:
            del data[at : at + chance.randrange(1, 9)]
        case _:
            data[at:at] = chance.randbytes(chance.randrange(1, 5))
    data.extend(b"\x00" if not data else b"")


def test_schema_mutations_raise_nothing_but_packet_errors() -> None:
    chance = random.Random(7)
    junk: list[Any] = [
        None,
        5,
        "int",
        "t",
        [],
        {},
        ["null", "t"],
        {"type": "array"},
        {"type": {"type": "t"}},
        [["int"]],
    ]
    for _ in range(1500):
        schema = json.loads(json.dumps(TINY))
        node: Any = schema
        while isinstance(node, dict | list) and node:
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if chance.random() < 0.4:
                node[key] = json.loads(json.dumps(chance.choice(junk)))
                break
            node = node[key]
        with suppress(PacketError):
            decode(header(schema) + block(plain(RECORD)))
