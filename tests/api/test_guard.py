"""What no query may contain."""

from typing import Any

import pytest

from kowalski.api.errors import BadRequest
from kowalski.api.services.guard import check, narrow
from kowalski.api.services.rights import User
from kowalski.filters.language import MAX_DEPTH

SOMEBODY, ADMIN = User("somebody", False), User("admin", True)


@pytest.mark.parametrize(
    "name",
    ["$out", "$merge", "$changeStream", "$currentOp", "$collStats", "$indexStats", "$listSessions", "$planCacheStats"],
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: [bad],
        lambda bad: [{"$match": {}}, bad],
        lambda bad: [{"$facet": {"a": [{"$match": {}}, bad]}}],
        lambda bad: [{"$unionWith": {"coll": "Stars", "pipeline": [bad]}}],
        lambda bad: [{"$lookup": {"from": "Stars", "as": "x", "pipeline": [{"$unionWith": {"coll": "Stars", "pipeline": [bad]}}]}}],
    ],
)  # fmt: skip
def test_stages_that_are_not_allowed_are_found_wherever_they_are(name: str, wrap: Any) -> None:
    with pytest.raises(BadRequest, match=f"uses forbidden stages: \\{name}"):
        narrow("Stars", wrap({name: {}}), ADMIN)


@pytest.mark.parametrize("name", ["$where", "$function", "$accumulator", "$out", "$unheardOf"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: {"$or": [{"a": 1}, {"$expr": {"$and": [{"$eq": [1, bad]}]}}]},
        lambda bad: {"a": ({"b": (bad,)},)},
        lambda bad: {"a": {"$not": bad}},
    ],
)
def test_operators_that_are_not_allowed_are_found_wherever_they_are(name: str, wrap: Any) -> None:
    with pytest.raises(BadRequest, match=f"forbidden operators: \\{name}"):
        check(wrap({name: {}}))
    with pytest.raises(BadRequest, match=f"forbidden operators: \\{name}"):
        narrow("Stars", [{"$facet": {"a": [{"$match": wrap({name: {}})}]}}], ADMIN)


def test_what_is_quoted_is_data() -> None:
    check({"$expr": {"$eq": ["$a", {"$literal": {"$where": "anything"}}]}})


@pytest.mark.parametrize("stage", [{}, {"$match": {}, "$out": "x"}, {"$match": {}, "a": 1}, 7, "$out", ["$out"]])
def test_a_stage_has_one_key(stage: Any) -> None:
    with pytest.raises(BadRequest, match="exactly one key"):
        narrow("Stars", [stage], ADMIN)


def _stages(collection: Any) -> list[dict[str, Any]]:
    walk = {"startWith": "$a", "connectFromField": "a", "connectToField": "b", "as": "c"}
    return [
        {"$lookup": {"from": collection, "localField": "a", "foreignField": "b", "as": "c"}},
        {"$lookup": {"from": collection, "pipeline": [], "as": "c"}},
        {"$graphLookup": {"from": collection} | walk},
        {"$unionWith": collection},
        {"$unionWith": {"coll": collection, "pipeline": []}},
    ]


@pytest.mark.parametrize("closed", ["users", "tokens", "logins", "filters", "queries", "outbox", "quarantine", "quarantine_files.chunks", "processes", "leases", "skyportal_objects", "system.users"])  # fmt: skip
def test_closed_collections_are_closed_to_all_but_the_admin(closed: str) -> None:
    assert not SOMEBODY.may_read(closed)
    assert ADMIN.may_read(closed)
    for stage in _stages(closed):
        for pipeline in ([stage], [{"$facet": {"a": [stage]}}], [{"$lookup": {"from": "Stars", "pipeline": [stage]}}]):
            with pytest.raises(BadRequest, match=f"Protected collection: {closed}"):
                narrow("Stars", pipeline, SOMEBODY)
            narrow("Stars", pipeline, ADMIN)
    with pytest.raises(BadRequest, match=f"Protected collection: {closed}"):
        narrow(closed, [{"$match": {}}], SOMEBODY)


def test_open_collections_may_be_joined() -> None:
    for stage in _stages("Gaia_EDR3"):
        assert narrow("Stars", [stage], SOMEBODY) == [stage]
    quoted = {"$lookup": {"pipeline": [{"$documents": [{"a": 1}]}], "as": "x"}}
    assert narrow("Stars", [quoted], SOMEBODY) == [quoted]


@pytest.mark.parametrize("source", [{"db": "admin", "coll": "users"}, ["users"], 7, None])
def test_a_source_that_is_no_name_is_refused(source: Any) -> None:
    for stage in _stages(source):
        with pytest.raises(BadRequest, match=r"name of a collection|an object is expected|Protected collection"):
            narrow("Stars", [stage], SOMEBODY)


def test_ordinary_queries_pass() -> None:
    stages = [{"$match": {"objectId": {"$regex": "^ZTF"}}}, {"$project": {"out": "$merge.where", "_id": 0}}]
    assert narrow("Stars", stages, SOMEBODY) == stages


def test_nesting_has_an_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH + 1):
        deep = {"$and": deep}
    with pytest.raises(BadRequest, match="nested deeper"):
        check(deep)
