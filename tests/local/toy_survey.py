"""Packets of a survey that exists in tests only: a schema of its own, of all kinds of types, some of them by name, and pixels of noise."""

import gzip
import io
from copy import deepcopy
from typing import Any

import fastavro
import numpy as np
from astropy.io import fits

POINT: dict[str, Any] = {
    "type": "record",
    "name": "point",
    "fields": [
        {"name": "jd", "type": "double"},
        {"name": "fid", "type": "int"},
        {"name": "candid", "type": ["null", "long"]},
        {"name": "magpsf", "type": ["null", "float"]},
        {"name": "sigmapsf", "type": ["null", "float"]},
        {"name": "isdiffpos", "type": ["null", "boolean"]},
        {"name": "diffmaglim", "type": ["null", "float"]},
    ],
}
CUTOUT: dict[str, Any] = {
    "type": "record",
    "name": "cutout",
    "fields": [{"name": "fileName", "type": "string"}, {"name": "image", "type": "bytes"}],
}
CANDIDATE: dict[str, Any] = {
    "type": "record",
    "name": "candidate",
    "fields": [
        {"name": "jd", "type": "double", "doc": "JD of mid-exposure, d"},
        {"name": "ra", "type": "double"},
        {"name": "dec", "type": "double"},
        {"name": "fid", "type": "int"},
        {"name": "programid", "type": "int"},
        {"name": "magpsf", "type": "float"},
        {"name": "sigmapsf", "type": "float"},
        {"name": "isdiffpos", "type": "boolean"},
        {"name": "quality", "type": {"type": "enum", "name": "quality", "symbols": ["good", "poor"]}},
    ],
}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "namespace": "toy",
    "name": "alert",
    "fields": [
        {"name": "publisher", "type": "string"},
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {"name": "candidate", "type": CANDIDATE},
        {"name": "prv_candidates", "type": ["null", {"type": "array", "items": POINT}]},
        {"name": "neighbours", "type": {"type": "array", "items": "string"}},
        {"name": "flags", "type": {"type": "map", "values": "int"}},
        {"name": "checksum", "type": {"type": "fixed", "name": "checksum", "size": 4}},
        {"name": "sent", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "cutoutScience", "type": CUTOUT},
        {"name": "cutoutTemplate", "type": "cutout"},
        {"name": "cutoutDifference", "type": ["null", "cutout"]},
    ],
}
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
JD = 2460310.75


def stamp(seed: int) -> bytes:
    """A gzipped FITS image of 63 x 63 pixels."""
    file = io.BytesIO()
    fits.PrimaryHDU(np.random.default_rng(seed).normal(0, 1, (63, 63)).astype(np.float32)).writeto(file)
    return gzip.compress(file.getvalue(), mtime=0)


def record(candid: int = 1) -> dict[str, Any]:
    """An alert with a detection and a limit before it."""
    point = {"magpsf": None, "sigmapsf": None, "isdiffpos": None, "diffmaglim": 20.5, "candid": None, "fid": 2}
    seen = {"fid": 1, "magpsf": 18.5, "sigmapsf": 0.1, "isdiffpos": True}
    return {
        "publisher": "toy",
        "objectId": f"TOY{candid // 10}",
        "candid": candid,
        "candidate": {"jd": JD + candid, "ra": 150.0, "dec": 20.0, "programid": 1, "quality": "good", **seen},
        "prv_candidates": [point | {"jd": JD - 2}, point | seen | {"jd": JD - 1, "candid": 10_000}],
        "neighbours": ["M31"],
        "flags": {"saturated": 0},
        "checksum": b"\1\2\3\4",
        "sent": 1_700_000_000_000,
        **{name: {"fileName": name, "image": stamp(n)} for n, name in enumerate(CUTOUTS)},
    }


def encoded(schema: Any, content: dict[str, Any]) -> bytes:
    """An Avro file of one record."""
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(deepcopy(schema)), [content])
    return file.getvalue()


def without(schema: Any, *names: str, part: str | None = None) -> Any:
    """The schema without some fields, of one of its records where ``part`` says which."""
    changed = deepcopy(schema)
    record = changed if part is None else next(f["type"] for f in changed["fields"] if f["name"] == part)
    record["fields"] = [field for field in record["fields"] if field["name"] not in names]
    return changed
