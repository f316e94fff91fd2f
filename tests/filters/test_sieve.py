"""What is turned away without MongoDB is what MongoDB turns away."""

from typing import Any

import numpy as np
import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kowalski.database.client import MongoDatabase
from kowalski.filters.sieve import Columns, sieve_of

VALUES = [
    0, 1, -1, 0.5, -0.5, 1.0, True, False, None, float("nan"), float("inf"), -float("inf"), 2**53, 2**53 + 1, Int64(2**60), Int64(1),
    "1", "", b"1", [], [1], [0.5, 2], [[1]], {}, {"x": 1}, Decimal128("0.5"), Decimal128("NaN"),
]  # fmt: skip
DOCUMENTS = [
    *({"candidate": {"drb": value, "fid": other}} for value in VALUES for other in (1, 2, None, "g")),
    {"candidate": {}},
    {"candidate": [{"drb": 1}]},
    {"candidate": 1},
    {"candidate": {"drb": {"x": [1, 0.5]}}, "top": 0.5},
    {"top": 1},
    {},
]


def names(query: dict[str, Any]) -> set[int]:
    columns = Columns(DOCUMENTS, {"hidden"})
    return set(np.flatnonzero(sieve_of([{"$match": query}]).met(columns)).tolist())


@pytest.fixture
def stored(mongo: MongoDatabase) -> MongoDatabase:
    mongo["odd"].insert_many([{"_id": number, **document} for number, document in enumerate(DOCUMENTS)])
    return mongo


paths = st.sampled_from(
    ["candidate.drb", "candidate.fid", "candidate.drb.x", "candidate", "top", "candidate.0.drb", "nothing"]
)
values = st.sampled_from(VALUES)
conditions = st.one_of(
    values,
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), values, min_size=1, max_size=2),
    st.fixed_dictionaries({"$in": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"$not": st.fixed_dictionaries({"$gt": values})}),
    st.just({"$exists": False}),
)
queries = st.recursive(
    st.dictionaries(paths, conditions, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=2),
    max_leaves=6,
)  # fmt: skip


@given(query=queries)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_mongodb_lets_pass_is_turned_away(stored: MongoDatabase, query: dict[str, Any]) -> None:
    passing = {row["_id"] for row in stored["odd"].aggregate([{"$match": query}, {"$project": {"_id": 1}}])}
    assert passing <= names(query)


@pytest.mark.parametrize(
    "query",
    [
        {"candidate.drb": {"$gt": 0.6}},
        {"candidate.drb": {"$gte": 0.5, "$lt": 1}},
        {"candidate.drb": 1, "candidate.fid": {"$in": [2, 3]}},
        {"$and": [{"candidate.drb": {"$lte": 0}}, {"$or": [{"candidate.fid": 1}, {"candidate.fid": {"$gt": 1}}]}]},
    ],
)
def test_what_fails_a_plain_comparison_is_turned_away(stored: MongoDatabase, query: dict[str, Any]) -> None:
    """All that are turned away have numbers, or none at all."""
    passing = {row["_id"] for row in stored["odd"].find(query, {"_id": 1})}
    sure = {
        number
        for number, document in enumerate(DOCUMENTS)
        if isinstance(candidate := document.get("candidate"), dict)
        and candidate.get("drb") in (0, 1, -1, 0.5, -0.5, None)
        and not isinstance(candidate.get("drb"), bool | Decimal128)
        and candidate.get("fid") in (1, 2, None)
    }
    assert names(query) & sure == passing & sure
    assert sure - passing
    assert passing


def test_only_leading_matches_tell_and_only_of_what_is_as_filters_see_it() -> None:
    columns = Columns([{"candidate": {"drb": 0.1}, "hidden": 0.1}], {"hidden"})
    cut = {"$match": {"candidate.drb": {"$gt": 0.5}}}
    assert not sieve_of([{"$match": {}}, cut]).met(columns).any()
    assert sieve_of([{"$set": {"candidate.drb": 1}}, cut]).met(columns).all()
    assert sieve_of([{"$match": {"hidden": {"$gt": 0.5}}}]).met(columns).all()
    assert sieve_of([{"$match": {"prv_candidates.0.jd": {"$gt": 0.5}}}]).met(columns).all(), (
        "it is not in the alert itself"
    )
