"""The latency trace: each moment is written once, whatever comes again, and alerts without one stay without."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from histories import ZTF
from packets import JD, ztf_packets, ztf_record
from worker_harness import MakeWorker, put_filter, state, visits

from kowalski.alert_broker_lsst import SURVEY as LSST
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.trace import AT_DELIVERY, IN_WORKER, STAGES, begun, spans_of
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase

EMITTED = datetime(2023, 2, 25, 0, 0, 40, tzinfo=UTC)
RECEIVED = EMITTED + timedelta(seconds=2)
#: the moment of `JD`
EXPOSURE = datetime(2023, 2, 25, tzinfo=UTC)


def emitted(packets: list[Packet]) -> list[Packet]:
    return [replace(each, timestamp=EMITTED, received=RECEIVED) for each in packets]


def traces(database: MongoDatabase) -> dict[int, dict[str, datetime]]:
    alerts = database.get_collection("ZTF_alerts", codec_options=CodecOptions(tz_aware=True))
    return {each["candid"]: each.get("trace") for each in alerts.find({}, {"candid": 1, "trace": 1})}


def test_moments_are_in_their_order(worker: AlertWorker, stocked: MongoDatabase) -> None:
    report = worker.process(emitted(visits(3, 2)))
    found = traces(stocked)
    assert len(found) == 6
    for candid, trace in found.items():
        assert list(trace) == ["exposure", "emitted", "received", "stored", "filtered"]
        assert trace["exposure"] == EXPOSURE + timedelta(days=candid % 1000 - 1)
        assert (trace["emitted"], trace["received"]) == (EMITTED, RECEIVED)
        assert RECEIVED < trace["stored"] <= trace["filtered"] <= datetime.now(UTC)
    assert set(report.spans) == set(IN_WORKER)
    assert {len(seconds) for seconds in report.spans.values()} == {6}
    assert report.spans["emitted_received"] == [2.0] * 6


def test_scored_is_there_where_there_are_networks(
    make_worker: MakeWorker, stocked: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker()
    monkeypatch.setattr(worker.scorer, "networks", ("one",))
    monkeypatch.setattr(worker.scorer, "score", lambda candidates, stamps, histories: [{} for _ in candidates])
    worker.process(emitted(visits(1, 1)))
    (trace,) = traces(stocked).values()
    assert trace["received"] < trace["scored"] <= trace["stored"]


def test_what_comes_again_changes_no_moment(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = emitted(visits(3, 2))
    worker.process(packets)
    before = state(stocked)
    later = [replace(each, received=RECEIVED + timedelta(hours=1)) for each in packets]
    again = worker.process(later)
    copies = worker.process([replace(each, offset=each.offset + 1000) for each in later])
    assert state(stocked) == before
    assert [*again.spans.values(), *copies.spans.values()] == [[]] * 8, "none of them was stored by these"


def test_a_batch_that_broke_off_is_traced_when_it_comes_again(
    worker: AlertWorker, stocked: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = emitted(visits(2, 1))
    with monkeypatch.context() as broken:
        broken.setattr(worker, "_filter", interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.process(packets)
    before = traces(stocked)
    assert all("filtered" not in trace and "stored" in trace for trace in before.values())
    worker.process(packets)
    after = traces(stocked)
    assert all(after[candid] == {**trace, "filtered": after[candid]["filtered"]} for candid, trace in before.items())


def interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_alerts_of_older_versions_stay_without(worker: AlertWorker, stocked: MongoDatabase) -> None:
    packets = emitted(visits(2, 1))
    worker.process(packets)
    stocked["ZTF_alerts"].update_many({}, {"$unset": {"trace": 1}})
    worker.process(packets)
    assert set(traces(stocked).values()) == {None}
    assert worker.alerts.delivered(1) is None


def test_filters_do_not_see_it(worker: AlertWorker, mongo: MongoDatabase) -> None:
    put_filter(mongo, 1, [{"$match": {"trace": {"$exists": True}}}])
    put_filter(mongo, 2, [{"$match": {"trace": {"$exists": False}}}])
    report = worker.process(emitted(visits(2, 1)))
    assert report.passed == {2: 2}


def test_delivered_is_the_first_time(worker: AlertWorker, stocked: MongoDatabase) -> None:
    worker.process(emitted(visits(1, 1)))
    alerts = Alerts(stocked, ZTF)
    first = alerts.delivered(1)
    assert first is not None
    assert first == traces(stocked)[1]
    assert first["delivered"] >= first["filtered"]
    assert set(spans_of([first], AT_DELIVERY)) == set(AT_DELIVERY)
    assert alerts.delivered(1) is None
    assert traces(stocked)[1] == first


def test_what_is_not_known_is_left_out() -> None:
    (packet,) = ztf_packets([ztf_record(1)])
    assert set(begun(packet, JD, ZTF)) == {"exposure", "received"}, "Kafka gave no time"
    assert set(begun(packet, 1e12, ZTF)) == {"received"}, "no calendar has that jd"
    assert spans_of([begun(packet, JD, ZTF)], STAGES) == {stage: [] for stage in STAGES}


def test_the_exposure_begins_before_a_jd_of_its_middle() -> None:
    (packet,) = ztf_packets([ztf_record(1)])
    assert abs(begun(packet, JD, LSST)["exposure"] - (EXPOSURE - timedelta(seconds=15))) < timedelta(milliseconds=1)


def test_clocks_that_differ_make_no_time_negative() -> None:
    trace = {"emitted": RECEIVED, "received": EMITTED}
    assert spans_of([trace], ["emitted_received"]) == {"emitted_received": [0.0]}
