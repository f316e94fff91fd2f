"""The sieve before the filters: it turns away no alert that passes, told by a plain reading of MongoDB's comparisons."""

import json
import operator
from collections.abc import Iterator
from math import isnan
from random import Random
from typing import Any

import numpy as np

from kowalski.errors import FilterError
from kowalski.filters.compile import parse_pipeline
from kowalski.filters.sieve import Columns, sieve_of

from . import structure

COMPARED = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le, "$eq": operator.eq}
VALUES = (
    0,
    1,
    -1,
    0.5,
    1.0,
    2**53,
    2**53 + 1,
    True,
    None,
    "1",
    float("nan"),
    float("inf"),
    -0.0,
    [],
    [1],
    [0.5, 2],
    {},
    {"x": 1},
    10**400,
)
PATHS = (
    "candidate.drb",
    "candidate.fid",
    "candidate.drb.x",
    "candidate",
    "top",
    "candidate.0",
    "nothing",
    "hidden",
    "a..b",
    ".",
    "",
)
WORDS = (
    *VALUES,
    *PATHS,
    *COMPARED,
    "$in",
    "$and",
    "$or",
    "$nor",
    "$ne",
    "$match",
    "match",
    "documents",
    {"$gt": 0.5},
    {"$in": [1, 0.5]},
)

MATCHES: tuple[Any, ...] = (
    {"candidate.drb": {"$gt": 0.5, "$lte": 1}, "candidate.fid": 1},
    {"$and": [{"candidate.drb": {"$gte": 0.5}}, {"$or": [{"candidate.fid": {"$in": [1, 2]}}, {"top": 0.5}]}]},
    {"$or": [{"candidate.drb.x": {"$lt": 1}}, {"candidate": 5}], "hidden": {"$eq": 3}},
)
DOCUMENTS = [{"candidate": {"drb": value, "fid": 1}, "top": 0.5, "hidden": 1} for value in VALUES] + [
    {"candidate": 1},
    {"candidate": [{"drb": 1}]},
    {},
]


def seeds() -> Iterator[tuple[str, bytes]]:
    """Conditions of each kind, each with documents that have values of all kinds."""
    for number, match in enumerate(MATCHES):
        yield f"match {number}", json.dumps({"match": match, "documents": DOCUMENTS}).encode()


def mutated(data: bytes, chance: Random) -> bytes | None:
    """The condition or the documents changed."""
    return structure.mutated_json(data, chance, WORDS)


def run(data: bytes) -> None:
    """Ask the sieve of each document, and compare with what is certain."""
    try:
        body = json.loads(data)
        stages = parse_pipeline([{"$match": body["match"]}])
        documents = [each for each in body["documents"] if isinstance(each, dict)][:100]
    except (ValueError, RecursionError, TypeError, KeyError, FilterError):
        return
    met = sieve_of(stages).met(Columns(documents, {"hidden"}))
    assert met.shape == (len(documents),)
    assert met.dtype == bool
    for document, may_pass in zip(documents, met.tolist(), strict=True):
        assert may_pass or not _passes(stages[0]["$match"], document), f"turned away: {document}"
    again = sieve_of(stages).met(Columns(documents[::-1], {"hidden"}))
    np.testing.assert_array_equal(again[::-1], met)


def _passes(query: Any, document: dict[str, Any]) -> bool:
    """Whether a document certainly meets a condition, as far as numbers and plain paths go; all else is taken for not met."""
    if not isinstance(query, dict):
        return False
    return all(_meets(name, body, document) for name, body in query.items())


def _meets(name: str, body: Any, document: dict[str, Any]) -> bool:
    if name in ("$and", "$or"):
        told = (all, any)[name == "$or"]
        return isinstance(body, list) and bool(body) and told(_passes(each, document) for each in body)
    if name.startswith("$"):
        return False
    values = list(_values(document, name.split(".")))
    if not isinstance(body, dict):
        return any(_equal(value, body) for value in values)
    return bool(body) and all(any(_compares(value, *each) for value in values) for each in body.items())


def _values(node: Any, path: list[str]) -> Iterator[Any]:
    """The values at a path, looking into lists on the way and at its end, as MongoDB does."""
    if not path:
        yield node
        if isinstance(node, list):
            yield from node
    elif isinstance(node, dict):
        if path[0] in node:
            yield from _values(node[path[0]], path[1:])
    elif isinstance(node, list):
        for each in node:
            if isinstance(each, dict):
                yield from _values(each, path)
        if path[0].isdigit() and int(path[0]) < len(node):
            yield from _values(node[int(path[0])], path[1:])


def _compares(value: Any, name: str, operand: Any) -> bool:
    if name == "$in":
        return isinstance(operand, list) and any(_equal(value, each) for each in operand)
    if name not in COMPARED or not (_is_number(value) and _is_number(operand)):
        return False
    return COMPARED[name](value, operand)


def _equal(value: Any, other: Any) -> bool:
    return _is_number(value) and _is_number(other) and value == other


def _is_number(value: Any) -> bool:
    return (isinstance(value, float) and not isnan(value)) or (isinstance(value, int) and not isinstance(value, bool))
