"""Messages of a stream, whole and in the wire format: alerts that can be merged and stored, or one refusal with its reason."""

import bz2
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import bson
import cramjam
import fastavro

from kowalski.alerts.decode import Packet, decode, parsed
from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.drift import DriftWatch
from kowalski.alerts.lightcurve import changes, merged
from kowalski.alerts.schemas import own_schema
from kowalski.alerts.survey import Survey, get_survey
from kowalski.alerts.wire import decode_wire
from kowalski.errors import PacketError
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped

from . import structure

#: the first byte of an input says whose packet follows
SURVEYS = tuple(map(get_survey, ("ZTF", "PGIR", "WNTR", "TURBO", "LSST")))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": lambda block: zlib.compress(block, wbits=-15),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "snappy": lambda block: bytes(cramjam.snappy.compress_raw(block)) + zlib.crc32(block).to_bytes(4, "big"),
    "zstandard": lambda block: bytes(cramjam.zstd.compress(block)),
    "lz4": lambda block: bytes(cramjam.lz4.compress_block(block)),
}
CODECS = tuple(COMPRESS)
WORDS = (
    "null", "int", "long", "float", "double", "string", "bytes", "boolean", "record", "array", "map", "enum", "fixed", "error", "type", "name",
    "fields", "items", "values", "symbols", "size", "default", "namespace", "aliases", "logicalType", "decimal", "uuid", "date", "time-millis",
    "timestamp-millis", "timestamp-micros", "duration", "precision", "scale", "candidate", "candid", "jd", "fid", "pid", "programid", "objectId",
    "prv_candidates", "fp_hists", ["null", "int"], {"type": "array", "items": "null"}, {"type": "map", "values": "double"},
    {"type": "fixed", "name": "f", "size": 0}, {"type": "fixed", "name": "f", "size": 2**40}, {"type": "bytes", "logicalType": "decimal", "precision": 4},
    {"type": "string", "logicalType": "uuid"}, {"type": "enum", "name": "e", "symbols": ["a"]}, {"type": "record", "name": "r", "fields": []},
    2460000.5, 360.0, -90.0, float("nan"), b"stamp", b"", "ZTF23aaaaaaa", 2**62, -1, [],
)  # fmt: skip

STAMP = {"type": "bytes"}
POINT = [{"name": "visit", "type": "long"}, {"name": "midpointMjdTai", "type": "double"}, {"name": "band", "type": ["null", "string"]},
         {"name": "psfFlux", "type": ["null", "float"]}, {"name": "psfFluxErr", "type": ["null", "float"]}]  # fmt: skip
SOURCE = {"type": "record", "name": "source", "fields": [
    *POINT, {"name": "diaSourceId", "type": "long"}, {"name": "diaObjectId", "type": ["null", "long"]}, {"name": "ssObjectId", "type": ["null", "long"]},
    {"name": "ra", "type": "double"}, {"name": "dec", "type": "double"}, {"name": "isNegative", "type": ["null", "boolean"]},
    {"name": "timeWithdrawnMjdTai", "type": ["null", "double"]}]}  # fmt: skip
FORCED = {"type": "record", "name": "forced", "fields": [*POINT, {"name": "diaForcedSourceId", "type": "long"}]}
#: what an LSST message needs, in our own words
LSST = {"type": "record", "name": "alert", "fields": [
    {"name": "diaSource", "type": SOURCE}, {"name": "prvDiaSources", "type": ["null", {"type": "array", "items": "source"}]},
    {"name": "prvDiaForcedSources", "type": ["null", {"type": "array", "items": FORCED}]},
    *({"name": name, "type": ["null", "bytes"]} for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"))]}  # fmt: skip


@cache
def _lsst(number: int) -> Any:
    if number != 1000:
        raise PacketError("unknown_schema", f"schema {number}: only 1000 is here")
    return parsed(json.dumps(LSST))


@cache
def _watch(number: int) -> DriftWatch:
    return DriftWatch(SURVEYS[number], lambda: own_schema(SURVEYS[number], _lsst))


def seeds() -> Iterator[tuple[str, bytes]]:
    """A simulated packet of each survey, its stamps cut short; of ZTF's and TURBO's one with each codec."""
    nights = list(simulate(12, 3, seed=1))
    for number, survey in enumerate(SURVEYS[:4]):
        packets = sorted(reshaped(nights, survey), key=lambda each: len(each.data))
        schema, (record,) = _opened(packets[len(packets) // 2].data)
        _shorten(record)
        for codec in CODECS if survey.name == "TURBO" else ("null",):
            yield f"{survey.name} {codec}", bytes([number]) + _written(schema, [record], codec)
    yield from _mended()
    source = {
        "visit": 5,
        "midpointMjdTai": 60000.5,
        "band": "g",
        "psfFlux": 300.0,
        "psfFluxErr": 10.0,
        "diaSourceId": 2**61,
        "diaObjectId": 2**60,
    }
    source |= {"ra": 10.5, "dec": -3.5}
    forced = source | {"diaForcedSourceId": 7}
    record = {
        "diaSource": source,
        "prvDiaSources": [source | {"diaSourceId": 2**61 - 1}],
        "prvDiaForcedSources": [forced],
    }
    record |= dict.fromkeys(("cutoutScience", "cutoutTemplate", "cutoutDifference"), b"SIMPLE")
    yield "LSST wire", bytes([4]) + _message(record)
    yield "LSST container", bytes([4]) + _written(LSST, [record], "null")


def _mended() -> Iterator[tuple[str, bytes]]:
    """What once took all memory, the process, or raised something else than `PacketError`."""
    kinds: dict[str, Any] = {
        "nulls": {"type": "array", "items": "null"},
        "nested union": ["null", ["int"]],
        "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 4},
        "itself": {"type": "array", "items": "alert"},
    }
    for name, kind in kinds.items():
        schema = {"type": "record", "name": "alert", "fields": [{"name": "x", "type": kind}]}
        yield f"mended {name}", b"\0" + container(schema, _long(2**60) + b"\0")
    for name in ("a.b", "$x", "\0", "\ud800"):
        schema = {"type": "record", "name": "alert", "fields": [{"name": name, "type": "int"}]}
        yield f"mended name {ord(name[0])}", b"\0" + container(schema, b"\0")


def _shorten(node: Any) -> None:
    """Leave three entries of each list, and some bytes of each stamp."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, bytes):
            node[key] = value[:40]
        elif isinstance(value, list):
            del value[3:]
        if isinstance(value, dict | list):
            _shorten(value)


def _opened(data: bytes) -> tuple[Any, list[Any]]:
    reader = fastavro.reader(io.BytesIO(data))
    schema = json.loads(reader.metadata["avro.schema"])
    return schema, list(reader)


def _written(schema: Any, records: list[Any], codec: str) -> bytes:
    block, parsed_schema = io.BytesIO(), fastavro.parse_schema(schema)
    for record in records:
        fastavro.schemaless_writer(block, parsed_schema, record)
    return container(schema, block.getvalue(), len(records), codec)


def container(schema: Any, block: bytes, count: int = 1, codec: str = "null") -> bytes:
    """An Avro object container with one block, whatever is in it."""
    metadata = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": codec.encode()}
    entries = b"".join(_long(len(part)) + part for item in metadata.items() for part in item)
    content, sync = COMPRESS[codec](block), b"kowalski is here"
    return (
        b"Obj\x01"
        + _long(len(metadata))
        + entries
        + _long(0)
        + sync
        + _long(count)
        + _long(len(content))
        + content
        + sync
    )


def _long(number: int) -> bytes:
    """Avro's form of a long."""
    number, coded = (number << 1) ^ (number >> 63), bytearray()
    while number > 0x7F:
        coded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*coded, number])


def _message(record: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _lsst(1000), record)
    return struct.pack(">BI", 0, 1000) + body.getvalue()


def mutated(data: bytes, chance: Random) -> bytes | None:
    """The record changed and encoded again, or the schema changed over the same bytes, or the bytes of the record alone."""
    first, packet = data[:1], data[1:]
    try:
        if packet[:1] == b"\0":
            decode_wire(packet, _lsst)  # what can't be read may as well take all memory, for fastavro
            record = fastavro.schemaless_reader(io.BytesIO(packet[5:]), _lsst(1000), None)
            return first + _message(structure.mutated(record, chance, WORDS))
        decode(packet)
        if chance.random() < 0.4:
            return first + _with_another_schema(packet, chance)
        schema, records = _opened(packet)
        records = structure.mutated(records, chance, WORDS)
        return first + _written(schema, records, chance.choice(CODECS))
    except Exception:  # whatever fastavro says of what can't be read or written: there is no such packet
        return None


def _with_another_schema(packet: bytes, chance: Random) -> bytes:
    reader = fastavro.block_reader(io.BytesIO(packet))
    schema = structure.mutated(json.loads(reader.metadata["avro.schema"]), chance, WORDS)
    return container(schema, next(iter(reader)).bytes_.getvalue(), chance.choice((1, 1, 1, 2, 0)))


def run(data: bytes) -> None:
    """Take a message up to the merge, as the chain does, and compare what was decoded with what fastavro's own reader makes of it."""
    number = data[0] % len(SURVEYS) if data else 0
    survey, message = SURVEYS[number], Packet(data[1:], "topic", 0, 7)
    alerts, refusals = read_batch([message], survey, _lsst, _watch(number))
    assert bool(alerts) != bool(refusals), "neither alerts nor a refusal, or both"
    for refusal in refusals:
        assert refusal.reason
        bson.encode({"reason": refusal.reason, "detail": refusal.detail})
    for alert in alerts:
        _require_storable(alert, survey)
    if alerts and message.data.startswith(b"Obj") and b"logicalType" not in message.data:
        _require_same_as_fastavro(message.data)


def _require_storable(alert: Alert, survey: Survey) -> None:
    """What an alert brings can be encoded, merged into nothing and, once stored, into itself without a change."""
    assert 0 <= alert.ra < 360
    assert -90 <= alert.dec <= 90
    bson.encode(alert.document)
    first = merged({}, [arrival(alert, survey)], survey)
    stored = bson.decode(bson.encode(first))
    again = merged(stored, [arrival(alert, survey)], survey)
    assert repr(again) == repr(first) or not changes(stored, again) or "nan" in repr(first), (
        "a repeated packet changes the object"
    )


def _require_same_as_fastavro(data: bytes) -> None:
    try:
        expected = list(fastavro.reader(io.BytesIO(data)))
    except Exception:  # it refuses defaults of another type, and reads the rest as we do
        return
    assert repr(decode(data)) == repr(expected)
