"""The filters of the demo: a few that astronomers would write."""

from datetime import UTC, datetime
from typing import Any

from bson import json_util

Pipeline = list[dict[str, Any]]

CREATED = datetime(2026, 1, 1, tzinfo=UTC)

SUPERNOVAE: Pipeline = [
    {
        "$match": {
            "candidate.drb": {"$gt": 0.9},
            "candidate.magpsf": {"$lt": 18.5},
            "candidate.isdiffpos": {"$in": ["t", "1"]},
            "candidate.ndethist": {"$gte": 2},
        }
    },
    {
        "$match": {
            "$or": [
                {"candidate.ssdistnr": {"$lt": 0}},
                {"candidate.ssdistnr": None},
                {"candidate.ssdistnr": {"$gt": 10}},
            ]
        }
    },
    {"$addFields": {"star": {"$and": [{"$gt": ["$candidate.sgscore1", 0.76]}, {"$lt": ["$candidate.distpsnr1", 2]}]}}},
    {"$addFields": {"age": {"$subtract": ["$candidate.jd", "$candidate.jdstarthist"]}}},
    {"$match": {"star": False, "age": {"$gt": 0.01, "$lt": 30}, "classifications.acai_h": {"$gt": 0.5}}},
    {
        "$project": {
            "annotations": {
                "age": "$age",
                "hosted": "$classifications.acai_h",
                "braai": "$classifications.braai",
            }
        }
    },
]

NEARBY_GALAXIES: Pipeline = [
    {
        "$match": {
            "candidate.drb": {"$gt": 0.9},
            "candidate.magpsf": {"$lt": 18},
            "cross_matches.CLU_20190625.0": {"$exists": True},
        }
    },
    {"$addFields": {"host": {"$arrayElemAt": ["$cross_matches.CLU_20190625", 0]}}},
    {"$match": {"host.coordinates.distance_arcsec": {"$gt": 1}}},
    {
        "$project": {
            "annotations": {
                "host": "$host.name",
                "z": "$host.z",
                "distance_kpc": "$host.coordinates.distance_kpc",
            }
        }
    },
]

RISING: Pipeline = [
    {"$match": {"candidate.drb": {"$gt": 0.9}, "candidate.magpsf": {"$lt": 18.5}}},
    {
        "$addFields": {
            "same_band": {
                "$filter": {
                    "input": "$prv_candidates",
                    "as": "point",
                    "cond": {
                        "$and": [
                            {"$eq": ["$$point.fid", "$candidate.fid"]},
                            {"$gt": ["$$point.magpsf", 0]},
                            {"$lt": [{"$subtract": ["$candidate.jd", "$$point.jd"]}, 7]},
                        ]
                    },
                }
            }
        }
    },
    {"$match": {"same_band.0": {"$exists": True}}},
    {"$addFields": {"rise": {"$subtract": [{"$max": "$same_band.magpsf"}, "$candidate.magpsf"]}}},
    {"$match": {"rise": {"$gt": 0.5}}},
    {"$project": {"annotations": {"rise_mag": "$rise"}}},
]

NAMES = {1: "supernova candidates", 2: "in nearby galaxies", 3: "rising"}


def _document(filter_id: int, pipeline: Pipeline) -> dict[str, Any]:
    version = {"fid": f"demo0{filter_id}", "pipeline": json_util.dumps(pipeline), "created_at": CREATED}
    return {
        "filter_id": filter_id,
        "group_id": 1,
        "catalog": "ZTF_alerts",
        "permissions": [1, 2, 3],
        "active": True,
        "autosave": False,
        "auto_followup": {},
        "update_annotations": True,
        "active_fid": version["fid"],
        "fv": [version],
        "created_at": CREATED,
        "last_modified": CREATED,
    }


DEMO_FILTERS = [_document(filter_id, pipeline) for filter_id, pipeline in zip(NAMES, (SUPERNOVAE, NEARBY_GALAXIES, RISING), strict=True)]  # fmt: skip
