"""Filters that declare watchlists: what they see, what passes, what it costs, and what happens when a list goes."""

from collections.abc import Sequence
from typing import Any

import pytest
from packets import ztf_alerts, ztf_record
from stored_watchlists import csv_of
from stored_watchlists import put as put_list

from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.database.watchlists import Question, Watchlists
from kowalski.filters.run import FilterRunner
from kowalski.filters.watching import Watching, required_lists
from kowalski.watchlists.matching import ListKey

from .harness import ZTF, Batch, Put, batch_of, passed

MINE = ListKey(1, "mine")
HAS: dict[str, Any] = {"$match": {"watchlists.mine.0": {"$exists": True}}}
SHOWS: dict[str, Any] = {"$project": {"annotations": {"mine": "$watchlists.mine"}}}


class Counted(Watchlists):
    """Counts the questions."""

    asked = 0

    def answer(self, question: Question) -> list[dict[str, Any]]:
        self.asked += 1
        return super().answer(question)


class Night:
    """Alerts on a grid of positions, and the runner that judges them."""

    def __init__(self, filters: Filters, database: MongoDatabase):
        self.watching = Watching(database, ZTF)
        self.counted = self.watching.watchlists = Counted(database)
        self.runner = FilterRunner(filters, ZTF, 5000, watching=self.watching)
        self.alerts: Batch = batch_of(
            ztf_alerts([ztf_record(100 + n, f"ZTF23{n}", ra=10.0 * n, dec=5.0 * n) for n in range(12)])
        )

    def passed(self) -> dict[int, dict[int, Any]]:
        """filter_id -> candid -> annotations."""
        result = self.runner.run(*self.alerts)
        assert not result.failures
        return passed(result)


@pytest.fixture
def night(filters: Filters, mongo: MongoDatabase) -> Night:
    return Night(filters, mongo)


def numbers(found: dict[int, Any]) -> list[int]:
    return sorted(candid - 100 for candid in found)


def test_a_filter_sees_the_rows_that_an_alert_matches(put: Put, night: Night, mongo: MongoDatabase) -> None:
    rows = [(10, 5.0001, 1, "near"), (10, 5, 2, "there"), (30, 15.01, 3, "too far"), (50, 25, 4, "other")]
    put_list(mongo, MINE, csv_of("ra,dec,n,what", rows))
    put(1, [HAS, SHOWS], watchlists=["mine"])
    found = night.passed()[1]
    assert numbers(found) == [1, 5]
    there, near = found[101]["mine"]
    assert there == {"ra": 10, "dec": 5, "n": 2, "what": "there", "distance_arcsec": 0}
    assert (near["what"], near["distance_arcsec"]) == ("near", pytest.approx(0.36))


@pytest.mark.parametrize(
    "pipeline",
    [
        [HAS, SHOWS],
        [{"$match": {"watchlists.mine": {"$ne": []}}}, SHOWS],
        [{"$match": {"$expr": {"$gt": [{"$size": "$watchlists.mine"}, 0]}}}, SHOWS],
        [HAS, {"$sort": {"candid": 1}}, SHOWS],
        [HAS, {"$replaceRoot": {"newRoot": "$$ROOT"}}, SHOWS],
        [{"$unwind": "$watchlists.mine"}, {"$match": {"watchlists.mine.n": 4}}, SHOWS],
    ],
)
def test_however_it_is_run_the_same_passes(put: Put, night: Night, mongo: MongoDatabase, pipeline: Any) -> None:
    """Alone, together with others in one aggregation, alert by alert."""
    put_list(mongo, MINE, csv_of("objectId,n", [("ZTF232", 4), ("ZTF2311", 4), ("ZTF9", 4)]))
    for filter_id in (1, 2):
        put(filter_id, pipeline, watchlists=["mine"])
    for _ in range(3):  # filters run together once they have shown to be quick
        assert {each: numbers(found) for each, found in night.passed().items()} == {1: [2, 11], 2: [2, 11]}


def test_what_does_not_match_can_be_asked_for(put: Put, night: Night, mongo: MongoDatabase) -> None:
    put_list(mongo, MINE, b"0/0-11")
    put_list(mongo, ListKey(1, "known"), csv_of("objectId", [(f"ZTF23{n}",) for n in range(10)]))
    unknown = [HAS, {"$match": {"watchlists.known.0": {"$exists": False}}}, SHOWS]
    put(1, unknown, watchlists=["mine", "known"])
    found = night.passed()[1]
    assert found == {110: {"mine": [{"inside": True}]}, 111: {"mine": [{"inside": True}]}}


def test_groups_see_their_own_lists_alone(put: Put, night: Night, mongo: MongoDatabase) -> None:
    put_list(mongo, MINE, csv_of("objectId", [("ZTF231",)]))
    put_list(mongo, ListKey(2, "mine"), csv_of("objectId", [("ZTF232",)]))
    put(1, [HAS, SHOWS], watchlists=["mine"])
    put(2, [HAS, SHOWS], watchlists=["mine"], group_id=2)
    put(3, [{"$match": {"watchlists": {"$exists": False}}}, {"$project": {"annotations": "$candid"}}])
    found = night.passed()
    assert (numbers(found[1]), numbers(found[2]), len(found[3])) == ([1], [2], 12)


def test_an_edit_of_the_list_or_of_what_is_declared_counts_from_the_next_batch(put: Put, night: Night, mongo: MongoDatabase) -> None:  # fmt: skip
    put_list(mongo, MINE, csv_of("objectId", [("ZTF231",)]))
    put_list(mongo, ListKey(1, "second"), csv_of("objectId", [("ZTF235",)]))
    put(1, [HAS, SHOWS], watchlists=["mine"])
    assert numbers(night.passed()[1]) == [1]
    put_list(mongo, MINE, csv_of("ra,dec", [(20, 10), (30, 15)]))
    assert numbers(night.passed()[1]) == [2, 3]
    either = {"$match": {"$or": [{f"watchlists.{name}.0": {"$exists": True}} for name in ("mine", "second")]}}
    put(1, [either, SHOWS], watchlists=["mine", "second"])
    assert numbers(night.passed()[1]) == [2, 3, 5]


def test_the_costs(put: Put, night: Night, mongo: MongoDatabase) -> None:
    """Nothing where no filter reads a list that it declares; else one round trip for all of them."""
    for name in ("mine", "second", "third"):
        put_list(mongo, ListKey(1, name), csv_of("ra,dec", [(20, 10)]))
    put(1, [{"$match": {"candidate.drb": {"$gt": 0}}}], watchlists=["mine"])
    put(2, [{"$match": {"candidate.drb": {"$gt": 0}}}])
    night.passed()
    assert night.counted.asked == 0
    for filter_id, name in enumerate(("mine", "second", "third"), 3):
        put(filter_id, [{"$match": {f"watchlists.{name}.0": {"$exists": True}}}], watchlists=[name])
    night.passed()
    night.counted.asked = 0
    night.passed()
    assert night.counted.asked == 1


def test_a_filter_whose_list_is_gone_fails_and_the_others_run(put: Put, night: Night, mongo: MongoDatabase) -> None:
    put_list(mongo, MINE, csv_of("objectId", [("ZTF231",)]))
    absent = [{"$match": {"watchlists.gone.0": {"$exists": False}}}]
    put(1, absent, watchlists=["gone"])
    put(2, [HAS], watchlists=["mine"])
    result = night.runner.run(*night.alerts)
    assert dict(result.failures) == {(1, "watchlists: group 1 has no gone any more"): 12}
    assert numbers(passed(result)[2]) == [1]


def test_lists_that_cant_be_looked_at(put: Put, night: Night, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    put_list(mongo, MINE, csv_of("objectId", [("ZTF231",)]))
    put(1, [HAS], watchlists=["mine"])
    put(2, [{"$match": {"candid": 105}}])
    assert numbers(night.passed()[1]) == [1]
    monkeypatch.setattr(night.watching, "watchlists", Broken(mongo))
    result = night.runner.run(*night.alerts)
    ((filter_id, reason),) = result.failures
    assert (filter_id, reason.startswith("watchlists: read watchlists: ")) == (1, True)
    assert numbers(passed(result)[2]) == [5]


class Broken(Watchlists):
    """Asks what MongoDB refuses."""

    def answer(self, question: Question) -> list[dict[str, Any]]:
        return super().answer(question._replace(pipeline=[{"$nonsense": 1}]))


@pytest.mark.parametrize(
    ("stages", "names"),
    [
        ([HAS], {"mine"}),
        ([{"$match": {"candid": 1}}, {"$match": {"watchlists.a.0": {"$exists": True}, "watchlists.b.2": {"$exists": True}}}], {"a", "b"}),
        ([SHOWS, HAS], set()),
        ([{"$match": {"watchlists.mine.0": {"$exists": False}}}], set()),
        ([{"$match": {"watchlists.mine": {"$exists": True}}}], set()),
        ([{"$match": {"watchlists.mine.n": {"$exists": True}}}], set()),
        ([{"$match": {"$or": [HAS["$match"]]}}], set()),
    ],
)  # fmt: skip
def test_what_must_be_matched_to_pass(stages: Sequence[dict[str, Any]], names: set[str]) -> None:
    assert required_lists(stages) == names
