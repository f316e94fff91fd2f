"""What no query may contain."""

from typing import Any

import pytest

from kowalski.api.errors import BadRequest
from kowalski.api.services.guard import MAX_DEPTH, check
from kowalski.api.services.rights import User

SOMEBODY, ADMIN = User("somebody", False), User("admin", True)


@pytest.mark.parametrize("name", ["$out", "$merge", "$where", "$function", "$accumulator", "$changeStream"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: [bad],
        lambda bad: [{"$match": {}} | bad],
        lambda bad: [{"$facet": {"a": [{"$match": {}}, bad]}}],
        lambda bad: [{"$lookup": {"from": "Stars", "as": "x", "pipeline": [{"$unionWith": {"coll": "Stars", "pipeline": [bad]}}]}}],
        lambda bad: {"$or": [{"a": 1}, {"$expr": {"$and": [{"$eq": [1, bad]}]}}]},
        lambda bad: {"a": ({"b": (bad,)},)},
    ],
)  # fmt: skip
def test_writes_and_javascript_are_found_wherever_they_are(name: str, wrap: Any) -> None:
    with pytest.raises(BadRequest, match=f"uses forbidden stages: \\{name}"):
        check(wrap({name: {}}), ADMIN.may_read)


def _stages(collection: Any) -> list[dict[str, Any]]:
    return [
        {"$lookup": {"from": collection, "localField": "a", "foreignField": "b", "as": "c"}},
        {"$lookup": {"from": collection, "pipeline": [], "as": "c"}},
        {
            "$graphLookup": {
                "from": collection,
                "startWith": "$a",
                "connectFromField": "a",
                "connectToField": "b",
                "as": "c",
            }
        },
        {"$unionWith": collection},
        {"$unionWith": {"coll": collection, "pipeline": []}},
    ]


@pytest.mark.parametrize("closed", ["users", "filters", "queries", "outbox", "quarantine", "quarantine_files.chunks", "processes", "leases", "skyportal_objects", "system.users"])  # fmt: skip
def test_closed_collections_are_closed_to_all_but_the_admin(closed: str) -> None:
    assert not SOMEBODY.may_read(closed)
    assert ADMIN.may_read(closed)
    for stage in _stages(closed):
        for pipeline in ([stage], [{"$facet": {"a": [stage]}}], [{"$lookup": {"from": "Stars", "pipeline": [stage]}}]):
            with pytest.raises(BadRequest, match=f"Protected collection: {closed}"):
                check(pipeline, SOMEBODY.may_read)
            check(pipeline, ADMIN.may_read)


def test_open_collections_may_be_joined() -> None:
    for stage in _stages("ZTF_alerts_aux"):
        check([stage], SOMEBODY.may_read)
    check([{"$unionWith": {"pipeline": [{"$documents": [{"a": 1}]}]}}], SOMEBODY.may_read)


@pytest.mark.parametrize("source", [{"db": "admin", "coll": "users"}, ["users"], 7, None])
def test_a_source_that_is_no_name_is_refused(source: Any) -> None:
    for stage in _stages(source):
        if stage == {"$unionWith": {"db": "admin", "coll": "users"}}:
            with pytest.raises(BadRequest, match="Protected collection"):
                check([stage], SOMEBODY.may_read)
        else:
            with pytest.raises(BadRequest, match="name of a collection"):
                check([stage], SOMEBODY.may_read)


def test_ordinary_queries_pass() -> None:
    check(
        [{"$match": {"objectId": {"$regex": "^ZTF"}}}, {"$project": {"out": "$merge.where", "_id": 0}}],
        SOMEBODY.may_read,
    )


def test_nesting_has_an_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH + 1):
        deep = {"$and": deep}
    with pytest.raises(BadRequest, match="nested deeper"):
        check(deep, ADMIN.may_read)
