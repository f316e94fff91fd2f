"""Documents into columns: all at once or value by value it is the same, and nothing is lost."""

import json
import random
from typing import Any

import pytest

from kowalski.archive.tables import fitting
from kowalski.archive.tables.arrow import kind_of, record_of, table_of, with_nulls
from kowalski.archive.tables.fitting import fitted, row_of

SCHEMA = {"type": "record", "name": "T", "fields": [
    {"name": "n", "type": "int"}, {"name": "id", "type": "long"}, {"name": "x", "type": "float"}, {"name": "d", "type": "double"}, {"name": "t", "type": "string"}, {"name": "more", "type": "string"},
    {"name": "in", "type": {"type": "record", "name": "I", "fields": [{"name": "y", "type": ["null", "float"]}, {"name": "list", "type": {"type": "array", "items": "float"}}]}},
]}  # fmt: skip
GOOD: dict[str, Any] = {"n": 1, "id": 2**62, "x": 0.5, "d": 0.1, "t": "a", "in": {"y": 0.25, "list": [0.5]}}
ODD: list[dict[str, Any]] = [{"n": "text"}, {"n": 2**40}, {"x": 0.1}, {"x": 1e300}, {"d": 5}, {"d": 2**60}, {"new": 1}, {"t": 5}, {"in": 7}, {"in": {"y": 0.1}}, {"in": {"z": 1}}, {"in": {"list": [0.1]}}, {"x": None}, {"id": None, "gone": None}]  # fmt: skip


def loose(kind: Any) -> Any:
    fields = {name: with_nulls(loose(each)) if each.fields else with_nulls(each) for name, each in kind.fields.items()}
    return record_of(fields)


KIND = loose(kind_of(SCHEMA))


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """A document as it is read again, the columns and ``more`` together."""
    (row,) = fitted(KIND, [document]).to_pylist()
    rest = json.loads(row.pop("more") or "{}")

    def joined(one: Any, other: Any) -> Any:
        if isinstance(one, dict) and isinstance(other, dict):
            return {name: joined(one.get(name), other.get(name)) for name in {**one, **other}}
        return one if other is None else other

    found: dict[str, Any] = without_nulls(joined(row, rest))
    return found


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_nothing_is_lost(odd: dict[str, Any]) -> None:
    document = GOOD | odd
    assert kept(document) == without_nulls(document)


@pytest.mark.parametrize("seed", range(20))
def test_all_at_once_is_as_one_after_the_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, slow = random.Random(seed), list[Any]()
    documents = [GOOD | {"id": n} | (chance.choice(ODD) if chance.random() < seed / 40 else {}) for n in range(50)]
    expected = table_of([row_of(KIND, document) for document in documents], KIND).to_pylist()
    monkeypatch.setattr(fitting, "row_of", lambda kind, document: slow.append(document) or row_of(kind, document))
    found = fitted(KIND, documents).to_pylist()
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert bool(slow) is (seed > 0)


def test_no_documents_are_no_rows() -> None:
    assert (fitted(KIND, []).num_rows, fitted(KIND, []).schema.names) == (0, list(KIND.fields))
