"""Projections of a find as stages of a pipeline, which has words of its own for some of them."""

from collections.abc import Mapping
from typing import Any

from kowalski.api.errors import BadRequest

Stage = dict[str, Any]


def as_stages(projection: Mapping[str, Any]) -> list[Stage]:
    """Stages that leave of a document what a find's projection leaves of it.

    Raises
    ------
    BadRequest : it searches in lists (``$elemMatch``, ``list.$``), which a pipeline can't
    """
    for path, kept in projection.items():
        if str(path).endswith(".$") or (isinstance(kept, dict) and "$elemMatch" in kept):
            raise BadRequest(
                f"projection: {path} searches in a list of which you see a part, use aggregate with $filter"
            )
    slices = {path: kept["$slice"] for path, kept in projection.items() if _is_slice(kept)}
    others = {path: kept for path, kept in projection.items() if path not in slices}
    if any(others.values()):  # they name what stays
        others |= dict.fromkeys(slices, 1)
    parts = {path: _slice(path, amount) for path, amount in slices.items()}
    return [*([{"$set": parts}] if parts else []), *([{"$project": others}] if others else [])]


def _is_slice(kept: Any) -> bool:
    """Whether it is a find's slice: a number, or how many to skip and how many to take."""
    if not isinstance(kept, dict) or kept.keys() != {"$slice"}:
        return False
    amount = kept["$slice"]
    return not isinstance(amount, list | tuple) or all(isinstance(number, int | float) for number in amount)


def _slice(path: str, amount: Any) -> dict[str, Any]:
    """The elements of a list; of anything else, all of it."""
    numbers = list(amount) if isinstance(amount, list | tuple) else [amount]
    part: Any = {"$slice": [f"$$ROOT.{path}", *numbers]} if numbers != [0] else []
    return {"$cond": [{"$isArray": [f"$$ROOT.{path}"]}, part, {"$ifNull": [f"$$ROOT.{path}", "$$REMOVE"]}]}
