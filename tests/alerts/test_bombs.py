"""What is made to take all memory, or all time, is refused for what it is, in a process that has neither; a long history is no bomb."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import numpy as np
from astropy.io import fits
from packets import JD, ztf_record, ztf_schema

from kowalski.alerts.decode import MAX_CONTENT
from kowalski.config import ROOT
from kowalski.simulation import encoding

MB = 1 << 20
#: address space of the reader, which takes a third of it for itself, and what it may really have used at the end
LIMIT, PEAK = 1500 * MB, 450 * MB
#: s that a bomb may take; most take milliseconds, to inflate 32 MB takes the longest
PATIENCE = 5.0
SYNC = b"sixteen bytes...."[:16]

Schema = dict[str, Any]


def long(value: int) -> bytes:
    value, coded = (value << 1) ^ (value >> 63), bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def container(schema: Any, *blocks: bytes, codec: str = "null", count: int = 1) -> bytes:
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    metadata = {b"avro.schema": text, b"avro.codec": codec.encode()}
    entries = b"".join(long(len(part)) + part for item in metadata.items() for part in item)
    body = b"".join(long(count) + long(len(block)) + block + SYNC for block in blocks)
    return b"Obj\x01" + long(len(metadata)) + entries + long(0) + SYNC + body


def of(kind: Any) -> Schema:
    """A record with one field of that type."""
    return {"type": "record", "name": "alert", "fields": [{"name": "x", "type": kind}]}


def ordinary() -> Schema:
    """ZTF's schema, which passes any look at it, as it is written."""
    return {key: value for key, value in ztf_schema().items() if not key.startswith("__")}


def deflated(plain: bytes) -> bytes:
    return zlib.compress(plain, 9, wbits=-15)


def chain(links: int) -> Schema:
    """Types each of which holds the one before, side by side: no deeper than others as a text, as deep as there are links as a value."""
    kinds: list[Any] = [{"type": "record", "name": "r0", "fields": [{"name": "x", "type": "null"}]}]
    kinds += [
        {"type": "record", "name": f"r{n}", "fields": [{"name": "x", "type": f"r{n - 1}"}]} for n in range(1, links)
    ]
    return {
        "type": "record",
        "name": "alert",
        "fields": [{"name": f"f{n}", "type": kind} for n, kind in enumerate(kinds)],
    }


def doubled(times: int) -> Any:
    """A type that holds two of another, which holds two of another: 2^times nulls in no bytes."""
    kind: Any = "null"
    for n in range(times):
        kind = {
            "type": "record",
            "name": f"d{n}",
            "fields": [{"name": "a", "type": kind}, {"name": "b", "type": f"d{n - 1}" if n else "null"}],
        }
    return kind


def repeated(kind: Any, times: int) -> Any:
    for _ in range(times):
        kind = {"type": "array", "items": kind}
    return kind


def compressed(codec: str, plain: bytes) -> bytes:
    match codec:
        case "deflate":
            return deflated(plain)
        case "bzip2":
            return bz2.compress(plain)
        case "xz":
            return lzma.compress(plain)
        case "zstandard":
            return bytes(cramjam.zstd.compress(plain))
        case "snappy":
            return bytes(cramjam.snappy.compress_raw(plain)) + zlib.crc32(plain).to_bytes(4, "big")
    return bytes(cramjam.lz4.compress_block(plain))


def greedy() -> bytes:
    """A byte, by LZMA that says it looks back over 3 GB."""
    small = lzma.compress(b"x", lzma.FORMAT_ALONE)
    return small[:1] + (3 << 30).to_bytes(4, "little") + small[5:]


def packets() -> dict[str, tuple[bytes, str]]:
    """Name -> a packet and the reason for which it is refused."""
    nulls = long(2**60) + b"\0"
    bombs = {
        "a list of 2^60 nulls": (container(of(repeated("null", 1)), nulls), "too_large"),
        "a list of 2^60 empty records": (container(of(repeated({"type": "record", "name": "n", "fields": []}, 1)), nulls), "too_large"),
        "2^60 records of nothing": (container({"type": "record", "name": "n", "fields": []}, b"\0", count=2**60), "too_large"),
        "2^60 numbers in ten bytes": (container(of(repeated("double", 1)), long(2**60) + bytes(8)), "corrupt"),
        "a text of 2^60 letters": (container(of("string"), long(2**60) + b"x"), "corrupt"),
        "a fixed of 2^60 bytes": (container(of({"type": "fixed", "name": "f", "size": 2**60}), b"x"), "too_large"),
        "16 MB of empty lists": (container(of(repeated("int", 2)), long(16 * MB) + bytes(16 * MB + 1)), "too_large"),
        "2^60 nulls by doubling": (container(doubled(60), b""), "too_large"),
        "levels of a type": (container(of(repeated("int", 200)), b"\0"), "schema"),
        "levels of a text": (container(b'{"type":"array","items":' * 40_000, b"\0"), "schema"),
        "a chain of types": (container(chain(4000), b""), "schema"),
        "a type within itself": (container(of({"type": "array", "items": "alert"}), b"\0"), "schema"),
        "a header of 20 MB": (container(json.dumps(of("int")).encode() + b" " * (20 * MB), b"\0"), "too_large"),
        "a number of 3 million digits": (container(of({"type": "bytes", "logicalType": "decimal", "precision": 9}), long(MB) + b"\x7f" * MB), "field"),
        "names of 1 MB": (container({"type": "record", "name": "alert", "fields": [{"name": "x" * 900_000, "type": "int"}]}, b"\0"), "schema"),
        "xz that wants 3 GB": (container(ordinary(), greedy(), codec="xz"), "corrupt"),
    }  # fmt: skip
    for codec in ("deflate", "bzip2", "xz", "zstandard", "snappy", "lz4"):
        part = compressed(codec, bytes(MAX_CONTENT // 3))
        bombs[f"{codec} in blocks"] = (container(ordinary(), *[part] * 100, codec=codec), "too_large")
    return bombs


def header(*cards: str) -> bytes:
    return "".join(card.ljust(80) for card in (*cards, "END")).encode().ljust(2880)


def image(*cards: str) -> bytes:
    return header("SIMPLE  =                    T", *cards) + bytes(2880)


def inflating(megabytes: int) -> bytes:
    """A gzip file of so many MB of zeros, without compressing them all: a piece that begins and ends at a byte, again and again."""
    engine = zlib.compressobj(9, wbits=-15)
    piece = engine.compress(bytes(64 * MB)) + engine.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + piece * (megabytes // 64)


def stamps() -> dict[str, bytes]:
    """Name -> a stamp that is refused."""
    file = io.BytesIO()
    zeros = fits.CompImageHDU(np.zeros((3000, 3000), np.int16), compression_type="GZIP_1")
    fits.HDUList([fits.PrimaryHDU(), zeros]).writeto(file)
    return {
        "gzip of 8 GB": inflating(8192),
        "gzip of gzip": gzip.compress(inflating(8192)),
        "sides of 10^11 pixels": image("BITPIX  = -32", "NAXIS   = 2", "NAXIS1  = 99999999999", "NAXIS2  = 99999999999"),
        "sides of 10^30 pixels": image("BITPIX  = -32", "NAXIS   = 2", f"NAXIS1  = {10**30}", "NAXIS2  = 1"),
        "999 axes": image("BITPIX  = 8", "NAXIS   = 999", *(f"NAXIS{n:<3d}= {9**18}" for n in range(1, 1000))),
        "10^18 axes": image("BITPIX  = 8", f"NAXIS   = {10**18}"),
        "a heap of 2^62 bytes": image("BITPIX  = 8", "NAXIS   = 0") + header("XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 8", f"PCOUNT  = {2**62}"),
        "a header without an end": b"SIMPLE  =".ljust(80) + b" " * (4 * MB - 80),
        "headers and nothing else": header("SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 0") * 1400,
        "a compressed image": file.getvalue(),
    }  # fmt: skip


def read(folder: Path, files: dict[str, bytes], memory: int) -> dict[str, dict[str, Any]]:
    """What becomes of packets and stamps in a process that may take so much memory."""
    for name, data in files.items():
        (folder / name.replace("/", " ")).write_bytes(data)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("bounded_reader.py")), str(folder), str(memory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_bombs_are_refused_for_what_they_are(tmp_path: Path) -> None:
    bombs = packets()
    files = {f"{name}.packet": data for name, (data, _) in bombs.items()} | {
        f"{name}.stamp": data for name, data in stamps().items()
    }
    found = read(tmp_path, files, LIMIT)
    assert len(found) == len(files)
    assert {name: each["reason"] for name, each in found.items()} == {
        name: reason for name, (_, reason) in bombs.items()
    } | dict.fromkeys(stamps(), "cutout")
    assert {name: each["seconds"] for name, each in found.items() if each["seconds"] > PATIENCE} == {}
    assert max(each["peak"] for each in found.values()) < PEAK


def whole(history: str) -> dict[str, Any]:
    """A point that has all that one can have."""
    items = next(field for field in ztf_schema()["fields"] if field["name"] == history)["type"][1]["items"]
    values = {"string": "t", "int": 1, "long": 10**15, "float": 0.5, "double": JD}
    kinds = {field["name"]: field["type"] for field in items["fields"]}
    return {name: values[kind[1] if isinstance(kind, list) else kind] for name, kind in kinds.items()}


def test_a_history_of_10_mb_is_read_and_merged(tmp_path: Path) -> None:
    point, forced = whole("prv_candidates"), whole("fp_hists")
    history = [encoding.encode_point(point | {"jd": JD - n / 100, "candid": 10**15 + n}) for n in range(1, 40_001)]
    photometry = [encoding.encode_forced(forced | {"jd": JD - n / 100}) for n in range(1, 10_001)]
    data = encoding.encode(ztf_record(), history, photometry)
    assert len(data) > 10_000_000
    (found,) = read(tmp_path, {"long.packet": data}, LIMIT).values()
    assert found["reason"] is None
    assert found["points"] == 50_000
    assert found["peak"] < 600 * MB


def test_a_history_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    """Of more than 17 MB ZTF's schema could make more than a GB."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, ztf_schema(), ztf_record(prv=[]))
    (found,) = read(
        tmp_path, {"endless.packet": container(ordinary(), stream.getvalue().ljust(18 * MB, b"\0"))}, LIMIT
    ).values()
    assert found["reason"] == "too_large"
