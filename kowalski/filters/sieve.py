"""Which alerts a filter's leading ``$match`` certainly turns away, found without MongoDB.

Most filters begin with plain comparisons of numbers (``candidate.drb``, ``candidate.magpsf``) that most alerts fail. What can be
told for certain is told here, for a batch at a time; all else, and what is let through, is MongoDB's to decide.
"""

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Protocol

import numpy as np

from kowalski.filters.language import Stage

COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le, "$eq": operator.eq}
#: whole numbers below are the same as float64
EXACT = 2**53


class Columns:
    """Fields of the documents of a batch as arrays, each made when it is first asked for.

    Parameters
    ----------
    hidden : names at the top of the documents that filters don't see, or see otherwise
    """

    def __init__(self, documents: Sequence[Mapping[str, Any]], hidden: Collection[str]):
        self.documents, self.hidden = documents, frozenset(hidden)
        self._columns: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}

    def column(self, path: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """A field's numbers, shape (N,), NaN where it is missing or null; and where it is something else, shape (N,), bool."""
        if path not in self._columns:
            found = [self._number(document, path) for document in self.documents]
            values = np.array([nan if value is None else value for value in found])
            self._columns[path] = values, np.array([value is None for value in found], bool)
        return self._columns[path]

    def _number(self, document: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
        """A number, NaN for a missing one, None for what only MongoDB can compare."""
        if path[0] in self.hidden or path[0] not in document:
            return None
        value: Any = document
        for name in path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
            if value is None:
                return nan
        return float(value) if _comparable(value) else None


class Test(Protocol):
    """Something that an alert has to meet."""

    def met(self, columns: Columns) -> np.ndarray:
        """Which alerts may meet it, shape (N,), bool; those left out certainly don't."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a number; a missing one, or null, is neither larger nor smaller nor equal."""

    path: tuple[str, ...]
    operator: str
    number: float

    def met(self, columns: Columns) -> np.ndarray:
        """As `Test.met`."""
        values, unsure = columns.column(self.path)
        return COMPARISONS[self.operator](values, self.number) | unsure


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of some lists of tests."""

    branches: tuple["Sieve", ...]

    def met(self, columns: Columns) -> np.ndarray:
        """As `Test.met`."""
        return np.logical_or.reduce([branch.met(columns) for branch in self.branches])


@dataclass(frozen=True, slots=True)
class Sieve:
    """All of some tests."""

    tests: tuple[Test, ...]

    def met(self, columns: Columns) -> np.ndarray:
        """As `Test.met`."""
        met = np.ones(len(columns.documents), bool)
        for test in self.tests:
            met &= test.met(columns)
        return met


def sieve_of(stages: Sequence[Stage]) -> Sieve:
    """What can be told without MongoDB of the ``$match`` stages with which a pipeline begins."""
    tests: list[Test] = []
    for stage in stages:
        query = stage.get("$match")
        if not isinstance(query, dict):
            break
        tests += _tests(query)
    return Sieve(tuple(tests))


def _tests(query: Any) -> Iterator[Test]:
    for name, body in query.items() if isinstance(query, dict) else ():
        if name == "$and" and isinstance(body, list):
            for each in body:
                yield from _tests(each)
        elif name == "$or" and isinstance(body, list):
            branches = tuple(Sieve(tuple(_tests(each))) for each in body)
            if branches and all(branch.tests for branch in branches):
                yield OneOf(branches)
        elif not name.startswith("$") and all(path := tuple(name.split("."))):
            yield from _comparisons(path, body)


def _comparisons(path: tuple[str, ...], body: Any) -> Iterator[Test]:
    if _comparable(body):
        yield Comparison(path, "$eq", body)
    for name, operand in body.items() if isinstance(body, dict) else ():
        if name in COMPARISONS and _comparable(operand):
            yield Comparison(path, name, operand)
        elif name == "$in" and isinstance(operand, list) and operand and all(map(_comparable, operand)):
            yield OneOf(tuple(Sieve((Comparison(path, "$eq", each),)) for each in operand))


def _comparable(value: Any) -> bool:
    """Whether Python compares a value as MongoDB does: a number, not NaN or infinite, that a float64 holds exactly."""
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < EXACT
