"""The head of packets that can't be decoded: all that comes before the damage is read, as fastavro reads what is whole."""

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from packets import encode, prv_point, real_files, ztf_record

from kowalski.alerts.decode import decode, open_container
from kowalski.alerts.document import no_schemas
from kowalski.alerts.head import read_head
from kowalski.alerts.survey import get_survey
from kowalski.errors import PacketError

ZTF = get_survey("ZTF")
RECORD = ztf_record(prv=[prv_point(2460000.5), prv_point(2460001.5)])
MIXED = {
    "type": "record", "name": "all", "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "kinds", "symbols": ["star", "galaxy"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "sixteen", "size": 16}},
        {"name": "again", "type": "sixteen"},
        {"name": "sure", "type": "boolean"},
        {"name": "notes", "type": {"type": "map", "values": ["null", "string"]}},
        {"name": "numbers", "type": {"type": "array", "items": "long"}},
        {"name": "mag", "type": ["null", "float"]},
    ],
}  # fmt: skip
VALUES = {
    "kind": "galaxy",
    "hash": b"h" * 16,
    "again": b"a" * 16,
    "sure": True,
    "notes": {"a": None, "b": "c"},
    "numbers": [1, -(2**62)],
    "mag": 0.5,
}


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_whole_packet_is_read_whole(codec: str) -> None:
    for data in (encode(RECORD, codec=codec), encode(VALUES, schema=MIXED, codec=codec)):
        head = read_head(data, ZTF, no_schemas)
        assert (head.record, head.problem) == (decode(data)[0], "")


def test_a_packet_that_is_cut_off_is_read_up_to_there() -> None:
    """At whichever byte: the fields are those of the whole, in their order, and the rest is missing."""
    data = encode(RECORD)
    read = []
    for end in range(0, len(data) - 16, 7):  # the sync marker behind the record is not missed
        head = read_head(data[:end], ZTF, no_schemas)
        assert head.problem
        assert is_part_of(head.record, RECORD)
        read.append(len(head.record.get("candidate", ())))
    assert read == sorted(read)
    assert read[-1] == len(RECORD["candidate"])


def is_part_of(part: Any, whole: Any) -> bool:
    """Whether it is the beginning of it."""
    if isinstance(part, dict):
        return list(part) == list(whole)[: len(part)] and all(is_part_of(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return len(part) <= len(whole) and all(map(is_part_of, part, whole))
    return bool(part == pytest.approx(whole, rel=1e-6) if isinstance(part, float) else part == whole)


def test_a_list_of_nothing_comes_to_an_end() -> None:
    schema = {
        "type": "record",
        "name": "r",
        "fields": [{"name": "nothing", "type": {"type": "array", "items": "null"}}],
    }
    data = encode({"nothing": [None]}, schema=schema)
    endless = data[:-20] + b"\x02\x14" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    assert "values" in read_head(endless, ZTF, no_schemas).problem


def test_messages_that_name_their_schema() -> None:
    """The record, where the schema is known; why not, where it isn't."""
    lsst = get_survey("LSST")
    numbered = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]}
    schema, ((_, block),) = open_container(encode({"id": 5}, schema=numbered))
    message = struct.pack(">BI", 0, 704) + block
    assert read_head(message, lsst, lambda number: schema)[1:] == ({"id": 5}, "")
    head = read_head(message, lsst, no_schemas)
    assert (head.schema, head.record, head.problem.partition(":")[0]) == (None, {}, "unknown_schema")


def test_nothing_that_bytes_can_be_raises(test_data: Path) -> None:
    """Real packets with a few bytes changed at random."""
    dice = random.Random(9)
    for survey in ("ztf", "pgir"):
        data = real_files(test_data, survey)[0].read_bytes()
        for _ in range(200):
            damaged = bytearray(data)
            for _ in range(dice.randrange(1, 9)):
                damaged[dice.randrange(len(data) // 3)] = dice.randrange(256)
            head = read_head(bytes(damaged), ZTF, no_schemas)
            assert isinstance(head.record, dict)
    with pytest.raises(PacketError):
        decode(data[:-1])
