"""What passes filters as Kafka messages: one per alert, one per filter, each readable by itself."""

import io
import json
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import fastavro
import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic
from outbox_harness import Night

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.document import Alert
from kowalski.database.outbox import KAFKA
from kowalski.filters.compile import compile_stages
from kowalski.filters.definition import CompiledFilter
from kowalski.filters.results import Pass
from kowalski.filters.sight import Sight
from kowalski.local.ports import free_ports
from kowalski.outbox import publisher as publisher_module
from kowalski.outbox.publisher import ResultPublisher
from kowalski.outbox.results import result_entries


def passes_of(alert: Alert, *numbers: int) -> list[Pass]:
    pipeline = compile_stages([{"$match": {}}])
    return [Pass(alert.candid, CompiledFilter(number, 7, "abcdef", Sight(SURVEY, (1,)), pipeline), {"n": number, "x": float("nan")}) for number in numbers]  # fmt: skip


def fill(night: Night, numbers: tuple[int, ...] = (1, 2)) -> list[Alert]:
    """Every first alert of an object has passed some filters."""
    alerts = night.firsts
    for alert in alerts:
        alert.document.setdefault("kafka", {"topic": "t", "partition": 0, "offset": 0, "timestamp": None})
        alert.document["classifications"] = {"braai": 0.5, "braai_version": "x"}
        night.outbox.add(list(result_entries(SURVEY, [alert], passes_of(alert, *numbers), datetime.now(UTC))))
    return alerts


def read(bootstrap: str, topics: list[str], number: int) -> dict[str, list[dict[str, Any]]]:
    """So many messages of some topics, decoded."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 500})  # fmt: skip
    consumer.subscribe(topics)
    found: dict[str, list[dict[str, Any]]] = {}
    end = time.monotonic() + 60
    try:
        while sum(map(len, found.values())) < number:
            assert time.monotonic() < end, found.keys()
            message = consumer.poll(0.5)
            if message is None or message.error() is not None:
                continue
            value, key = message.value(), message.key()
            assert value is not None
            assert key is not None
            (record,) = fastavro.reader(io.BytesIO(value))
            assert isinstance(record, dict)
            assert record["objectId"] == key.decode()
            found.setdefault(str(message.topic()), []).append(record)
    finally:
        consumer.close()
    return found


def test_results_reach_kafka_once_each(night: Night, kafka: str) -> None:
    first, second = int(uuid4().int % 10**9), int(uuid4().int % 10**9)
    alerts = fill(night, (first, second))
    topics = [f"kowalski.ztf.filter.{first}", f"kowalski.ztf.filter.{second}"]
    publisher = ResultPublisher(night.outbox, kafka, {})
    while publisher.send_some():
        pass
    assert night.outbox.counts() == {"pending": 0, "delivered": 2 * len(alerts), "failed": 0, "expired": 0}
    found = read(kafka, topics, 2 * len(alerts))
    assert [record["candid"] for record in found[topics[0]]] == [each.candid for each in sorted(alerts, key=lambda each: each.jd)]  # fmt: skip
    record, alert = found[topics[1]][0], min(alerts, key=lambda each: each.jd)
    (passed,) = record.pop("filters")
    assert record == {
        "survey": "ZTF", "candid": alert.candid, "objectId": alert.object_id, "jd": alert.jd, "ra": alert.ra, "dec": alert.dec,
        "programid": alert.candidate["programid"], "fid": alert.candidate["fid"], "classifications": {"braai": 0.5},
        "magpsf": alert.candidate["magpsf"], "sigmapsf": alert.candidate["sigmapsf"],
        "isdiffpos": alert.candidate["isdiffpos"] in ("t", "1"), "withdrawn_jd": None,
    }  # fmt: skip
    assert (passed["filter_id"], passed["group_id"], passed["fid"]) == (second, 7, "abcdef")
    assert json.loads(passed["annotations"]) == {"n": second, "x": None}
    assert abs((datetime.now(UTC) - passed["passed_at"]).total_seconds()) < 60
    together = [each for each in read(kafka, ["ZTF_alerts_results"], len(alerts))["ZTF_alerts_results"] if each["filters"][0]["filter_id"] == first]  # fmt: skip
    assert [[one["filter_id"] for one in each["filters"]] for each in together] == [[first, second]] * len(alerts)


def test_kafka_being_down_delays_and_loses_nothing(night: Night, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "DELIVERY", 1.0)
    monkeypatch.setattr(publisher_module, "PAUSE", 0.2)
    monkeypatch.setitem(publisher_module.SETTINGS, "message.timeout.ms", 1000)
    number = int(uuid4().int % 10**9)
    alerts = fill(night, (number,))
    (nobody,) = free_ports(1)
    assert ResultPublisher(night.outbox, f"127.0.0.1:{nobody}", {}).send_some() == 0
    waiting = night.outbox.pending_in(KAFKA, datetime(2100, 1, 1, tzinfo=UTC), 1000)
    assert len(waiting) == len(alerts)
    assert "timed out" in waiting[0]["error"]["message"]
    stopping = threading.Event()
    thread = threading.Thread(target=ResultPublisher(night.outbox, kafka, {}).run, args=(lambda: True, stopping, 0.05))
    thread.start()
    try:
        assert len(read(kafka, [f"kowalski.ztf.filter.{number}"], len(alerts)).popitem()[1]) == len(alerts)
    finally:
        stopping.set()
        thread.join(30)
    assert not thread.is_alive()


def test_a_result_that_cannot_be_told_is_closed_and_keeps_no_other_waiting(night: Night, kafka: str) -> None:
    number = int(uuid4().int % 10**9)
    alerts = fill(night, (number,))
    odd = sorted(alerts, key=lambda each: each.jd)[1]
    night.database["outbox"].update_one({"candid": odd.candid}, {"$set": {"alert.ra": "odd"}})
    assert ResultPublisher(night.outbox, kafka, {}).send_some() == len(alerts) - 1
    assert night.outbox.counts() == {"pending": 0, "delivered": len(alerts) - 1, "failed": 1, "expired": 0}
    (failed,) = night.database["outbox"].find({"state": "failed"})
    assert (failed["candid"], failed["error"]["step"]) == (odd.candid, "kafka")
    assert failed["error"]["message"]
    assert len(read(kafka, [f"kowalski.ztf.filter.{number}"], len(alerts) - 1).popitem()[1]) == len(alerts) - 1


def test_a_message_that_its_topic_never_takes_is_closed_and_keeps_no_other_waiting(night: Night, kafka: str) -> None:
    """Nor do those that are too large only together with others."""
    number = int(uuid4().int % 10**9)
    topic = f"kowalski.ztf.filter.{number}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1, config={"max.message.bytes": "20000"})])[topic].result(30)
    alerts = fill(night, (number,))
    large = sorted(alerts, key=lambda each: each.jd)[1]
    annotations = json.dumps(secrets.token_hex(50_000))
    night.database["outbox"].update_one({"candid": large.candid}, {"$set": {"passed.annotations": annotations}})
    publisher = ResultPublisher(night.outbox, kafka, {"compression.type": "none", "linger.ms": 100})
    while publisher.send_some():
        pass
    assert night.outbox.counts() == {"pending": 0, "delivered": len(alerts) - 1, "failed": 1, "expired": 0}
    (failed,) = night.database["outbox"].find({"state": "failed"})
    assert failed["candid"] == large.candid
    assert "bytes are more than Kafka takes" in failed["error"]["message"]
    assert large.candid not in [each["candid"] for each in read(kafka, [topic], len(alerts) - 1)[topic]]


def test_who_is_not_active_sends_nothing(night: Night) -> None:
    fill(night)
    stopping = threading.Event()
    asked = threading.Event()

    def no() -> bool:
        asked.set()
        return False

    thread = threading.Thread(target=ResultPublisher(night.outbox, "127.0.0.1:1", {}).run, args=(no, stopping, 0.01))
    thread.start()
    assert asked.wait(10)
    stopping.set()
    thread.join(10)
    assert night.outbox.counts()["pending"] == 2 * len(night.firsts)
