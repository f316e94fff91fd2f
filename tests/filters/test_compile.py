"""Compiling filters: what is refused, what can go through in batches, and what is read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import json_util
from bson.code import Code
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from kowalski.errors import FilterError
from kowalski.filters.actions import Autosave
from kowalski.filters.compile import (
    CARRIER,
    EVERYTHING,
    Reads,
    compile_stages,
    fields_read,
    parse_pipeline,
)
from kowalski.filters.definition import compile_filter

#: the large fields of ZTF
HEAVY = frozenset({"prv_candidates", "fp_hists", "cross_matches"})

LARGE = {"prv_candidates", "fp_hists", "cross_matches"}
MATCH = {"$match": {"candidate.drb": {"$gt": 0.5}}}


def document(pipeline: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(),
        "filter_id": 7,
        "group_id": 3,
        "catalog": "ZTF_alerts",
        "permissions": [1, 2],
        "active": True,
        "active_fid": "abc123",
        "fv": [
            {"fid": "old000", "pipeline": json.dumps([{"$match": {}}]), "created_at": datetime.now(UTC)},
            {"fid": "abc123", "pipeline": json.dumps([MATCH]) if pipeline is None else pipeline},
        ],
        **fields,
    }


def refused(pipeline: Any) -> str:
    with pytest.raises(FilterError) as caught:
        parse_pipeline(pipeline)
    assert caught.value.http_status == 400
    return str(caught.value)


def test_what_is_nested_deeper_than_mongodb_stores_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    with pytest.raises(FilterError, match="nested deeper"):
        compile_filter(document() | {"auto_followup": {"priority_order": deep}})


DEEP = "[" * 600 + "]" * 600


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"$oid": None}, "oid must be text"),
        ({"$literal": {"$code": "f()"}}, "not allowed"),
        ({"$literal": {"$code": "f()", "$scope": {"x": 1}}}, "not allowed"),
        ({"$ref": "users", "$id": 1, "$function": {}}, "not allowed"),
        ({"$literal": {"$ref": "users", "$id": 1}}, "not allowed"),
    ],
)
def test_what_stands_for_no_value(body: Any, why: str) -> None:
    with pytest.raises(FilterError, match=why):
        parse_pipeline(json.dumps([{"$addFields": {"x": body}}]))


def test_nesting_has_an_end() -> None:
    for text in (f'[{{"$match": {{"x": {DEEP}}}}}]', f'[{{"$addFields": {{"x": {{"$literal": {DEEP}}}}}}}]'):
        with pytest.raises(FilterError, match="nested deeper"):
            parse_pipeline(text)


def test_code_and_references_of_a_database_are_no_more_allowed() -> None:
    for value in (Code("f()"), DBRef("users", 1, **{"$function": {}})):
        with pytest.raises(FilterError, match="forbidden operators"):
            parse_pipeline([{"$addFields": {"x": value}}])
    assert compile_stages(parse_pipeline([{"$addFields": {"x": {"$literal": Code("f()")}}}])).together is not None


def test_the_active_version_is_compiled() -> None:
    compiled = compile_filter(
        document(update_annotations=True, autosave={"active": True}, auto_followup={"active": False})
    )
    assert (compiled.filter_id, compiled.group_id, compiled.fid, compiled.sight.permissions) == (7, 3, "abc123", (1, 2))
    assert compiled.pipeline.stages == [MATCH]
    assert compiled.pipeline.by_batch
    assert (compiled.update_annotations, compiled.autosave, compiled.follow_up) == (True, Autosave(), None)


def test_what_older_documents_lack() -> None:
    bare = document()
    del bare["permissions"]
    compiled = compile_filter(bare)
    assert (compiled.sight.permissions, compiled.update_annotations, compiled.autosave, compiled.follow_up) == (
        (),
        False,
        None,
        None,
    )


@pytest.mark.parametrize("change", [{"active_fid": "gone00"}, {"fv": []}, {"active_fid": None}])
def test_a_version_that_is_not_there(change: dict[str, Any]) -> None:
    with pytest.raises(FilterError, match="filter 7"):
        compile_filter(document() | change)


def test_extended_json() -> None:
    text = '[{"$match": {"at": {"$gt": {"$date": "2024-01-01T00:00:00Z"}}, "candid": {"$numberLong": "5"}, "_id": {"$oid": "0123456789abcdef01234567"}}}]'
    ((stage,),) = ((stage["$match"],) for stage in parse_pipeline(text))
    assert stage["at"]["$gt"].replace(tzinfo=UTC) == datetime(2024, 1, 1, tzinfo=UTC)
    assert stage["candid"] == 5
    assert stage["_id"] == ObjectId("0123456789abcdef01234567")


@pytest.mark.parametrize(
    "pipeline",
    [
        "",
        "{",
        "[{'$match': {}}]",
        '[{"$match": {"_id": {"$oid": "short"}}}]',
        '[{"$match": {"a": {"$numberDecimal": "x"}}}]',
        '[{"$match": {"a": {"$numberInt": "x"}}}]',
        '[{"$match": {"a": {"$date": "yesterday"}}}]',
        '[{"$match": {"a": {"$binary": {"subType": "00"}}}}]',
        "[" * 10_000,
    ],
)
def test_text_that_is_no_extended_json(pipeline: str) -> None:
    assert "not valid extended JSON" in refused(pipeline)


@pytest.mark.parametrize(
    "pipeline",
    [None, 5, {}, {"$match": {}}, "{}", "5", [5], ["$match"], [{}], [{"$match": {}, "$project": {}}], [[MATCH]]],
)
def test_what_is_no_list_of_stages(pipeline: Any) -> None:
    assert "list of stages" in refused(pipeline)


def test_an_empty_pipeline() -> None:
    assert "at least one stage" in refused([])


@pytest.mark.parametrize(
    "stage", ["$lookup", "$graphLookup", "$unionWith", "$out", "$merge", "$collStats", "$indexStats", "$newInSome9.0"]
)
def test_stages_that_reach_other_collections_are_refused(stage: str) -> None:
    """The reference's text, and wherever they hide."""
    assert refused([MATCH, {stage: "users"}]) == f"pipeline uses forbidden stages: {stage}"
    assert stage in refused([{"$facet": {"a": [MATCH, {stage: {"from": "users"}}]}}])
    assert stage in refused([{"$facet": {stage: [MATCH]}}]), (
        "as the name of a facet, which MongoDB would not take either"
    )
    assert stage in refused(json.dumps([{stage: {}}]))


@pytest.mark.parametrize("operator", ["$where", "$function", "$accumulator", "$newInSome9"])
def test_operators_that_run_code_are_refused(operator: str) -> None:
    assert operator in refused(
        [{"$match": {"$expr": {"$and": [True, {operator: {"body": "x", "args": [], "lang": "js"}}]}}}]
    )


@pytest.mark.parametrize("value", [2**70, object(), {"a": {1: 2}}, "\ud800"])
def test_what_mongodb_has_no_type_for_is_refused(value: Any) -> None:
    """Such a pipeline would fail with every alert, and not as MongoDB's errors do."""
    assert "no type" in refused([{"$match": {"candid": value}}])


# batches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage",
    [
        MATCH,
        {"$project": {"candid": 1}},
        {"$addFields": {"x": 1}},
        {"$set": {"x": "$candid"}},
        {"$unset": ["candidate.rb", "x"]},
        {"$unset": "candidate"},
        {"$unwind": "$prv_candidates"},
        {"$unwind": {"path": "$prv_candidates", "preserveNullAndEmptyArrays": True}},
        {"$set": {"x": "$$ROOT.candidate.rb"}},
        {"$redact": {"$cond": [{"$gt": ["$candidate.rb", 0.5]}, "$$DESCEND", "$$PRUNE"]}},
    ],
)
def test_stages_that_take_a_batch(stage: dict[str, Any]) -> None:
    assert compile_filter(document([MATCH, stage])).pipeline.by_batch


@pytest.mark.parametrize(
    "stage",
    [
        {"$group": {"_id": None}},
        {"$sort": {"candid": 1}},
        {"$limit": 1},
        {"$skip": 1},
        {"$count": "n"},
        {"$sample": {"size": 1}},
        {"$facet": {"a": [MATCH]}},
        {"$replaceRoot": {"newRoot": "$candidate"}},
        {"$bucketAuto": {"groupBy": "$candid", "buckets": 1}},
        {"$sortByCount": "$candid"},
        {"$setWindowFields": {"output": {"n": {"$sum": 1}}}},
        {"$replaceWith": "$candidate"},
        {"$match": {"$text": {"$search": "x"}}},
        {"$set": {CARRIER: 1}},
        {"$set": {f"{CARRIER}.x": 1}},
        {"$set": {"x": f"${CARRIER}"}},
        {"$unset": CARRIER},
        {"$unset": ["x", CARRIER]},
        {"$unwind": f"${CARRIER}"},
        {"$unwind": {"path": "$prv_candidates", "includeArrayIndex": CARRIER}},
        {"$project": {CARRIER: 0}},
        {"$project": {f"{CARRIER}.x": 1}},
        {"$match": {CARRIER: {"$exists": False}}},
        {"$set": {"x": f"$$ROOT.{CARRIER}"}},
        {"$set": {"x": "$$ROOT"}},
        {"$set": {"x": {"$objectToArray": "$$CURRENT"}}},
        {"$match": {"$expr": {"$gt": [{"$bsonSize": "$$ROOT"}, 5]}}},
        {"$redact": {"$cond": [{"$gt": [{"$bsonSize": "$$CURRENT"}, 5]}, "$$KEEP", "$$PRUNE"]}},
        {"$match": {"$jsonSchema": {"maxProperties": 5}}},
    ],
)
def test_stages_that_look_across_alerts_or_at_the_carrier_do_not(stage: dict[str, Any]) -> None:
    compiled = compile_filter(document([MATCH, stage, {"$project": {"candid": 1}}]))
    assert not compiled.pipeline.by_batch
    assert compiled.pipeline.together is None
    assert compiled.pipeline.alone[1:] == [MATCH, stage, {"$project": {"candid": 1}}], "and run as they stand"
    assert compiled.pipeline.alone[0] == {"$unset": CARRIER}


@pytest.mark.parametrize(
    ("projection", "keeps"),
    [
        ({"candid": 1}, False),
        ({"candid": True, "_id": 0}, False),
        ({"_id": 1}, False),
        ({"_id": "$candid"}, False),
        ({"x": {"$add": [1, 2]}}, False),
        ({"x": None}, False),
        ({"x": {"$literal": 0}}, False),
        ({"x": [0]}, False),
        ({"candidate": {"rb": 1}}, False),
        ({"candidate": {"x": "$candid"}}, False),
        ({"_id": Decimal128("1")}, False),
        ({"_id": Decimal128("0")}, True),
        ({"_id": 0}, True),
        ({"candidate": 0}, True),
        ({"candidate.rb": False, "_id": 1}, True),
        ({"candidate": {"rb": 0, "drb": False}}, True),
        ({"candidate": {"a": {"b": 0.0}}, "_id": 0}, True),
    ],
)
def test_a_projection_keeps_the_carrier(projection: dict[str, Any], keeps: bool) -> None:
    compiled = compile_filter(document(json_util.dumps([{"$project": projection}]))).pipeline
    assert compiled.together == [{"$project": projection if keeps else {**projection, CARRIER: 1}}]
    assert compiled.alone == [{"$unset": CARRIER}, {"$project": projection}]


def test_the_users_pipeline_stays_as_it_was() -> None:
    pipeline = [{"$project": {"candid": 1}}]
    compile_filter(document(pipeline))
    assert pipeline == [{"$project": {"candid": 1}}]


# reads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "heavy"),
    [
        (MATCH, set()),
        ({"$match": {"prv_candidates.magpsf": 5}}, {"prv_candidates"}),
        ({"$match": {"$expr": {"$gt": [{"$size": "$fp_hists"}, 3]}}}, {"fp_hists"}),
        ({"$set": {"x": {"$first": "$cross_matches.Gaia_EDR3"}}}, {"cross_matches"}),
        ({"$unwind": "$prv_candidates"}, {"prv_candidates"}),
        ({"$project": {"fp_hists": 1}}, {"fp_hists"}),
        ({"$match": {"fp_hists": {"$exists": False}}}, {"fp_hists"}),
        ({"$set": {"x": {"$map": {"input": "$prv_candidates", "in": "$$this.jd"}}}}, {"prv_candidates"}),
        ({"$set": {"x": {"$objectToArray": "$$ROOT"}}}, LARGE),
        ({"$set": {"x": "$$CURRENT.prv_candidates"}}, LARGE),
        ({"$redact": {"$cond": [True, "$$KEEP", "$$PRUNE"]}}, LARGE),
        ({"$set": {"x": {"$getField": {"$concat": ["fp_", "hists"]}}}}, LARGE),
        ({"$match": {"$jsonSchema": {"patternProperties": {"^fp_": {"minItems": 3}}}}}, LARGE),
        ({"$facet": {"a": [{"$match": {"candid": 1}}]}}, LARGE),
        ({"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}, LARGE),
        ({"$set": {"x": {"$let": {"vars": {"CURRENT": "$candidate"}, "in": "$rb"}}}}, LARGE),
        ({"$set": {"x": {"$map": {"input": "$prv_candidates", "as": "p", "in": "$$p.jd"}}}}, {"prv_candidates"}),
        ({"$match": {"prv_candidates.0.jd": 5}}, {"prv_candidates"}),
    ],
)
def test_which_large_fields_are_read(stage: dict[str, Any], heavy: set[str]) -> None:
    reads = fields_read([stage])
    assert {name for name in LARGE if reads.wants(name)} == heavy


@pytest.mark.parametrize(
    ("stage", "whole"),
    [
        (MATCH, False),
        ({"$project": {"x": "$candidate.rb"}}, False),
        ({"$project": {"candidate": 1}}, True),
        ({"$project": {"candidate": {"rb": 1}}}, True),
        ({"$set": {"x": "$candidate"}}, True),
        ({"$set": {"x": {"$let": {"vars": {"c": "$candidate"}, "in": "$$c.rb"}}}}, True),
        ({"$replaceRoot": {"newRoot": "$candidate"}}, True),
        ({"$set": {"x": {"$mergeObjects": ["$candidate", {}]}}}, True),
        ({"$set": {"x": "$$ROOT.candidate.rb"}}, True),
        ({"$set": {"x": {"$setField": {"field": "z", "input": "$candidate", "value": 1}}}}, True),
        ({"$facet": {"a": [{"$match": {"candidate.rb": 1}}]}}, True),
    ],
)
def test_whether_the_candidate_is_read_as_a_whole(stage: dict[str, Any], whole: bool) -> None:
    assert fields_read([stage]).whole_candidate is whole


def test_names_at_any_depth_are_read() -> None:
    names = fields_read([MATCH, {"$set": {"x": {"$add": ["$candidate.rb", "$classifications.braai"]}}}]).names
    assert names is not None
    assert {"candidate", "drb", "rb", "classifications", "braai"} <= names


def test_what_several_filters_read() -> None:
    one, other = Reads(frozenset({"a"}), False), Reads(frozenset({"b", "fp_hists"}), True)
    assert one | other == Reads(frozenset({"a", "b", "fp_hists"}), True)
    assert one | EVERYTHING == EVERYTHING | one == EVERYTHING
    assert EVERYTHING.wants("anything")
