"""Filters that change while the chain runs, are gone, or are of no use: the next batch goes by what is stored."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.filters.results import Pass

from .harness import Documents, Put, passed, runner, synthetic
from .library import DRB


def test_edits_take_effect_with_the_next_batch(filters: Filters, put: Put, mongo: MongoDatabase) -> None:
    documents, objects = synthetic()
    everyone, nobody = [{"$match": {}}], [{"$match": {"candid": -1}}]
    running = runner(filters)

    def numbers() -> dict[int, int]:
        return {filter_id: len(found) for filter_id, found in passed(running.run(documents, objects)).items()}

    put(1, everyone)
    put(2, everyone)
    assert numbers() == {1: 12, 2: 12}
    put(1, nobody, fid="new000")
    assert numbers() == {2: 12}
    put(1, everyone, fid="new000", permissions=[1])
    assert numbers() == {1: 4, 2: 12}
    mongo["filters"].delete_one({"filter_id": 2})
    assert numbers() == {1: 4}
    mongo["filters"].update_one({"filter_id": 1}, {"$set": {"active": False}})
    assert numbers() == {}
    put(1, everyone, fid="newest")
    assert numbers() == {1: 12}


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"autosave": {"active": True, "comment": "new"}}, lambda each: each.autosave["comment"] == "new"),
        ({"autosave": False}, lambda each: each.autosave is None),
        ({"group_id": 9}, lambda each: each.filter.group_id == 9),
        ({"auto_followup.radius": 0.75}, lambda each: each.follow_up["data"]["radius"] == 0.75),
        ({"fv.0.pipeline": '[{"$project": {"annotations": {"x": "new"}}}]'}, lambda each: each.annotations == {"x": "new"}),
    ],
)  # fmt: skip
def test_edits_by_other_means_than_the_api_take_effect_too(
    filters: Filters, put: Put, mongo: MongoDatabase, change: dict[str, Any], seen: Callable[[Pass], bool]
) -> None:
    documents, objects = synthetic(2)
    follow_up = {"active": True, "pipeline": [{"$match": {}}], "allocation_id": 1, "payload": {"priority": 1}, "radius": 0.5}  # fmt: skip
    put(1, [{"$project": {"annotations": {"x": "old"}}}], autosave=True, auto_followup=follow_up)
    running = runner(filters)
    assert not any(map(seen, running.run(documents, objects).passes))
    mongo["filters"].update_one({"filter_id": 1}, {"$set": change})
    passes = running.run(documents, objects).passes
    assert len(passes) == 2
    assert all(map(seen, passes))


def test_only_what_changed_is_compiled(filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, objects = synthetic(2)
    put(1, [DRB])
    put(2, [DRB])
    running = runner(filters)
    running.run(documents, objects)
    read: list[int] = []
    reading = filters.read
    monkeypatch.setattr(filters, "read", lambda ids: read.append(len(ids)) or reading(ids))
    running.run(documents, objects)
    assert read == []
    put(2, [DRB], fid="new000")
    running.run(documents, objects)
    assert read == [1]


def test_a_filter_deleted_while_it_is_read(
    filters: Filters, put: Put, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, objects = synthetic()
    put(1, [DRB])
    put(2, [DRB])
    active = filters.active

    def and_gone(catalog: str) -> Documents:
        found = active(catalog)
        mongo["filters"].delete_one({"filter_id": 1})
        return found

    monkeypatch.setattr(filters, "active", and_gone)
    assert set(passed(runner(filters).run(documents, objects))) == {2}


BROKEN: list[Any] = [
    "{", "[]", '{"$match": {}}', '[{"$lookup": {}}]', '[{"$match": {"_id": {"$oid": "x"}}}]', '[{"$match": {"x": 99999999999999999999999}}]',
    '[{"$match": {"x": "\\ud800"}}]', "[" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("pipeline", BROKEN)
def test_an_invalid_filter_is_named_and_the_others_run(
    filters: Filters, put: Put, caplog: pytest.LogCaptureFixture, pipeline: str
) -> None:
    documents, objects = synthetic()
    put(1, pipeline)
    put(2, [DRB])
    running = runner(filters)
    with caplog.at_level(logging.ERROR):
        assert set(passed(running.run(documents, objects))) == {2}
        assert set(passed(running.run(documents, objects))) == {2}
    assert len(caplog.messages) == 1, "once, not with every batch"
    assert "filter 1" in caplog.text


@pytest.mark.parametrize(
    "fields",
    [
        {"fv": None},
        {"fv": "x"},
        {"fv": ["x"]},
        {"fv": [{"fid": "abc123"}]},
        {"group_id": None},
        {"permissions": None},
        {"permissions": [None]},
        {"permissions": ["public"]},
    ],
)
def test_a_filter_document_that_is_not_whole(filters: Filters, put: Put, fields: dict[str, Any]) -> None:
    documents, objects = synthetic()
    put(1, [DRB], **fields)
    put(2, [DRB])
    assert 2 in passed(runner(filters).run(documents, objects))
