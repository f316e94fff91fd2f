"""Candidates, fits and packets on Kafka: in topics made as the settings say, with schemas or numbers, withdrawn like results."""

import io
import json
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import fastavro
import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from packets import JD, ztf_packets, ztf_record

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.document import Alert, read_batch
from kowalski.config import ROOT, build, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.outbox import Outbox
from kowalski.errors import ConfigError, OutputUnavailable, StreamError
from kowalski.local.ports import free_ports
from kowalski.outbox import output as output_module
from kowalski.outbox import raw as raw_module
from kowalski.outbox.message import Registered
from kowalski.outbox.output import Topics, encoding_of
from kowalski.outbox.publisher import ResultPublisher
from kowalski.outbox.raw import RawStream
from kowalski.outbox.transients import extragalactic_entry, fit_entry
from kowalski.outbox.withdrawals import withdrawal_entries
from kowalski.output_section import KafkaOutput, OutputTopics
from kowalski.settings import Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORIGIN = {"topic": "t", "partition": 0, "offset": 0, "timestamp": None}
CANDIDATE = {"ra": 1.0, "dec": 2.0, "programid": 1, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "reason": "recent", "detail": "first seen 3 d before", "z": 0.03, "z_source": "NED_BetaV3", "classifications": {"braai": 0.9}}  # fmt: skip
FIT = {"model": "salt2", "version": "2.4", "reason": None, "z": 0.03, "z_source": "fit", "t0": 59000.5, "x0": 1e-3, "x1": 0.5, "c": 0.1, "chi2": 9.0, "ndof": 8, "parameters": ["z", "t0"], "covariance": [1.0, 0.0, 0.0, 1.0], "points": 12, "curve": {"not": "told"}}  # fmt: skip


@pytest.fixture
def survey_name() -> str:
    """Of a survey that no other test tells of: the topics' names have it."""
    return f"S{uuid4().hex[:8].upper()}"


@pytest.fixture
def outbox(mongo: MongoDatabase) -> Outbox:
    outbox = Outbox(mongo)
    outbox.ensure_indexes()
    return outbox


def alert_of(survey: str, candid: int) -> dict[str, Any]:
    return {"survey": survey, "objectId": f"object{candid}", "candid": candid, "jd": JD + candid, "kafka": ORIGIN}


def messages(bootstrap: str, topic: str, number: int) -> list[tuple[str, bytes]]:
    """Key and value of so many messages of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 200})  # fmt: skip
    consumer.subscribe([topic])
    found: list[tuple[str, bytes]] = []
    end = time.monotonic() + 60
    try:
        while len(found) < number:
            assert time.monotonic() < end, f"{len(found)} of {number}"
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(((message.key() or b"").decode(), message.value() or b""))
    finally:
        consumer.close()
    return found


def record(value: bytes) -> Any:
    (found,) = fastavro.reader(io.BytesIO(value))
    return found


def send(outbox: Outbox, kafka: str, **how: Any) -> None:
    publisher = ResultPublisher(outbox, kafka, {}, **how)
    while publisher.send_some():
        pass


def test_candidates_and_fits_are_told_and_withdrawn(outbox: Outbox, kafka: str, survey_name: str, mongo: MongoDatabase) -> None:  # fmt: skip
    alerts = [alert_of(survey_name, candid) for candid in (1, 2)]
    entries = [extragalactic_entry(each, CANDIDATE, NOW) for each in alerts] + [fit_entry(each, FIT, NOW) for each in alerts]  # fmt: skip
    assert outbox.add(entries) == 4
    assert outbox.add(entries) == 0
    send(outbox, kafka)
    outbox.add(list(withdrawal_entries(outbox.of_alerts(survey_name, [1]), {1: JD})))
    send(outbox, kafka)
    assert outbox.counts()["delivered"] == 6
    candidates = messages(kafka, f"kowalski.{survey_name.lower()}.extragalactic", 3)
    assert [key for key, _ in candidates] == ["object1", "object2", "object1"]
    first, _, withdrawn = (record(value) for _, value in candidates)
    assert first == {**CANDIDATE, "survey": survey_name, "candid": 1, "objectId": "object1", "jd": JD + 1, "withdrawn_jd": None}  # fmt: skip
    assert withdrawn == {**first, "withdrawn_jd": JD}
    fits = [record(value) for _, value in messages(kafka, f"kowalski.{survey_name.lower()}.fits", 3)]
    assert [each["withdrawn_jd"] for each in fits] == [None, None, JD]
    assert {name: fits[0][name] for name in FIT if name != "curve"} == {
        name: FIT[name] for name in FIT if name != "curve"
    }
    assert fits[0]["mwebv"] is None


# topics


def retention(kafka: str, topic: str) -> tuple[str, int]:
    admin = AdminClient({"bootstrap.servers": kafka})
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return future.result(10)["retention.ms"].value, len(admin.list_topics(topic, timeout=10).topics[topic].partitions)


def test_topics_are_made_as_the_settings_say(outbox: Outbox, kafka: str, survey_name: str) -> None:
    wanted = OutputTopics(partitions=3, replication=None, retention_ms=86_400_000)
    outbox.add([extragalactic_entry(alert_of(survey_name, 1), CANDIDATE, NOW)])
    send(outbox, kafka, topics=Topics(kafka, {}, wanted))
    topic = f"kowalski.{survey_name.lower()}.extragalactic"
    assert retention(kafka, topic) == ("86400000", 3)
    assert len(messages(kafka, topic, 1)) == 1
    Topics(kafka, {}, wanted.model_copy(update={"retention_ms": 1000})).ensure([topic])  # it is there: it stays
    assert retention(kafka, topic) == ("86400000", 3)


def test_topics_that_can_not_be_made_are_named(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    too_many = OutputTopics(partitions=1, replication=9, retention_ms=None)
    with pytest.raises(StreamError, match="does not make the topic name"):
        Topics(kafka, {}, too_many).ensure(["name"])
    monkeypatch.setattr(output_module, "PATIENCE", 0.5)
    (nobody,) = free_ports(1)
    with pytest.raises(StreamError, match="does not make the topic name"):
        Topics(f"127.0.0.1:{nobody}", {}, too_many).ensure(["name"])
    Topics(f"127.0.0.1:{nobody}", {}, too_many.model_copy(update={"replication": None, "partitions": None})).ensure(["name"])  # fmt: skip


# a registry


class Registry(BaseHTTPRequestHandler):
    """A schema registry: subjects and what was registered; ``answers`` are given first."""

    subjects: dict[str, str]
    answers: list[int]

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
        if self.answers:
            return self.send_error(self.answers.pop(0))
        subject = self.path.removeprefix("/subjects/").removesuffix("/versions")
        fastavro.parse_schema(json.loads(content["schema"]))
        self.subjects.setdefault(subject, content["schema"])
        body = json.dumps({"id": 100 + list(self.subjects).index(subject)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests need no access log."""


@pytest.fixture
def registry() -> Iterator[tuple[str, type[Registry]]]:
    handler = type("Handler", (Registry,), {"subjects": {}, "answers": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def test_schemas_by_number(
    outbox: Outbox, kafka: str, survey_name: str, registry: tuple[str, type[Registry]], mongo: MongoDatabase
) -> None:
    url, handler = registry
    handler.answers[:] = [503]
    outbox.add([extragalactic_entry(alert_of(survey_name, candid), CANDIDATE, NOW) for candid in (1, 2)])
    outbox.add([fit_entry(alert_of(survey_name, 1), FIT, NOW)])
    stopping = threading.Event()
    publisher = ResultPublisher(outbox, kafka, {}, Registered(url))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kowalski.outbox.publisher.PAUSE", 0.1)
        thread = threading.Thread(target=publisher.run, args=(lambda: True, stopping, 0.05))
        thread.start()
        try:
            found = messages(kafka, f"kowalski.{survey_name.lower()}.extragalactic", 2)
            (fit,) = messages(kafka, f"kowalski.{survey_name.lower()}.fits", 1)
        finally:
            stopping.set()
            thread.join(30)
    assert set(handler.subjects) == {f"kowalski.{survey_name.lower()}.{name}-value" for name in ("extragalactic", "fits")}  # fmt: skip
    assert handler.answers == []
    for candid, (_, value) in enumerate(found, 1):
        zero, number = struct.unpack(">BI", value[:5])
        schema = json.loads(handler.subjects[list(handler.subjects)[number - 100]])
        told: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
        assert (zero, told["candid"], told["reason"]) == (0, candid, "recent")
        assert schema["fields"][-1]["doc"]
    assert len(fit[1]) < 200


def test_a_registrys_password_goes_out_by_https_only() -> None:
    output = KafkaOutput.model_validate(settings_tree([], {})["kafka"]["output"] | {"schemas": "registry", "registry": "http://x.org", "registry_username": "u", "registry_password": "p"})  # fmt: skip
    with pytest.raises(ConfigError, match="https"):
        encoding_of(output)
    assert "registry_password='(not shown)'" in repr(output)


def test_a_schema_that_the_registry_refuses_is_told(outbox: Outbox, kafka: str, survey_name: str, registry: tuple[str, type[Registry]]) -> None:  # fmt: skip
    url, handler = registry
    handler.answers[:] = [422]
    outbox.add([extragalactic_entry(alert_of(survey_name, 1), CANDIDATE, NOW)])
    assert ResultPublisher(outbox, kafka, {}, Registered(url)).send_some() == 0
    (failed,) = outbox.latest("failed", 10)
    assert "422" in failed["error"]["message"]


def test_the_settings_must_go_together() -> None:
    whole = settings_tree([], {})["kafka"]["output"]
    assert KafkaOutput.model_validate(whole).topics.any is False
    for wrong in (
        {"registry": "https://x.org", "registry_username": "u"},
        {"registry": "https://u:p@x.org"},
        {"schemas": "registry"},
        {"raw": True},
        {"schemas": "none"},
        {"topics": {"retention_ms": 1}},
    ):
        with pytest.raises(ValueError, match="validation error"):
            KafkaOutput.model_validate(whole | wrong)


# packets


def output_of(kafka: str) -> KafkaOutput:
    return KafkaOutput.model_validate(
        settings_tree([], {})["kafka"]["output"] | {"bootstrap.servers": kafka, "raw": True}
    )


def made(*object_ids: str) -> list[Alert]:
    records = [ztf_record(candid, object_id) for candid, object_id in enumerate(object_ids, 1)]
    return read_batch(ztf_packets(records), SURVEY)[0]


def test_packets_are_told_as_they_came(kafka: str, survey_name: str) -> None:
    stream, alerts = RawStream(survey_name, output_of(kafka)), made("ZTF1", "ZTF2", "ZTF1")
    stream.begin(alerts)
    stream.finish()
    found = messages(kafka, f"kowalski.{survey_name.lower()}.raw", 3)
    assert sorted(found) == sorted((alert.object_id, alert.packet.data) for alert in alerts)
    assert [key for key, _ in found if key == "ZTF1"] == ["ZTF1", "ZTF1"]


def test_while_nobody_takes_them_the_batch_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_module, "DELIVERY", 0.5)
    monkeypatch.setitem(raw_module.SETTINGS, "message.timeout.ms", 500)
    (nobody,) = free_ports(1)
    stream = RawStream("ZTF", output_of(f"127.0.0.1:{nobody}"))
    stream.begin(made("ZTF1"))
    with pytest.raises(OutputUnavailable, match="kowalski.ztf.raw: "):
        stream.finish()
    assert OutputUnavailable.retriable


def test_a_packet_that_is_too_large_keeps_no_other_waiting(kafka: str, survey_name: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setitem(raw_module.SETTINGS, "message.max.bytes", 100_000)
    stream, alerts = RawStream(survey_name, output_of(kafka)), made("ZTF1", "ZTF2")
    alerts[0].packet = replace(alerts[0].packet, data=bytes(200_000))
    stream.begin(alerts)
    stream.finish()
    assert [key for key, _ in messages(kafka, f"kowalski.{survey_name.lower()}.raw", 1)] == ["ZTF2"]


def test_a_worker_tells_what_it_has_stored_once(kafka: str, mongo_settings: Database, mongo: MongoDatabase) -> None:
    tree = settings_tree([], {})
    tree["ml"] |= {"ZTF": {"models": {}}}
    tree["kafka"]["output"] |= {"bootstrap.servers": kafka, "raw": True}
    worker = AlertWorker(SURVEY, build(tree).model_copy(update={"database": mongo_settings}))
    worker.raw = RawStream(name := f"S{uuid4().hex[:8]}", output_of(kafka))
    batch = ztf_packets([ztf_record(candid, f"ZTF{candid}") for candid in (1, 2)])
    copy = replace(batch[0], offset=9)
    report = worker.process(batch)
    assert "raw" in report.seconds
    worker.process([copy])  # another message: known
    worker.process(ztf_packets([ztf_record(3, "ZTF3")]), posting=False)
    worker.process([batch[1]])  # the same message: it may have been left undone
    found = messages(kafka, f"kowalski.{name.lower()}.raw", 3)
    assert [key for key, _ in found] == ["ZTF1", "ZTF2", "ZTF2"]
    assert found[0][1] == batch[0].data
    assert mongo["ZTF_alerts"].count_documents({}) == 3


# the page on streams


def test_the_consumer_of_the_page_works_as_pasted(outbox: Outbox, kafka: str) -> None:
    (example,) = re.findall(
        r"^```python\n(import io\n.*?)^```$", (ROOT / "docs" / "streams.md").read_text(), re.M | re.S
    )
    assert "kafka.example.org:9092" in example
    group = f'"group.id": "{uuid4().hex}"'
    candid = int(uuid4().int % 10**15)
    outbox.add([extragalactic_entry(alert_of("ZTF", candid), CANDIDATE, NOW)])
    send(outbox, kafka)
    code = example.replace("kafka.example.org:9092", kafka).replace('"group.id": "me"', group)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        try:
            lines = (line for line in reader.stdout if str(candid) in line)
            assert next(lines) == f"object{candid} {candid} recent first seen 3 d before\n"
        finally:
            reader.kill()
