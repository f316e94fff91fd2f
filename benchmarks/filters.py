"""Filters to measure with: none trivial, each its own thresholds, some reading matches and history."""

from typing import Any

from bson import json_util

from kowalski.local.demo_filters import DEMO_FILTERS


def benchmark_filters(number: int) -> list[dict[str, Any]]:
    """``number`` active filters: the demo's in turn, each with a cut of its own before it."""
    documents = []
    for index in range(number):
        model = DEMO_FILTERS[index % len(DEMO_FILTERS)]
        cut = {
            "$match": {"candidate.drb": {"$gt": 0.5 + 0.4 * index / max(number, 1)}, "candidate.magpsf": {"$lt": 21}}
        }
        pipeline = [cut, *json_util.loads(model["fv"][0]["pipeline"])]
        version = {**model["fv"][0], "fid": f"b{index:05d}", "pipeline": json_util.dumps(pipeline)}
        documents.append({**model, "filter_id": index + 1, "active_fid": version["fid"], "fv": [version]})
    return documents


def passing_all() -> dict[str, Any]:
    """A filter that every alert passes, to see each one arrive."""
    pipeline = [{"$match": {"candid": {"$gt": 0}}}, {"$project": {"annotations": {"drb": "$candidate.drb"}}}]
    version = {**DEMO_FILTERS[0]["fv"][0], "fid": "always", "pipeline": json_util.dumps(pipeline)}
    return {**DEMO_FILTERS[0], "filter_id": 1_000_000, "active_fid": "always", "fv": [version]}
