"""Pipelines of every kind that users write, and the plain way to run one: the reference's, alert by alert."""

from typing import Any

from bson.decimal128 import Decimal128
from pymongo.errors import OperationFailure

from kowalski.database.client import MongoDatabase

Stage = dict[str, Any]

DRB = {"$match": {"candidate.drb": {"$gt": 0.5}}}
DETECTIONS = {"$filter": {"input": "$prv_candidates", "cond": {"$gt": ["$$this.magpsf", None]}}}

PIPELINES: dict[str, list[Stage]] = {
    "all": [{"$match": {}}],
    "none": [{"$match": {"candidate.drb": {"$gt": 2}}}],
    "match": [DRB],
    "annotations": [
        DRB,
        {"$project": {"_id": 0, "candid": 1, "objectId": 1, "annotations": {"author": "dd", "mean_rb": {"$avg": "$prv_candidates.rb"}}}},
    ],
    "annotations null": [{"$project": {"annotations": None}}],
    "annotations that are a list": [{"$set": {"annotations": ["$candidate.rb", "$candidate.fid"]}}],
    "forced photometry": [
        {"$set": {"good": {"$filter": {"input": "$fp_hists", "cond": {"$gte": ["$$this.snr", 3]}}}}},
        {"$match": {"good.0": {"$exists": True}}},
        {"$project": {"annotations": {"n": {"$size": "$good"}, "snr": {"$max": "$good.snr"}}}},
    ],
    "no forced photometry": [{"$match": {"fp_hists": {"$size": 0}}}],
    "detections": [{"$set": {"n": {"$size": DETECTIONS}}}, {"$match": {"n": {"$gte": 3}}}, {"$project": {"annotations": {"n": "$n"}}}],
    "let": [
        {"$project": {"rb": {"$let": {"vars": {"c": "$candidate"}, "in": {"$subtract": ["$$c.drb", "$$c.rb"]}}}}},
        {"$match": {"rb": {"$gt": 0}}},
        {"$project": {"annotations.difference": "$rb"}},
    ],
    "cross-matches": [{"$match": {"cross_matches.Gaia_EDR3.parallax": {"$gt": 0.5}}}, {"$project": {"annotations": {"n": {"$size": "$cross_matches.Gaia_EDR3"}}}}],
    "scores": [{"$match": {"classifications.braai": {"$gt": 0.5}}}, {"$project": {"annotations": {"braai": "$classifications.braai"}}}],
    "place": [{"$match": {"coordinates.b": {"$gt": 10}, "coordinates.radec_geojson.type": "Point"}}],
    "list of values": [{"$match": {"candidate.isdiffpos": {"$in": ["t", "1"]}, "candidate.programid": {"$in": [1, 2]}}}],
    "only the id": [{"$project": {"_id": 1}}],
    "all but the id": [{"$project": {"_id": 0}}, DRB],
    "without the candidate": [DRB, {"$project": {"candidate": 0}}],
    "without parts of the candidate": [DRB, {"$project": {"candidate": {"rb": 0, "drb": 0}, "_id": 0}}, {"$match": {"candidate.drb": {"$exists": False}}}],
    "unset": [{"$unset": ["candidate.rb", "prv_candidates"]}, {"$match": {"candidate.rb": {"$exists": False}}}],
    "unwound": [{"$unwind": "$prv_candidates"}, {"$match": {"prv_candidates.magpsf": {"$gt": 0}}}],
    "unwound to one": [
        {"$set": {"peak": {"$min": "$prv_candidates.magpsf"}}},
        {"$unwind": {"path": "$prv_candidates", "includeArrayIndex": "at"}},
        {"$match": {"$expr": {"$and": [{"$gt": ["$peak", None]}, {"$eq": ["$prv_candidates.magpsf", "$peak"]}]}}},
        {"$project": {"annotations": {"at": "$at", "peak": "$peak"}}},
    ],
    "nested projection": [{"$project": {"candidate": {"rb": 1, "fid": 1}}}, {"$set": {"annotations": "$candidate"}}],
    "whole document": [
        {"$set": {"fields": {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}}},
        {"$match": {"fields": {"$all": ["prv_candidates", "fp_hists", "cross_matches", "candidate"]}}},
        {"$project": {"annotations": {"cutouts": {"$setIntersection": ["$fields", ["cutoutScience", "cutoutTemplate"]]}}}},
    ],
    "field by name": [{"$set": {"n": {"$size": {"$getField": "prv_candidates"}}}}, {"$match": {"n": {"$gt": 5}}}],
    "redact": [{"$redact": {"$cond": [{"$gt": ["$candidate.drb", 0.5]}, "$$KEEP", "$$PRUNE"]}}],
    "redact inside": [{"$redact": {"$cond": [{"$gte": [{"$ifNull": ["$rb", 1]}, 0.5]}, "$$DESCEND", "$$PRUNE"]}}, {"$match": {"candidate.jd": {"$gt": 0}}}],
    "without its candid": [{"$project": {"candid": 0, "objectId": 0}}, {"$match": {"candid": None, "candidate.fid": 1}}, {"$set": {"annotations": {"rb": "$candidate.rb"}}}],
    "another candid": [DRB, {"$set": {"candid": 5, "objectId": "x"}}, {"$project": {"annotations": {"candid": "$candid", "name": "$objectId"}}}],
    "removed": [{"$project": {"_id": 0, "annotations": {"rb": {"$cond": [{"$gt": ["$candidate.rb", 0.5]}, "$candidate.rb", "$$REMOVE"]}}}}],
    "computed and left out": [{"$project": {"_id": 0, "zero": {"$literal": 0}, "annotations": {"fid": {"$toInt": "$candidate.fid"}}}}, {"$match": {"zero": 0}}],
    "schema": [{"$match": {"$jsonSchema": {"properties": {"candidate": {"properties": {"fid": {"enum": [1]}}}}}}}],
    "element": [{"$match": {"prv_candidates": {"$elemMatch": {"magpsf": {"$gt": 0}, "fid": 1}}}}],
    "neither nor": [{"$match": {"$nor": [{"candidate.fid": 2}, {"candidate.drb": {"$not": {"$gt": 0.5}}}]}}],
    "name": [{"$match": {"objectId": {"$regex": "^ZTF2[0-9]"}}}, {"$project": {"annotations": {"year": {"$substrCP": ["$objectId", 3, 2]}}}}],
    "sorted inside": [{"$set": {"last": {"$last": {"$sortArray": {"input": DETECTIONS, "sortBy": {"jd": 1}}}}}}, {"$match": {"last.jd": {"$gt": 0}}}, {"$project": {"annotations": {"jd": "$last.jd"}}}],
    "nulls kept while unwinding": [{"$unwind": {"path": "$fp_hists", "preserveNullAndEmptyArrays": True}}, {"$match": {"fp_hists": {"$exists": False}}}],
    "another root": [{"$replaceRoot": {"newRoot": "$candidate"}}, {"$match": {"rb": {"$gt": 0.6}}}, {"$set": {"annotations": {"fid": "$fid"}}}],
    "sort and limit": [
        {"$unwind": "$prv_candidates"},
        {"$sort": {"prv_candidates.jd": -1}},
        {"$limit": 1},
        {"$project": {"annotations": {"jd": "$prv_candidates.jd"}}},
    ],
    "group": [
        {"$unwind": "$prv_candidates"},
        {"$group": {"_id": "$prv_candidates.fid", "n": {"$sum": 1}}},
        {"$project": {"annotations": {"fid": "$_id", "n": "$n"}}},
    ],
    "count": [DRB, {"$count": "n"}, {"$set": {"annotations": {"n": "$n"}}}],
    "group of nothing": [{"$match": {"candid": 5}}, {"$group": {"_id": None}}],
    "facet": [{"$facet": {"a": [DRB], "b": [{"$count": "n"}]}}, {"$set": {"annotations": {"n": {"$size": "$a"}}}}],
    "buckets": [{"$unwind": "$prv_candidates"}, {"$bucket": {"groupBy": "$prv_candidates.fid", "boundaries": [1, 2, 5], "output": {"n": {"$sum": 1}}}}],
    "skip": [{"$unwind": "$prv_candidates"}, {"$skip": 1}, {"$limit": 1}, {"$project": {"annotations": {"jd": "$prv_candidates.jd"}}}],
    "most frequent": [{"$unwind": "$prv_candidates"}, {"$sortByCount": "$prv_candidates.fid"}, {"$sort": {"count": -1, "_id": 1}}, {"$limit": 1}, {"$set": {"annotations": {"fid": "$_id"}}}],
    "limit": [DRB, {"$limit": 1}],
    "window": [{"$setWindowFields": {"sortBy": {"candid": 1}, "output": {"annotations.n": {"$sum": 1}}}}],
    "fails with some": [
        {"$set": {"x": {"$divide": [1, {"$cond": [{"$gt": ["$candidate.drb", 0.5]}, 1, 0]}]}}},
        {"$project": {"annotations": {"x": "$x"}}},
    ],
    "fails with some, alone": [{"$sort": {"candid": 1}}, {"$set": {"x": {"$sqrt": {"$subtract": ["$candidate.drb", 0.5]}}}}],
    "fails with all": [{"$set": {"x": {"$toInt": "$objectId"}}}],
    "is no pipeline": [{"$project": {}}],
    # what would see how the runner tells one alert's documents from another's, or is fed less than all
    "the document itself": [DRB, {"$project": {"annotations": "$$ROOT"}}],
    "the document after a projection": [{"$project": {"rb": "$candidate.rb"}}, {"$project": {"annotations": "$$CURRENT"}}],
    "number of fields": [{"$project": {"rb": "$candidate.rb"}}, {"$set": {"annotations": {"n": {"$size": {"$objectToArray": "$$ROOT"}}}}}],
    "size of the document": [{"$set": {"annotations": {"bytes": {"$bsonSize": "$$ROOT"}}}}],
    "put into another root": [{"$replaceWith": {"$mergeObjects": [{"annotations": {"n": {"$size": {"$objectToArray": "$$ROOT"}}}}, "$candidate"]}}],
    "grouped whole": [{"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}, {"$set": {"annotations": {"bytes": {"$bsonSize": {"$first": "$all"}}}}}],
    "facet of whole documents": [{"$facet": {"a": [DRB]}}, {"$match": {"a.0": {"$exists": True}}}, {"$set": {"annotations": {"n": {"$size": {"$objectToArray": {"$first": "$a"}}}}}}],
    "a field that nobody set": [{"$match": {"_candid": {"$exists": False}}}],
    "the same through the root": [{"$project": {"annotations": {"x": "$$ROOT._candid"}}}],
    "a field of the same name": [{"$set": {"_candid": 5}}, {"$project": {"annotations": {"x": "$_candid"}}}],
    "part of a field of the same name": [{"$project": {"_candid.x": 1}}],
    "no other fields": [{"$project": {"_id": 0, "rb": "$candidate.rb"}}, {"$match": {"$jsonSchema": {"properties": {"rb": {}}, "additionalProperties": False}}}],
    "fields by pattern": [{"$match": {"$jsonSchema": {"patternProperties": {"^prv_": {"minItems": 5}}}}}],
    "redacted by number of fields": [{"$redact": {"$cond": [{"$gt": [{"$size": {"$objectToArray": "$$CURRENT"}}, 12]}, "$$PRUNE", "$$DESCEND"]}}],
    "left out by a decimal": [{"$project": {"candidate": Decimal128("0")}}],
    "id left out by a decimal": [{"$project": {"_id": Decimal128("0")}}, {"$match": {"candidate.fid": 1}}],
    "another meaning of a path": [{"$project": {"annotations": {"rb": {"$let": {"vars": {"CURRENT": "$candidate"}, "in": "$rb"}}}}}],
    "variable of a field's name": [{"$project": {"annotations": {"m": {"$let": {"vars": {"candidate": "$candidate"}, "in": "$$candidate.magpsf"}}}}}],
    "item of a name": [{"$project": {"annotations": {"m": {"$map": {"input": "$prv_candidates", "as": "p", "in": "$$p.magpsf"}}}}}],
    "renamed": [{"$project": {"c": "$candidate", "p": "$prv_candidates"}}, {"$project": {"annotations": {"rb": "$c.rb", "n": {"$size": "$p"}}}}],
    "place in a list": [{"$match": {"prv_candidates.2.jd": {"$gt": 0}}}, {"$project": {"annotations": {"jd": "$prv_candidates.jd"}}}],
    "field set by name": [{"$set": {"annotations": {"$setField": {"field": "z", "input": "$candidate", "value": 1}}}}],
    "the clock": [{"$match": {"$expr": {"$gt": ["$$NOW", {"$dateFromString": {"dateString": "2020-01-01"}}]}}}],
    "all of a sample": [{"$match": {"$sampleRate": 1.0}}, {"$match": {"$expr": {"$lt": [{"$rand": {}}, 2]}}}],
    "sample of one": [{"$sample": {"size": 1}}],
    "words in a text": [{"$match": {"$text": {"$search": "ZTF"}}}],
    "near a place": [{"$match": {"coordinates.radec_geojson": {"$near": {"$geometry": {"type": "Point", "coordinates": [0, 0]}}}}}],
    "within a circle": [{"$match": {"coordinates.radec_geojson": {"$geoWithin": {"$centerSphere": [[0, 0], 1.5]}}}}],
    "filled": [{"$fill": {"output": {"annotations": {"value": {"a": 1}}}}}],
    "fails where it would be left out": [{"$set": {"x": {"$divide": [1, {"$subtract": ["$candidate.fid", 1]}]}}}, {"$match": {"candidate.fid": 2}}],
    "fails with what is not used": [{"$project": {"x": {"$divide": [1, {"$subtract": ["$candidate.fid", 1]}]}, "annotations": {"a": "x"}}}],
}  # fmt: skip


def upstream(candid: int, permissions: list[int]) -> list[Stage]:
    """The stages that the reference (4.8) puts before a user's."""
    readable = {"$in": ["$$item.programid", permissions]}
    recent = {"$lt": [{"$subtract": ["$candidate.jd", "$$item.jd"]}, 365]}

    def history(field: str, *conditions: Stage) -> Stage:
        points = {"$ifNull": [{"$first": f"$aux.{field}"}, []]}
        return {"$filter": {"input": points, "as": "item", "cond": {"$and": [readable, recent, *conditions]}}}

    return [
        {"$match": {"candid": candid, "candidate.programid": {"$in": permissions}}},
        {"$project": {"cutoutScience": 0, "cutoutTemplate": 0, "cutoutDifference": 0}},
        {"$lookup": {"from": "ZTF_alerts_aux", "localField": "objectId", "foreignField": "_id", "as": "aux"}},
        {
            "$project": {
                "cross_matches": {"$first": "$aux.cross_matches"},
                "prv_candidates": history("prv_candidates"),
                "fp_hists": history("fp_hists", {"$eq": ["$$item.procstatus", "0"]}),
                "schemavsn": 1, "publisher": 1, "objectId": 1, "candid": 1, "candidate": 1, "classifications": 1, "coordinates": 1,
            }
        },
    ]  # fmt: skip


def one_by_one(
    database: MongoDatabase, candids: list[int], pipeline: list[Stage], permissions: list[int]
) -> tuple[dict[int, Any], int]:
    """The annotations of the stored alerts that pass, and with how many alerts the pipeline fails."""
    passed, failed = {}, 0
    for candid in candids:
        try:
            found = list(database["ZTF_alerts"].aggregate([*upstream(candid, permissions), *pipeline]))
        except OperationFailure:
            failed += 1
            continue
        if len(found) == 1:
            passed[candid] = found[0].get("annotations")
    return passed, failed
