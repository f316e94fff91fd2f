"""What is asked of a pipeline beside its stages, and what its rows say of the alerts."""

from collections import Counter
from collections.abc import Iterable

from kowalski.filters.compile import CARRIER, CompiledStages
from kowalski.filters.results import Row

#: stages that leave the alerts of which there is one document: of others there may be more than this process can hold
SINGLE: list[Row] = [
    {"$group": {"_id": f"${CARRIER}", "number": {"$sum": 1}, "row": {"$first": "$$ROOT"}}},
    {"$match": {"number": 1}},
    {"$replaceWith": "$row"},
]


def whole(pipeline: CompiledStages, *fields: str) -> list[Row]:
    """The stages of a pipeline for all alerts of a batch at once, and those that leave only what is asked for."""
    stages = [*(pipeline.together or ()), only(fields)]
    return stages + SINGLE if any("$unwind" in stage for stage in stages) else stages


def only(fields: Iterable[str]) -> Row:
    """The stage that leaves nothing but some fields, and the carrier where it is there."""
    return {"$project": {"_id": 0, CARRIER: 1, **dict.fromkeys(fields, 1)}}


def single(rows: list[Row]) -> dict[int, Row]:
    """Rows by the candid of their alert, of alerts that have exactly one."""
    per_alert = Counter(row[CARRIER] for row in rows)
    return {row[CARRIER]: row for row in rows if per_alert[row[CARRIER]] == 1}
