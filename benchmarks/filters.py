"""Filters to measure with: none trivial, each its own thresholds, some reading matches and history."""

from typing import Any

from bson import json_util

from kowalski.alerts.survey import Survey
from kowalski.local.demo_filters import DEMO_FILTERS


def benchmark_filters(number: int, survey: Survey) -> list[dict[str, Any]]:
    """``number`` active filters of a survey: the demo's in turn, each with a cut of its own before it."""
    documents = []
    for index in range(number):
        model = DEMO_FILTERS[index % len(DEMO_FILTERS)]
        cut = {
            "$match": {"candidate.drb": {"$gt": 0.5 + 0.4 * index / max(number, 1)}, "candidate.magpsf": {"$lt": 21}}
        }
        pipeline = [cut, *json_util.loads(model["fv"][0]["pipeline"])]
        version = {**model["fv"][0], "fid": f"b{index:05d}", "pipeline": json_util.dumps(pipeline)}
        documents.append(
            {**model, "catalog": survey.alerts, "filter_id": index + 1, "active_fid": version["fid"], "fv": [version]}
        )
    return documents


def passing_all(survey: Survey) -> dict[str, Any]:
    """A filter that every alert of a survey passes, to see each one arrive."""
    pipeline = [{"$match": {"candid": {"$gt": 0}}}, {"$project": {"annotations": {"drb": "$candidate.drb"}}}]
    version = {**DEMO_FILTERS[0]["fv"][0], "fid": "always", "pipeline": json_util.dumps(pipeline)}
    return {
        **DEMO_FILTERS[0],
        "catalog": survey.alerts,
        "filter_id": 1_000_000,
        "active_fid": "always",
        "fv": [version],
    }
