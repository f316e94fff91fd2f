"""Packets for tests: the real ones, and made ones of which only what a test is about is set."""

import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro

from kowalski.alerts.decode import Packet, open_container
from kowalski.alerts.document import Alert, read_batch
from kowalski.alerts.survey import get_survey
from kowalski.simulation.encoding import SCHEMA_FILE

JD = 2460000.5
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
NEUTRAL = {"string": "", "bytes": b"", "int": 0, "long": 0, "float": 0.0, "double": 0.0, "boolean": False}

Record = dict[str, Any]


@cache
def ztf_schema() -> Any:
    """The project's ZTF schema, parsed."""
    return fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text()))


def blank(fields: list[Any]) -> Record:
    """A record with a neutral value in each field: null where it may be null."""
    return {field["name"]: _neutral(field["type"]) for field in fields}


def _neutral(kind: Any) -> Any:
    if isinstance(kind, list):
        return None if "null" in kind else _neutral(kind[0])
    return blank(kind["fields"]) if isinstance(kind, dict) else NEUTRAL[kind]


def ztf_record(
    candid: int = 1_000_000_000_000,
    object_id: str = "ZTF23aaaaaaa",
    prv: list[Record] | None = None,
    forced: list[Record] | None = None,
    **candidate: Any,
) -> Record:
    """A ZTF record; further arguments are fields of its candidate."""
    record = blank(ztf_schema()["fields"])
    record |= {"schemavsn": "4.01", "objectId": object_id, "candid": candid, "prv_candidates": prv, "fp_hists": forced}
    record |= {name: {"fileName": f"{name}.fits.gz", "stampData": b"stamp"} for name in CUTOUTS}
    seen = {
        "candid": candid,
        "jd": JD,
        "ra": 150.0,
        "dec": 20.0,
        "magpsf": 18.5,
        "programid": 1,
        "fid": 1,
        "ndethist": 1,
    }
    record["candidate"] |= seen | candidate
    return record


def prv_point(jd: float, **fields: Any) -> Record:
    """A ``prv_candidates`` entry: an upper limit unless a candid is given."""
    return (
        _item("prv_candidates")
        | {"jd": jd, "fid": 1, "pid": int(jd * 1e4), "programid": 1, "diffmaglim": 20.5}
        | fields
    )


def forced_point(jd: float, **fields: Any) -> Record:
    """A ``fp_hists`` entry with flux and zero point."""
    flux = {"forcediffimflux": 100.0, "forcediffimfluxunc": 10.0, "magzpsci": 26.0, "procstatus": "0"}
    return _item("fp_hists") | {"jd": jd, "fid": 1, "pid": int(jd * 1e4), "programid": 1} | flux | fields


def _item(history: str) -> Record:
    field = next(field for field in ztf_schema()["fields"] if field["name"] == history)
    return blank(field["type"][1]["items"]["fields"])


def encode(*records: Record, schema: Any = None, codec: str = "null") -> bytes:
    """An Avro object container, written by fastavro."""
    file = BytesIO()
    fastavro.writer(file, ztf_schema() if schema is None else schema, records, codec=codec)
    return file.getvalue()


def packet(data: bytes, offset: int = 0, topic: str = "ztf_20230101_programid1") -> Packet:
    """A message of the stream."""
    return Packet(data, topic, 0, offset)


def ztf_packets(records: list[Record]) -> list[Packet]:
    """Messages of the stream, one per record."""
    return [packet(encode(record), offset) for offset, record in enumerate(records)]


def ztf_alerts(records: list[Record]) -> list[Alert]:
    """The alerts of some records, as the chain reads them."""
    alerts, refusals = read_batch(ztf_packets(records), get_survey("ZTF"))
    assert refusals == []
    return alerts


def real_files(data: Path, survey: str = "ztf") -> list[Path]:
    """The real packets of a survey, in the order of their names."""
    return sorted((data / f"{survey}_alerts").rglob("*.avro"))


def real_packets(data: Path) -> list[Packet]:
    """The real ZTF packets as messages of the stream."""
    return [packet(path.read_bytes(), offset) for offset, path in enumerate(real_files(data))]


def changed(data: bytes, change: Callable[[dict[str, Any]], Any], free: tuple[str, ...] = ()) -> bytes:
    """A real packet whose record was changed; the fields named ``free`` of it and its candidate may then have any type."""
    schema, ((_, block),) = open_container(data)
    record: Any = fastavro.schemaless_reader(BytesIO(block), schema, None)
    change(record)
    open_schema = json.loads(json.dumps(schema, default=str))
    for part in (open_schema, next(f["type"] for f in open_schema["fields"] if f["name"] == "candidate")):
        part["fields"] = [
            {**field, "type": ["null", "string", "double"]} if field["name"] in free else field
            for field in part["fields"]
        ]
    file = BytesIO()
    fastavro.writer(file, fastavro.parse_schema(open_schema), [record])
    return file.getvalue()
