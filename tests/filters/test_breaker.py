"""Breakers: when a filter is left alone, and what becomes of its autosave and follow-up meanwhile."""

from typing import Any

import pytest
from packets import ztf_alerts, ztf_record

from kowalski.database.filters import Filters
from kowalski.errors import DatabaseError
from kowalski.filters import run as run_module
from kowalski.filters.breaker import FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, Breaker
from kowalski.filters.results import Figures, FilterRun
from kowalski.filters.run import FilterRunner

from .harness import ZTF, Put, batch_of, passed
from .library import DRB

FAILS = [{"$set": {"x": {"$toInt": "$objectId"}}}]


def test_a_breaker_opens_for_longer_each_time_and_closes_when_a_run_goes_well() -> None:
    breaker = Breaker()
    for _ in range(PATIENCE - 1):
        breaker.failed(100.0, "slow")
    assert not breaker.is_open(100.0)
    breaker.failed(100.0, "slower")
    assert breaker.is_open(100.0 + FIRST_PAUSE - 1)
    assert not breaker.is_open(100.0 + FIRST_PAUSE)
    assert breaker.reason == "slower"
    breaker.failed(200.0, "slow")
    assert breaker.is_open(200.0 + 2 * FIRST_PAUSE - 1)
    for _ in range(20):
        breaker.failed(1000.0, "slow")
    assert not breaker.is_open(1000.0 + LONGEST_PAUSE)
    breaker.worked()
    breaker.failed(5000.0, "slow")
    assert not breaker.is_open(5000.0)


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[Figures] = []

    def note(self, figures: Figures) -> None:
        self.notes.append(figures)

    def of(self, filter_id: int) -> Figures:
        """The last run of a filter."""
        return [note for note in self.notes if note.filter_id == filter_id][-1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the runner sees, as the only element."""
    now = [1000.0]
    monkeypatch.setattr(run_module, "monotonic", lambda: now[0])
    return now


def test_a_filter_that_always_fails_is_left_alone_and_tried_again(
    filters: Filters,
    put: Put,
    clock: list[float],
) -> None:
    documents, objects = batch_of(ztf_alerts([ztf_record(1, drb=0.9), ztf_record(2, "ZTF2", drb=0.1)]))
    put(1, FAILS)
    put(2, [DRB])
    notes = Notes()
    running = FilterRunner(filters, ZTF, 5000, notes)
    for _ in range(PATIENCE):
        assert running.run(documents, objects).failures.total() == 2
    assert notes.of(1).open_for == FIRST_PAUSE
    result = running.run(documents, objects)
    ((filter_id, reason),) = result.skipped
    assert (filter_id, result.skipped.total(), result.failures.total()) == (1, 2, 0)
    assert reason.startswith("left alone for 60 s: ")
    assert set(passed(result)[2]) == {1}
    assert (notes.of(1).skipped, notes.of(2).passed, notes.of(2).alerts) == (2, 1, 2)
    clock[0] += FIRST_PAUSE
    assert running.run(documents, objects).failures.total() == 2, "tried once more"
    assert running.run(documents, objects).skipped.total() == 2
    put(1, [DRB], fid="mended")
    assert set(passed(running.run(documents, objects))[1]) == {1}, "a new version begins anew"


def test_failing_with_some_alerts_is_no_reason(filters: Filters, put: Put) -> None:
    documents, objects = batch_of(ztf_alerts([ztf_record(1, drb=0.9), ztf_record(2, "ZTF2", drb=0.1)]))
    put(1, [{"$set": {"x": {"$divide": [1, {"$cond": [{"$gt": ["$candidate.drb", 0.5]}, 1, 0]}]}}}])
    running = FilterRunner(filters, ZTF, 5000)
    for _ in range(PATIENCE + 2):
        result = running.run(documents, objects)
        assert (len(result.passes), result.failures.total()) == (1, 1)


@pytest.fixture
def slowness(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long every run seems to take, in s, as the only element."""
    seconds, now = [0.0], [0.0]

    def passes() -> float:
        now[0] += seconds[0]
        return now[0]

    monkeypatch.setattr(run_module, "perf_counter", passes)
    return seconds


@pytest.mark.parametrize("by_batch", [True, False])
def test_taking_long_over_a_batch_with_one_failure_is_no_reason(
    filters: Filters, put: Put, slowness: list[float], by_batch: bool
) -> None:
    documents, objects = batch_of(ztf_alerts([ztf_record(1, drb=0.9), ztf_record(2, "ZTF2", drb=0.1)]))
    some = {"$set": {"x": {"$divide": [1, {"$cond": [{"$gt": ["$candidate.drb", 0.5]}, 1, 0]}]}}}
    put(1, [some] if by_batch else [some, {"$limit": 1}])
    running = FilterRunner(filters, ZTF, 5000)
    slowness[0] = 6.0
    for _ in range(PATIENCE + 2):
        assert len(running.run(documents, objects).passes) == 1


def test_what_mongodb_can_not_stop_opens_the_breaker_too(filters: Filters, put: Put, slowness: list[float]) -> None:
    """It looks at its clock between documents only, so one expression may take forever without an error."""
    documents, objects = batch_of(ztf_alerts([ztf_record(1)]))
    put(1, [{"$match": {}}])
    notes = Notes()
    running = FilterRunner(filters, ZTF, 1000, notes)
    slowness[0] = 30.0
    for _ in range(PATIENCE):
        assert len(running.run(documents, objects).passes) == 1
    assert (notes.of(1).failed, notes.of(1).error, notes.of(1).open_for > 0) == (0, "took 30000 ms", True)
    assert running.run(documents, objects).skipped.total() == 1


def test_a_filter_that_was_slow_comes_after_the_others(filters: Filters, put: Put, slowness: list[float]) -> None:
    documents, objects = batch_of(ztf_alerts([ztf_record(1)]))
    put(1, [{"$match": {}}])
    running = FilterRunner(filters, ZTF, 1000)
    slowness[0] = 0.5
    assert [set(passed(part)) for part in running.parts(documents, objects)] == [{1}]
    put(2, [DRB])
    put(3, [{"$match": {}}])
    slowness[0] = 0.05
    assert [set(passed(part)) for part in running.parts(documents, objects)] == [{3}, {1}]
    assert [set(passed(part)) for part in running.parts(documents, objects)] == [{1, 3}]


def test_an_autosave_that_fails_costs_no_candidate(filters: Filters, put: Put) -> None:
    documents, objects = batch_of(ztf_alerts([ztf_record(1), ztf_record(2, "ZTF2")]))
    put(1, [{"$match": {}}], autosave={"active": True, "pipeline": FAILS})
    running = FilterRunner(filters, ZTF, 5000)
    for _ in range(PATIENCE + 2):
        result = running.run(documents, objects)
        assert [(each.candid, each.autosave) for each in result.passes] == [(1, None), (2, None)]
        assert result.failures.total() == 0
        assert result.action_failures.total() > 0


@pytest.mark.parametrize("by_batch", [True, False])
def test_autosave_and_follow_up_decide_for_each_alert(filters: Filters, put: Put, by_batch: bool) -> None:
    records = [ztf_record(n, f"ZTF{n}", drb=n / 10) for n in range(10)]
    documents, objects = batch_of(ztf_alerts(records))

    def above(drb: float) -> list[dict[str, Any]]:
        match = {"$match": {"candidate.drb": {"$gt": drb}}}
        return [match] if by_batch else [match, {"$limit": 5}]

    follow_up = {"active": True, "pipeline": above(0.65), "allocation_id": 3, "payload": {"priority": 1}}
    put(1, above(0.25), autosave={"active": True, "pipeline": above(0.45)}, auto_followup=follow_up)
    put(2, above(0.25), autosave=False, auto_followup=follow_up)
    result = FilterRunner(filters, ZTF, 5000).run(documents, objects)
    by_filter = {number: [each for each in result.passes if each.filter.filter_id == number] for number in (1, 2)}
    assert [each.candid for each in by_filter[1]] == [each.candid for each in by_filter[2]] == list(range(3, 10))
    assert [each.candid for each in by_filter[1] if each.autosave] == list(range(5, 10))
    requests = {each.candid: each.follow_up["data"]["obj_id"] for each in by_filter[1] if each.follow_up}
    assert requests == {7: "ZTF7", 8: "ZTF8", 9: "ZTF9"}
    assert not any(each.autosave or each.follow_up for each in by_filter[2])


def test_what_slow_filters_let_through_comes_after_the_others(
    filters: Filters,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents, objects = batch_of(ztf_alerts([ztf_record(1), ztf_record(2, "ZTF2")]))
    put(1, [{"$match": {}}])
    put(2, [{"$match": {"candid": {"$gt": 0}}}])
    run = filters.run

    def slow_together(stages: Any, batch: Any, limit: int) -> Any:
        if len(batch) > 1 and stages[0] == {"$match": {}}:
            raise DatabaseError("took longer than 1000 ms")
        return run(stages, batch, limit)

    monkeypatch.setattr(filters, "run", slow_together)
    first, second = FilterRunner(filters, ZTF, 5000).parts(documents, objects)
    assert set(passed(first)) == {2}
    assert set(passed(second)) == {1}
    assert FilterRun() not in (first, second)
