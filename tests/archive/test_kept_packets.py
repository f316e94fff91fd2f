"""Packets come back as they were received, and fixed, whatever they were; others read the files as they lie there."""

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import pytest
from archived import ZTF, files_in, keep, kept_in, messages_of, records_of, schemas_of, taken, writer_in
from packets import encode, packet, ztf_record, ztf_schema

from kowalski.alerts.decode import MAGIC, SYNC_SIZE, Packet, decode, end_of_header, metadata_of
from kowalski.alerts.schemas import own_text
from kowalski.alerts.survey import get_survey
from kowalski.archive.packets.form import same_form
from kowalski.archive.packets.framing import block, header
from kowalski.archive.packets.reading import PacketArchive
from kowalski.night.dates import night_of_alert

ALERTS = {"ZTF": 36, "PGIR": 17, "WNTR": 11, "TURBO": 11, "LSST": 20}


def with_schema(data: bytes, text: str, codec: str = "null") -> bytes:
    """A packet whose header has another schema."""
    end, sync = end_of_header(data)
    return header(text, codec, {}) + sync + data[end + SYNC_SIZE :]


def schema_in(data: bytes | None) -> str:
    assert data is not None
    return dict(metadata_of(data[: end_of_header(data)[0]]))["avro.schema"].decode()


def broken(schema: dict[str, Any]) -> str:
    """A schema with a type that is none."""
    return json.dumps(schema, default=str).replace('"double"', '"dubble"')


PUBLISHED = str(own_text(ZTF, schemas_of(ZTF, None)))


@pytest.mark.parametrize("name", ALERTS)
def test_real_packets(name: str, tmp_path: Path, test_data: Path) -> None:
    """Bit for bit; their fixed form, and the files as a whole, are read by those who know Avro only."""
    survey, packets = get_survey(name), messages_of(test_data, name)
    keep(tmp_path, packets, survey, test_data)
    found = kept_in(tmp_path, name)
    assert [kept.received() for kept in found] == [each.data for each in packets]
    assert len(found) == ALERTS[name]
    alerts = {alert.packet.offset: alert for alert in taken(packets, survey, test_data)}
    for kept in found:
        (record,) = records_of(kept.fixed())
        assert survey.normalise(record)["candid"] == kept.entry.candid == alerts[kept.entry.offset].candid
        assert (kept.entry.jd, kept.entry.taken) == (alerts[kept.entry.offset].jd, True)
    assert sum(len(records_of(path.read_bytes())) for path in files_in(tmp_path)) == len(packets)


def test_an_index_is_read_by_anybody(tmp_path: Path) -> None:
    keep(tmp_path, [packet(encode(ztf_record(7)), 3)])
    (path,) = files_in(tmp_path, ".index")
    (entry,) = records_of(path.read_bytes())
    assert (entry["candid"], entry["objectId"], entry["topic"], entry["offset"]) == (7, "ZTF23aaaaaaa", "ztf_20230101_programid1", 3)  # fmt: skip
    assert entry["timestamp"] == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_wire_message_gets_the_schema_of_its_number(tmp_path: Path, test_data: Path) -> None:
    survey = get_survey("LSST")
    message = next(each for each in messages_of(test_data, "LSST") if each.data[:1] == b"\0")
    keep(tmp_path, [message], survey, test_data)
    (kept,) = kept_in(tmp_path, "LSST")
    assert (kept.entry.kind, kept.received()) == ("wire", message.data)
    assert schema_in(kept.fixed()) == own_text(survey, schemas_of(survey, test_data))
    assert kept.fixed()[-SYNC_SIZE - len(message.data) + 5 : -SYNC_SIZE] == message.data[5:]  # type: ignore[index]


# schemas


def test_a_schema_that_is_none_is_fixed(tmp_path: Path) -> None:
    """The chain refuses the packet; its fixed form is one that it takes."""
    sound = encode(ztf_record(8))
    hurt = packet(with_schema(sound, broken(ztf_schema())))
    assert taken([hurt]) == []
    keep(tmp_path, [hurt])
    (kept,) = kept_in(tmp_path)
    assert kept.received() == hurt.data
    assert schema_in(kept.fixed()) == PUBLISHED
    assert records_of(kept.fixed()) == records_of(sound)
    assert (kept.entry.candid, kept.entry.objectId, kept.entry.taken) == (8, "ZTF23aaaaaaa", False)
    (alert,) = taken([packet(kept.fixed() or b"")])
    assert alert.candid == 8


def test_a_broken_schema_over_other_bytes_is_not_fixed(tmp_path: Path) -> None:
    other = encode({"n": 5}, schema=fastavro.parse_schema({"type": "record", "name": "x", "fields": [{"name": "n", "type": "int"}]}))  # fmt: skip
    hurt = packet(with_schema(other, '{"type": "record"'))
    keep(tmp_path, [hurt])
    (kept,) = kept_in(tmp_path)
    assert (kept.received(), kept.fixed(), kept.entry.candid) == (hurt.data, None, None)


def test_a_schema_of_another_type_than_the_bytes(tmp_path: Path) -> None:
    """One that is valid, and wrong: the published one reads the bytes to their end."""
    schema = json.loads(PUBLISHED)
    schema["fields"][3]["type"] = "string"
    hurt = packet(with_schema(encode(ztf_record(9)), json.dumps(schema)))
    assert taken([hurt]) == []
    keep(tmp_path, [hurt])
    (kept,) = kept_in(tmp_path)
    assert (schema_in(kept.fixed()), kept.entry.candid, kept.received()) == (PUBLISHED, 9, hurt.data)


def test_explanations_are_no_difference(tmp_path: Path) -> None:
    """A schema that says the same in other words is replaced by the published one, and comes back as received."""
    schema = json.loads(PUBLISHED)
    schema |= {"namespace": "elsewhere", "doc": "another"}
    other = packet(with_schema(encode(ztf_record(10)), json.dumps(schema)))
    keep(tmp_path, [other, packet(encode(ztf_record(11)), 1)])
    assert [schema_in(kept.fixed()) for kept in kept_in(tmp_path)] == [PUBLISHED, PUBLISHED]
    assert len(files_in(tmp_path)) == 1
    assert kept_in(tmp_path)[0].received() == other.data


def test_another_version_keeps_its_own(tmp_path: Path) -> None:
    schema = json.loads(PUBLISHED)
    schema["fields"].append({"name": "novelty", "type": "int"})
    newer = packet(encode(ztf_record(12) | {"novelty": 3}, schema=fastavro.parse_schema(schema)))
    keep(tmp_path, [newer])
    (kept,) = kept_in(tmp_path)
    (record,) = records_of(kept.fixed())
    assert (record["novelty"], kept.received()) == (3, newer.data)


def test_a_default_that_strict_readers_refuse(tmp_path: Path) -> None:
    schema = json.loads(PUBLISHED)
    schema["fields"].append({"name": "novelty", "type": "int", "default": "none"})
    plain = json.loads(json.dumps(schema))
    del plain["fields"][-1]["default"]
    made = encode(ztf_record(13) | {"novelty": 3}, schema=fastavro.parse_schema(plain))
    odd = packet(with_schema(made, json.dumps(schema)))
    with pytest.raises(fastavro.schema.SchemaParseException):
        records_of(odd.data)
    keep(tmp_path, [odd])
    (kept,) = kept_in(tmp_path)
    assert (records_of(kept.fixed())[0]["novelty"], kept.received()) == (3, odd.data)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("long", {"type": "long"}, True),
        ("long", "int", False),
        (["null", "int"], ["int", "null"], False),
        ({"type": "long", "logicalType": "timestamp-millis"}, "long", False),
        ({"type": "enum", "name": "a", "symbols": ["x"]}, {"type": "enum", "name": "b", "symbols": ["x"]}, True),
        ({"type": "enum", "name": "a", "symbols": ["x"]}, {"type": "enum", "name": "a", "symbols": ["y"]}, False),
        ({"type": "fixed", "name": "a", "size": 3}, {"type": "fixed", "name": "a", "size": 4}, False),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}, False),
        ({"type": "array", "items": "int"}, {"type": "array", "items": {"type": "int"}}, True),
    ],
)
def test_the_form_of_schemas(first: Any, second: Any, same: bool) -> None:
    assert same_form(first, second) is same


def test_a_type_named_again_is_the_same_type() -> None:
    def of(name: str) -> Any:
        inner = {"type": "record", "name": name, "fields": [{"name": "n", "type": "int"}]}
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": ["null", name]}]
        return fastavro.parse_schema({"type": "record", "name": "outer", "fields": fields})

    assert same_form(of("one"), of("other"))
    assert not same_form(of("one"), "int")


# containers


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz", "snappy"])
def test_compressed_packets(codec: str, tmp_path: Path) -> None:
    """Blocks are kept as they are; who reads them sees the records."""
    packets = [packet(encode(ztf_record(20 + number), codec=codec), number) for number in range(3)]
    keep(tmp_path, packets)
    assert [kept.received() for kept in kept_in(tmp_path)] == [each.data for each in packets]
    (path,) = files_in(tmp_path)
    assert [record["candid"] for record in records_of(path.read_bytes())] == [20, 21, 22]
    assert [records_of(kept.fixed())[0]["candid"] for kept in kept_in(tmp_path)] == [20, 21, 22]


def compressed(candid: int, codec: str, compress: Callable[[bytes], bytes]) -> Packet:
    """A packet in a codec that fastavro doesn't write here."""
    sound, stream = encode(ztf_record(candid)), io.BytesIO()
    fastavro.schemaless_writer(stream, ztf_schema(), ztf_record(candid))
    sync = end_of_header(sound)[1]
    return packet(header(schema_in(sound), codec, {}) + sync + block(1, compress(stream.getvalue()), sync))


def test_zstandard(tmp_path: Path) -> None:
    message = compressed(31, "zstandard", lambda plain: bytes(cramjam.zstd.compress(plain)))
    keep(tmp_path, [message])
    (kept,) = kept_in(tmp_path)
    assert (kept.entry.kind, kept.received()) == ("container", message.data)
    assert decode(kept.fixed() or b"") == decode(message.data)


def test_a_codec_that_not_all_readers_have(tmp_path: Path) -> None:
    """Its blocks are kept decompressed, and the packet beside them."""
    message = compressed(30, "lz4", lambda plain: bytes(cramjam.lz4.compress_block(plain)))
    keep(tmp_path, [message])
    (kept,) = kept_in(tmp_path)
    assert (kept.entry.kind, kept.received()) == ("fixed", message.data)
    assert records_of(kept.fixed()) == decode(message.data)
    (found,) = PacketArchive(tmp_path).find(30)
    assert found.received() == message.data


def test_a_packet_of_several_blocks_and_records(tmp_path: Path) -> None:
    stream = io.BytesIO()
    fastavro.writer(stream, ztf_schema(), [ztf_record(40 + number) for number in range(5)], sync_interval=1)
    several = packet(stream.getvalue())
    keep(tmp_path, [several, packet(encode(ztf_record(45)), 1)])
    first, second = kept_in(tmp_path)
    assert first.received() == several.data
    assert [record["candid"] for record in records_of(first.fixed())] == [40, 41, 42, 43, 44]
    assert [each.received() for number in range(40, 45) for each in PacketArchive(tmp_path).find(number)] == 5 * [
        several.data
    ]
    assert second.entry.candid == 45


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nothing of that kind",
        MAGIC,
        encode(ztf_record(50))[:-20],
        encode(ztf_record(50)) + b"more",
        header(PUBLISHED, "null", {}) + bytes(16) + block(0, b"", bytes(16)),
        header(PUBLISHED, "rot13", {}) + bytes(16) + block(1, b"abc", bytes(16)),
    ],
    ids=["empty", "text", "magic", "truncated", "trailing", "no_records", "codec"],
)
def test_what_cannot_be_read_is_kept_as_received(data: bytes, tmp_path: Path) -> None:
    keep(tmp_path, [packet(data, topic="ztf_20240301_programid1")])
    (kept,) = kept_in(tmp_path)
    assert (kept.received(), kept.fixed(), kept.entry.taken) == (data, None, False)
    (path,) = files_in(tmp_path)
    assert path.parent.name == "20240301"
    assert records_of(path.read_bytes()) == [{"data": data}]


# nights, copies, names


def test_nights(tmp_path: Path) -> None:
    """Of the topic, else of the candidate's jd, else of that of the message."""
    moment = datetime(2024, 3, 5, 18, tzinfo=UTC)
    packets = [
        packet(encode(ztf_record(60, jd=2460371.9)), 0),
        packet(encode(ztf_record(61, jd=2460371.9)), 0, "elsewhere"),
        packet(encode(ztf_record(62, jd=2460372.9)), 1, "elsewhere"),
        Packet(b"garbage", "elsewhere", 0, 2, moment),
    ]
    keep(tmp_path, packets)
    archive = PacketArchive(tmp_path)
    nights = {night: [kept.entry.offset for kept in archive.messages("ZTF", night)] for night in archive.nights("ZTF")}
    jds = (2460371.9, 2460372.9, 2460375.25)
    expected = {f"{night_of_alert(ZTF, 'elsewhere', jd):%Y%m%d}": [offset] for offset, jd in enumerate(jds)}
    assert nights == {"20230101": [0], **expected}
    assert len(nights) == 4


def test_a_message_delivered_again_is_one(tmp_path: Path) -> None:
    """By the worker that knows it, and of another worker when it is read; another message with the same bytes is another."""
    packets = [packet(encode(ztf_record(70 + number)), number) for number in range(4)]
    writer = writer_in(tmp_path)
    assert writer.keep(packets + packets[:1], taken(packets)) == 4
    assert writer.keep(packets, taken(packets)) == 0
    assert sum(len(records_of(path.read_bytes())) for path in files_in(tmp_path)) == 4
    copy = replace(packets[0], offset=9)
    keep(tmp_path, [*packets, copy])
    assert [kept.entry.offset for kept in kept_in(tmp_path)] == [0, 1, 2, 3, 9]
    assert [kept.entry.offset for kept in PacketArchive(tmp_path).find(70)] == [0, 9]
    assert writer.keep([replace(packets[0], offset=10, kept=True)], []) == 0


def test_many_schemas_make_no_files_without_end(tmp_path: Path) -> None:
    packets = []
    for number in range(20):
        schema = json.loads(PUBLISHED)
        schema["fields"].append({"name": f"novelty{number}", "type": "int"})
        record = ztf_record(80 + number) | {f"novelty{number}": 3}
        packets.append(packet(encode(record, schema=fastavro.parse_schema(schema)), number))
    keep(tmp_path, packets)
    assert [kept.received() for kept in kept_in(tmp_path)] == [each.data for each in packets]
    assert len(files_in(tmp_path)) == 17
    assert len(PacketArchive(tmp_path).find(99)) == 1


@pytest.mark.parametrize("name", ["ZTF", "LSST"])
def test_whatever_comes(name: str, tmp_path: Path, test_data: Path) -> None:
    """Packets spoilt in their headers, sizes and records come back as they were, and no file holds what readers stumble over."""
    survey, rng = get_survey(name), random.Random(5)  # the same bytes each time
    sound = [each.data for each in messages_of(test_data, name)[-6:]]
    packets = []
    for offset in range(60):
        data = bytearray(rng.choice(sound))
        for _ in range(rng.choice((0, 1, 1, 5))):
            where = rng.choice((40, 400, len(data)))
            data[rng.randrange(min(where, len(data)))] = rng.randrange(256)
        packets.append(
            packet(bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))]), offset, "stream")
        )
    keep(tmp_path, packets, survey, test_data)
    assert [kept.received() for kept in kept_in(tmp_path, name)] == [each.data for each in packets]
    read = sum(len(decode(path.read_bytes())) for path in files_in(tmp_path))
    assert read >= len(packets)
    assert all(records_of(kept.fixed()) for kept in kept_in(tmp_path, name) if kept.form)
    assert {kept.form is None for kept in kept_in(tmp_path, name)} == {True, False}
