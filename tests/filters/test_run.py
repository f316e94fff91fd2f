"""Running filters: a batch gives what one alert at a time would, and no filter can harm another."""

import logging
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from bson.objectid import ObjectId
from packets import JD, forced_point, prv_point, real_packets, ztf_alerts, ztf_record

from kowalski.alerts.document import read_batch
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.errors import DatabaseUnavailable
from kowalski.filters import portions, together
from kowalski.filters import run as run_module
from kowalski.filters.breaker import TRIALS_AFTER_FAULT
from kowalski.filters.compile import EVERYTHING
from kowalski.filters.results import FilterRun

from .harness import ALL, ZTF, Batch, Documents, Put, batch_of, passed, runner, synthetic
from .library import DRB, PIPELINES, one_by_one

#: makes 300 000 documents of each alert, of which one is left; about 50 ms where a small one takes 1
SLOW = [
    {"$set": {"number": {"$range": [0, {"$add": [300_000, "$candidate.fid"]}]}}},
    {"$unwind": "$number"},
    {"$match": {"$expr": {"$eq": ["$number", 5]}}},
]


def candids(documents: Documents) -> list[int]:
    return [document["candid"] for document in documents]


def store(database: MongoDatabase, documents: Documents, objects: dict[str, dict[str, Any]]) -> None:
    """As the reference would have stored them: forced photometry of young objects only."""
    database["ZTF_alerts"].insert_many([dict(document) for document in documents])
    database["ZTF_alerts_aux"].insert_many(
        [
            {"_id": name, **{key: value for key, value in aux.items() if key != "fp_hists" or aux["first_alert"]["forced_complete"]}}
            for name, aux in objects.items()
        ]
    )  # fmt: skip


def assert_equal_to_one_by_one(
    database: MongoDatabase, filters: Filters, put: Put, batch: Batch, permissions: list[int]
) -> None:
    documents, objects = batch
    for number, document in enumerate(documents):
        document |= {"_id": ObjectId(), "classifications": {"braai": number / len(documents)}}
    store(database, documents, objects)
    for number, pipeline in enumerate(PIPELINES.values()):
        put(number, pipeline, permissions=permissions)
    result = runner(filters).run(documents, objects)
    found = passed(result)
    failures: dict[int, int] = {}
    for (filter_id, _), alerts in result.failures.items():
        failures[filter_id] = failures.get(filter_id, 0) + alerts
    seen = [document["candid"] for document in documents if document["candidate"]["programid"] in permissions]
    for number, (name, pipeline) in enumerate(PIPELINES.items()):
        expected, failed = one_by_one(database, seen, pipeline, permissions)
        failed = len(seen) if name == "is no pipeline" else failed
        assert found.get(number, {}) == expected, name
        assert failures.get(number, 0) == failed, name


@pytest.mark.parametrize("permissions", [ALL, [1], [2, 3]])
def test_real_packets_in_a_batch_are_as_one_by_one(
    test_data: Path, mongo: MongoDatabase, filters: Filters, put: Put, permissions: list[int]
) -> None:
    alerts, _ = read_batch(real_packets(test_data), ZTF)
    one_per_object = list(
        {alert.object_id: alert for alert in alerts}.values()
    )  # the reference shows later history too
    assert_equal_to_one_by_one(mongo, filters, put, batch_of(one_per_object), permissions)


def test_made_packets_in_a_batch_are_as_one_by_one(mongo: MongoDatabase, filters: Filters, put: Put) -> None:
    assert_equal_to_one_by_one(mongo, filters, put, synthetic(), [1, 2])


def test_the_library_holds_something_for_everybody(filters: Filters, put: Put) -> None:
    documents, objects = synthetic()
    for number, pipeline in enumerate(PIPELINES.values()):
        put(number, pipeline)
    found = passed(runner(filters).run(documents, objects))
    by_name = {name: len(found.get(number, {})) for number, name in enumerate(PIPELINES)}
    assert by_name["all"] == by_name["limit"] + by_name["none"] + len(documents) - by_name["match"] == len(documents)
    assert sum(0 < number < len(documents) for number in by_name.values()) >= 15


def test_a_batch_is_one_aggregation_per_filter(
    mongo: MongoDatabase, filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, objects = synthetic()
    sent: list[int] = []
    run = filters.run
    monkeypatch.setattr(
        filters, "run", lambda stages, batch, limit: sent.append(len(batch)) or run(stages, batch, limit)
    )
    for number in range(5):
        put(number, [DRB])
    put(6, [DRB, {"$limit": 1}])
    runner(filters).run(documents, objects)
    left = sum(document["candidate"]["drb"] > 0.5 for document in documents)
    assert 1 < left < len(documents)
    assert sorted(sent) == [1] * left + [left] * 5, "those that can't pass are not sent"


def test_filters_that_went_well_by_themselves_go_together(
    filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, objects = synthetic()
    for number in range(5):
        put(number, [DRB, {"$match": {"candidate.fid": {"$in": [number, 1]}}}])
    put(6, [DRB, {"$limit": 1}])
    own = runner(filters)
    first = passed(own.run(documents, objects))
    left = sum(document["candidate"]["drb"] > 0.5 for document in documents)
    sent, run = [], filters.run
    monkeypatch.setattr(filters, "run", lambda stages, batch, limit: sent.append(len(batch)) or run(stages, batch, limit))  # fmt: skip
    assert passed(own.run(documents, objects)) == first
    assert sorted(sent) == [1] * left + [left], "but for the one that goes alert by alert"
    monkeypatch.setattr(together, "FACETS", 2)
    sent.clear()
    assert passed(own.run(documents, objects)) == first
    assert sorted(sent) == [1] * left + [left] * 3
    monkeypatch.setattr(portions, "CHUNK_BYTES", 5000)
    assert passed(own.run(documents, objects)) == first


def test_together_is_as_by_itself(filters: Filters, put: Put) -> None:
    documents, objects = synthetic()
    for number, pipeline in enumerate(PIPELINES.values()):
        put(number, pipeline)
    own = runner(filters)
    runs = [own.run(documents, objects) for _ in range(3)]
    joined = [known.breaker.trials for known in own._known.values() if known.compiled].count(0)
    assert joined > len(PIPELINES) / 2
    assert [passed(each) for each in runs[1:]] == [passed(runs[0])] * 2
    assert [each.failures for each in runs[1:]] == [runs[0].failures] * 2


def test_one_that_fails_among_others_goes_by_itself_from_then_on(
    filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = ztf_record(7, drb=0.9), ztf_record(8, "ZTFbad", drb=0.4)
    put(1, [{"$match": {}}])
    put(2, [{"$match": {}}])
    put(3, PIPELINES["fails with some"])
    own = runner(filters)
    for _ in range(2):
        own.run(*batch_of(ztf_alerts([good])))
    result = own.run(*batch_of(ztf_alerts([good, bad])))
    assert {number: set(found) for number, found in passed(result).items()} == {1: {7, 8}, 2: {7, 8}, 3: {7}}
    assert {number: alerts for (number, _), alerts in result.failures.items()} == {3: 1}
    trials = {known.compiled.filter_id: known.breaker.trials for known in own._known.values() if known.compiled}
    assert trials == {1: 0, 2: 0, 3: TRIALS_AFTER_FAULT}
    sent, run = [], filters.run
    monkeypatch.setattr(filters, "run", lambda stages, batch, limit: sent.append(stages) or run(stages, batch, limit))
    assert set(passed(own.run(*batch_of(ztf_alerts([good]))))) == {1, 2, 3}
    assert sorted("$facet" in stages[0] for stages in sent) == [False, True]


def test_if_others_take_long_together_each_shows_whether_it_is_to_blame(
    filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which nothing takes any time but one filter, from some moment on."""
    clock, run = [0.0, 0.0], filters.run

    def timed(stages: list[Any], batch: Any, limit: int) -> Any:
        clock[0] += clock[1] if "blamed" in str(stages) else 0.0
        return run(stages, batch, limit)

    monkeypatch.setattr(filters, "run", timed)
    monkeypatch.setattr(run_module, "perf_counter", lambda: clock[0])
    put(1, [DRB])
    put(2, [DRB, {"$set": {"blamed": 1}}])
    put(3, [DRB])
    own, batch = runner(filters), batch_of(ztf_alerts([ztf_record(7, drb=0.9)]))
    first = passed(own.run(*batch))
    breakers = {known.compiled.filter_id: known.breaker for known in own._known.values() if known.compiled}
    assert {number: breaker.trials for number, breaker in breakers.items()} == {1: 0, 2: 0, 3: 0}
    clock[1] = 2.0
    assert passed(own.run(*batch)) == first
    assert all(breaker.trials == 1 for breaker in breakers.values())
    assert passed(own.run(*batch)) == first
    assert (breakers[1].trials, breakers[2].slow, breakers[3].trials) == (0, True, 0)


def test_large_batches_go_in_pieces(filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, objects = synthetic()
    for number, name in enumerate(("match", "annotations", "unwound to one", "sort and limit", "whole document")):
        put(number, PIPELINES[name])
    whole = passed(runner(filters).run(documents, objects))
    monkeypatch.setattr(portions, "CHUNK_BYTES", 5000)
    assert passed(runner(filters).run(documents, objects)) == whole


def test_filters_that_read_little_are_fed_little_to_the_same_end(
    filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, objects = synthetic()
    for number, pipeline in enumerate(PIPELINES.values()):
        put(number, pipeline)
    lean = runner(filters).run(documents, objects)
    monkeypatch.setattr(run_module, "_union", lambda group: EVERYTHING)
    full = runner(filters).run(documents, objects)
    assert passed(lean) == passed(full)
    assert lean.failures == full.failures


def test_nothing_to_run(filters: Filters, put: Put) -> None:
    documents, objects = synthetic()
    assert runner(filters).run(documents, objects) == FilterRun()
    put(1, [DRB])
    assert runner(filters).run([], {}) == FilterRun()


def test_only_active_filters_of_the_survey_run(filters: Filters, put: Put) -> None:
    documents, objects = synthetic()
    put(1, [DRB], active=False)
    put(2, [DRB], catalog="PGIR_alerts")
    put(3, [DRB])
    assert set(passed(runner(filters).run(documents, objects))) == {3}


def test_alerts_and_points_of_other_programmes_are_not_seen(filters: Filters, put: Put) -> None:
    record = ztf_record(
        7,
        programid=1,
        prv=[prv_point(JD - n, programid=n) for n in ALL],
        forced=[forced_point(JD - n, programid=n) for n in ALL],
    )
    secret = ztf_record(8, "ZTFsecret", programid=3)
    count = [{"$project": {"annotations": {"prv": {"$size": "$prv_candidates"}, "forced": {"$size": "$fp_hists"}}}}]
    for filter_id, permissions in ((1, [1]), (2, [1, 2]), (3, ALL), (4, []), (5, [3])):
        put(filter_id, count, permissions=permissions)
    found = passed(runner(filters).run(*batch_of(ztf_alerts([record, secret]))))
    none = {"prv": 0, "forced": 0}
    assert found == {
        1: {7: {"prv": 1, "forced": 1}},
        2: {7: {"prv": 2, "forced": 2}},
        3: {7: {"prv": 3, "forced": 3}, 8: none},
        5: {8: none},
    }


def test_a_pass_names_the_version_and_the_wishes(filters: Filters, put: Put) -> None:
    wishes = {
        "update_annotations": True,
        "autosave": {"active": True, "comment": "x"},
        "auto_followup": {"active": True},
    }
    put(9, [{"$match": {}}], fid="v00001", group_id=4, permissions=[1], **wishes)
    (each,) = runner(filters).run(*batch_of(ztf_alerts([ztf_record(7)]))).passes
    assert (each.candid, each.filter.filter_id, each.filter.group_id, each.filter.fid) == (7, 9, 4, "v00001")
    assert (each.filter.sight.permissions, each.filter.update_annotations) == ((1,), True)
    assert each.autosave == {"comment": "x", "ignore_group_ids": [], "saver_id": None}
    assert each.follow_up is None, "it has no pipeline, and that alone does not keep the alert from passing"


def test_an_alert_that_is_too_large_to_send_is_the_only_one_that_fails(filters: Filters, put: Put) -> None:
    documents, objects = synthetic(4)
    documents[2]["publisher"] = "x" * 17_000_000
    put(1, [{"$match": {}}])
    put(2, [{"$sort": {"candid": 1}}])
    result = runner(filters).run(documents, objects)
    others = set(candids(documents)) - {documents[2]["candid"]}
    assert {filter_id: set(found) for filter_id, found in passed(result).items()} == {1: others, 2: others}
    assert {filter_id: alerts for (filter_id, _), alerts in result.failures.items()} == {1: 1, 2: 1}


def test_many_documents_of_an_alert_do_not_come_here(
    filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker could not hold what a filter may make of a batch, and wants to know only whether it is one."""
    documents, objects = synthetic(5)
    came: list[int] = []
    run = filters.run

    def counted(*arguments: Any) -> list[dict[str, Any]]:
        rows = run(*arguments)
        came.append(len(rows))
        return rows

    monkeypatch.setattr(filters, "run", counted)
    many = [{"$set": {"n": {"$range": [0, "$candid"]}}}, {"$unwind": "$n"}]
    put(1, many)
    put(2, [*many, {"$match": {"n": 3}}])
    put(3, [*many, {"$skip": 1}])
    assert {number: len(found) for number, found in passed(runner(filters).run(documents, objects)).items()} == {2: 5}
    assert max(came) == 5


def test_a_slow_batch_goes_alert_by_alert(filters: Filters, put: Put) -> None:
    documents, objects = synthetic(5)
    put(1, SLOW)
    put(2, [DRB])
    alone = max(timed(filters, documents[at : at + 1], objects) for at in range(2))
    result = runner(filters, max_time_ms=int(alone * 3)).run(documents, objects)
    assert result.failures == {}
    assert set(passed(result)[1]) == set(candids(documents))


def timed(filters: Filters, documents: Documents, objects: dict[str, dict[str, Any]]) -> float:
    """ms that the filters of a batch take."""
    start = perf_counter()
    runner(filters, 60_000).run(documents, objects)
    return (perf_counter() - start) * 1000


def test_a_hopelessly_slow_filter_is_given_up_and_the_others_run(filters: Filters, put: Put) -> None:
    documents, objects = synthetic(12)
    put(1, SLOW)
    put(2, [DRB])
    put(3, [{"$sort": {"candid": 1}}, *SLOW])
    result = runner(filters, max_time_ms=10).run(documents, objects)
    assert {1, 3} & set(passed(result)) == set()
    assert len(passed(result)[2]) == 4
    for filter_id in (1, 3):
        reasons = {reason: alerts for (number, reason), alerts in result.failures.items() if number == filter_id}
        assert sum(reasons.values()) == 12
        assert any("slow" in reason or "longer than 10 ms" in reason for reason in reasons)


def test_failures_are_counted_and_logged(filters: Filters, put: Put, caplog: pytest.LogCaptureFixture) -> None:
    documents, objects = synthetic()
    put(1, PIPELINES["fails with some"])
    with caplog.at_level(logging.ERROR):
        result = runner(filters).run(documents, objects)
    ((filter_id, reason),) = result.failures
    assert (filter_id, result.failures[filter_id, reason]) == (1, 8)
    assert "divide by zero" in reason
    assert "filter 1 failed on 8 alerts" in caplog.text
    assert len(passed(result)[1]) == 4


def test_a_database_out_of_reach_is_no_filters_fault(
    filters: Filters, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, objects = synthetic()
    put(1, [DRB])

    def away(*arguments: Any) -> None:
        raise DatabaseUnavailable("no primary")

    monkeypatch.setattr(filters, "run", away)
    with pytest.raises(DatabaseUnavailable):
        runner(filters).run(documents, objects)
    put(1, [DRB, {"$limit": 1}])
    with pytest.raises(DatabaseUnavailable):
        runner(filters).run(documents, objects)


def test_a_filter_writes_nothing(filters: Filters, put: Put, mongo: MongoDatabase) -> None:
    """Even where a pipeline got past the check: the connection may only read."""
    documents, objects = synthetic()
    put(1, [DRB])
    running = runner(filters)
    running.run(documents, objects)
    (known,) = running._known.values()
    assert known.compiled is not None
    stages = (*known.compiled.pipeline.stages, {"$merge": {"into": "elsewhere"}})
    result = filters.run
    with pytest.raises(Exception, match=r"not authorized|\$merge"):
        result(list(stages), [], 1000)
    assert "elsewhere" not in mongo.list_collection_names()
