"""The standing figures of each survey, and what Prometheus is told of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from api_harness import Api
from test_metrics import scraped

from kowalski.api.services.standing import SurveyStanding, SystemStanding, standing_figures
from kowalski.bins import bin_of
from kowalski.database.client import MongoDatabase
from kowalski.database.filter_runs import FilterRuns, Night
from kowalski.database.latencies import LatencyCounts, Slot, slot_of
from kowalski.database.processes import Processes
from kowalski.database.queries import Queries
from kowalski.settings import Database

NOW = datetime(2024, 3, 5, 6, 7, 8, tzinfo=UTC)


def standing(settings: Database, now: datetime = NOW) -> SystemStanding:
    async def ask() -> SystemStanding:
        queries = Queries(settings)
        try:
            return await standing_figures(queries, now)
        finally:
            queries.close()

    return asyncio.run(ask())


def store(database: MongoDatabase, survey: str, age_s: float, **stages: dict[float, int]) -> None:
    slot = Slot(survey, slot_of(NOW - timedelta(seconds=age_s)))
    bins = {stage: {bin_of(each): number for each, number in seconds.items()} for stage, seconds in stages.items()}
    LatencyCounts(database).add({slot: bins})


def test_nothing_is_known_of_nothing(mongo_settings: Database) -> None:
    assert standing(mongo_settings) == SystemStanding()


def test_throughput_and_latencies(mongo_settings: Database, mongo: MongoDatabase) -> None:
    store(mongo, "ZTF", 1, received_stored={1.0: 1000})  # of a slot that is not over
    store(mongo, "ZTF", 30, received_stored={1.0: 300, 40.0: 100}, emitted_delivered={2.0: 5})
    store(mongo, "ZTF", 50, received_stored={1.0: 200})
    store(mongo, "ZTF", 1800, received_stored={1.0: 8400})
    store(mongo, "ZTF", 4000, received_stored={900.0: 10_000})  # longer ago than an hour
    store(mongo, "WNTR", 600, received_stored={5.0: 1})
    found = standing(mongo_settings).surveys
    assert list(found) == ["WNTR", "ZTF"]
    assert found["ZTF"].alerts_per_s == 600 / 60
    assert found["WNTR"].alerts_per_s == 0
    stored = found["ZTF"].latencies["received_stored"]
    assert stored == {"p50": pytest.approx(1.0, rel=0.2), "p99": pytest.approx(1.0, rel=0.2), "alerts": 10_000}
    store(mongo, "ZTF", 1800, received_stored={40.0: 1})
    assert standing(mongo_settings).surveys["ZTF"].latencies["received_stored"]["p99"] == pytest.approx(40.0, rel=0.2)
    assert list(found["ZTF"].latencies) == ["received_stored", "emitted_delivered"], "in the order of the trace"


def test_what_brokers_and_posters_say(mongo_settings: Database, mongo: MongoDatabase) -> None:
    lags = [{"topic": "b", "partition": 0, "messages": 7}, {"topic": "a", "partition": 1, "messages": 0}]
    Processes(mongo).beat("alert-broker", "ZTF", lags=lags, under_way=5, models={"braai": "d6_m9"}, model_problems={"acai_h": "gone"})  # fmt: skip
    Processes(mongo).beat("poster", active=True, ailing=True, pause_s=3.5, counts={"pending": 2, "failed": 1})
    Processes(mongo).beat("tables", active=True)
    found = standing(mongo_settings)
    assert found.surveys == {
        "ZTF": SurveyStanding(
            brokers=1, lag=lags[::-1], under_way=5, models={"braai": "d6_m9"}, model_problems={"acai_h": "gone"}
        )
    }
    (poster,) = found.posters
    assert poster | {"host": ""} == {"host": "", "active": True, "ailing": True, "pause_s": 3.5, "counts": {"pending": 2, "failed": 1}}  # fmt: skip
    mongo["processes"].update_many({}, {"$set": {"at": datetime(2024, 1, 1, tzinfo=UTC)}})
    assert standing(mongo_settings) == SystemStanding(), "they are gone"


def test_filters_that_are_left_alone(mongo_settings: Database, mongo: MongoDatabase) -> None:
    night = f"{NOW:%Y-%m-%d}"
    error = {"reason": "too slow", "at": NOW}
    open_, over, sound = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1), None
    for filter_id, until in ((1, open_), (2, over), (3, sound)):
        figures = Night({"alerts": 1}, {}, NOW, error if until else None, until)
        FilterRuns(mongo).add("worker:ZTF:host:1", "ZTF", {(filter_id, "abc", night): figures})
    (breaker,) = standing(mongo_settings).surveys["ZTF"].open_breakers
    assert breaker == {"filter_id": 1, "fid": "abc", "until": open_, "reason": "too slow"}


def test_prometheus_is_told(api: Api, stored: MongoDatabase) -> None:
    counts = LatencyCounts(stored)
    slot = Slot("ZTF", slot_of(datetime.now(UTC) - timedelta(seconds=30)))
    counts.add({slot: {"received_stored": {bin_of(2.0): 60}}})
    try:
        found = scraped(api, api.token)
        assert found["kowalski_survey_alerts_per_second", (("survey", "ZTF"),)] == 1.0
        labels = (("quantile", "p99"), ("stage", "received_stored"), ("survey", "ZTF"))
        assert found["kowalski_survey_latency_seconds", labels] == pytest.approx(2.0, rel=0.2)
        assert not any(name.startswith("kowalski_survey") for name, _ in scraped(api))
    finally:
        stored["latencies"].drop()
