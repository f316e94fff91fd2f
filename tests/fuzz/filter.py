"""Filters as users write them: compiled, or refused by `FilterError`; what is compiled can be sent to MongoDB."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import bson

from kowalski.errors import FilterError
from kowalski.filters.compile import CARRIER, compile_stages, parse_pipeline
from kowalski.filters.definition import compile_filter
from kowalski.filters.language import OPERATORS, STAGES

from . import structure

ACTIVE = "v1"
WORDS = (
    "candidate", "candidate.drb", "prv_candidates", "fp_hists", "_id", CARRIER, "$$ROOT", "$$CURRENT", "$candidate", "$jsonSchema", "annotations",
    "pipeline", "autosave", "auto_followup", "active", "comment", "saver_id", "ignore_group_ids", "payload", "priority_order", "priority", "asc",
    "allocation_id", "radius", "validity_days", "not_if_tns_reported", "target_group_ids", "permissions", "surveys", "ZTF_alerts", "LSST",
    {"$numberDecimal": "sNaN"}, {"$numberDecimal": "1E6000"}, {"$numberLong": "x"}, {"$numberInt": "1"}, {"$numberDouble": "NaN"},
    {"$oid": "x"}, {"$date": {"$numberLong": "9" * 20}}, {"$date": "x"}, {"$date": 5}, {"$regularExpression": {"pattern": "(", "options": "zz"}}, {"$regex": "a", "$options": 5},
    {"$binary": {"base64": "!", "subType": "zz"}}, {"$uuid": "x"}, {"$timestamp": {"t": -1, "i": "x"}}, {"$timestamp": 5}, {"$code": 1, "$scope": 2},
    {"$minKey": 1}, {"$maxKey": 2}, {"$undefined": True}, {"$ref": 1, "$id": 2, "$db": 3}, {"$dbPointer": 4}, {"$symbol": 5}, {"$where": "x"},
    {"$out": "x"}, {"$lookup": {"from": "users", "as": "x"}}, {"$literal": {"$where": 1}}, {"$expr": {"$gt": [1, "$x"]}}, ["pipeline"], {"a": 1},
    *sorted(OPERATORS | STAGES),
)  # fmt: skip

#: what once raised something else than `FilterError`
MENDED: dict[str, Any] = {
    "code with scope": {"pipeline": '[{"$project": {"x": {"$code": "1", "$scope": {"a": 1}}}}]'},
    "signalling nan": {"pipeline": '[{"$project": {"x": {"$numberDecimal": "sNaN"}}}]'},
    "surveys as a list": {"pipeline": [{"$match": {}}], "surveys": ["LSST"]},
    "catalog as a list": {"pipeline": [{"$match": {}}], "catalog": ["ZTF_alerts"]},
    "order as a mapping": {"pipeline": [{"$match": {}}], "autosave": True, "auto_followup": {"active": True, "pipeline": [{"$match": {}}], "allocation_id": 1, "payload": {"a": 1}, "priority_order": {"a": 1}}},
    "radius beyond floats": {"pipeline": [{"$match": {}}], "autosave": True, "auto_followup": {"active": True, "pipeline": [{"$match": {}}], "allocation_id": 1, "payload": {"a": 1}, "radius": 10**400}},
}  # fmt: skip

DRB = [{"$match": {"candidate.drb": {"$gt": 0.5}}}]
SEEDS: dict[str, Any] = {
    "match": {"pipeline": DRB},
    "project": {"pipeline": [*DRB, {"$project": {"_id": 0, "candid": 1, "annotations": {"rb": {"$avg": "$prv_candidates.rb"}}}}]},
    "text": {"pipeline": '[{"$match": {"candidate.jd": {"$gt": {"$numberDouble": "2460000.5"}}, "at": {"$date": "2024-01-01T00:00:00Z"}}}]'},
    "excluded": {"pipeline": [{"$project": {"candidate": {"rb": {"$numberDecimal": "0"}, "drb": False}, "_id": 0}}, {"$unset": "candidate"}]},
    "excluded text": {"pipeline": '[{"$project": {"candidate": {"rb": {"$numberDecimal": "0"}}, "_id": {"$numberInt": "0"}}}]'},
    "grouped": {"pipeline": [{"$unwind": "$prv_candidates"}, {"$group": {"_id": "$objectId", "n": {"$sum": 1}}}, {"$facet": {"a": [{"$match": {}}]}}]},
    "actions": {
        "pipeline": DRB,
        "autosave": {"active": True, "comment": "c", "saver_id": 3, "ignore_group_ids": [1, 2], "pipeline": DRB},
        "auto_followup": {
            "active": True, "pipeline": DRB, "allocation_id": 5, "payload": {"priority": "3", "observation_type": "IFU"}, "priority_order": "desc",
            "radius": 0.5, "validity_days": 7, "not_if_tns_reported": 24, "target_group_ids": [4], "ignore_allocation_ids": [], "implements_update": True,
        },
        "permissions": [1, 2],
        "surveys": {"LSST": True, "WNTR": [1]},
    },
}  # fmt: skip


def seeds() -> Iterator[tuple[str, bytes]]:
    """Filters of each kind."""
    for name, body in {**SEEDS, **MENDED}.items():
        yield name, json.dumps(body).encode()


def mutated(data: bytes, chance: Random) -> bytes | None:
    """The filter with its tree changed, or the tree of the pipeline that stands in it as text."""
    try:
        body = json.loads(data)
        if isinstance(body.get("pipeline"), str) and chance.random() < 0.8:
            inner = structure.mutated_json(body["pipeline"].encode(), chance, WORDS)
            return json.dumps(body | {"pipeline": inner.decode()}).encode() if inner else None
    except (ValueError, RecursionError, TypeError, AttributeError):
        return None
    if chance.random() < 0.2:
        return json.dumps(body | {"pipeline": json.dumps(body.get("pipeline"))}).encode()
    return structure.mutated_json(data, chance, WORDS)


def run(data: bytes) -> None:
    """Compile a stored filter, and its pipeline alone."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(body, dict):
        return
    version = {"fid": ACTIVE, "pipeline": body.pop("pipeline", None)}
    document = {"catalog": "ZTF_alerts"} | body | {"filter_id": 1, "group_id": 2, "active_fid": ACTIVE, "fv": [version]}
    try:
        stages = parse_pipeline(version["pipeline"])
    except FilterError:
        stages = None
    try:
        compiled = compile_filter(document)
    except FilterError:
        compiled = None
    if stages is None:
        assert compiled is None, "refused alone, compiled as a version"
        return
    alone = compile_stages(stages)
    bson.encode({"alone": alone.alone, "together": alone.together})
    assert parse_pipeline(alone.stages) == alone.stages, "compiled once, refused again"
    if compiled is not None:
        assert compiled.pipeline.reads == alone.reads
        assert repr(compiled.pipeline.together) == repr(alone.together)
        assert compiled.reads.names is None or alone.reads.names <= compiled.reads.names
        if compiled.autosave is not None:
            compiled.autosave.request()
        if compiled.follow_up is not None and compiled.autosave is not None:
            compiled.follow_up.request("ZTF23a", 2, compiled.autosave, {"payload": {}})
