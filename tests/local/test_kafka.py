"""The embedded Kafka: the largest packets pass through it, and what it acknowledged outlives a kill."""

import secrets
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from kowalski.config import isolated_tree
from kowalski.errors import LocalError
from kowalski.local import kafka as embedded
from kowalski.local.kafka import Kafka, jars
from kowalski.local.system import LocalSystem


def produce(servers: str, topic: str, *messages: bytes) -> None:
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 33_554_432, "acks": "all"})
    for message in messages:
        producer.produce(topic, message)
    assert producer.flush(60) == 0


def consume(servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    messages: list[bytes] = []
    while len(messages) < count:
        found = consumer.consume(count, timeout=60)
        assert found, "nothing came for a minute"
        assert [message.error() for message in found if message.error()] == []
        messages += [message.value() or b"" for message in found]
    consumer.close()
    return messages


def test_empty_and_20_mb_messages_pass(kafka: str) -> None:
    messages = [b"", secrets.token_bytes(20_000_000), b"after"]
    topic = f"size_{secrets.token_hex(4)}"
    produce(kafka, topic, *messages)
    assert consume(kafka, topic, 3) == messages


def test_what_was_acknowledged_survives_kill(services: LocalSystem, kafka: str) -> None:
    topic = f"kill_{secrets.token_hex(4)}"
    produce(kafka, topic, *(b"%d" % number for number in range(100)))
    killed = services.pid_of("kafka")
    services.kill("kafka")
    services.start(["kafka"])
    assert services.pid_of("kafka") != killed
    produce(kafka, topic, b"100")
    assert consume(kafka, topic, 101) == [b"%d" % number for number in range(101)]


def test_interrupted_format_is_repeated_with_the_same_identity(tmp_path: Path) -> None:
    version = isolated_tree()["local"]["kafka_version"]
    node = Kafka(tmp_path, 20001, 20002, version, "128m", 2**30)
    node.prepare()
    formatted = tmp_path / "data" / "meta.properties"
    before = formatted.read_text().splitlines()
    formatted.unlink()
    node.prepare()
    after = formatted.read_text().splitlines()
    assert [line for line in before if line.startswith("cluster.id=")][0] in after


def test_it_listens_on_loopback_and_bounds_its_disk(tmp_path: Path) -> None:
    version = isolated_tree()["local"]["kafka_version"]
    Kafka(tmp_path, 20001, 20002, version, "128m", 2**30).prepare()
    lines = (tmp_path / "server.properties").read_text().splitlines()
    assert "listeners=PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002" in lines
    assert "log.retention.bytes=1073741824" in lines


def test_without_network_nothing_half_made_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(version: str, folder: Path) -> list[Path]:
        (folder / "half.jar").touch()
        raise ConnectionError("no route to host")

    monkeypatch.setattr(embedded, "_resolve", unreachable)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    said: list[str] = []
    with pytest.raises(LocalError, match="can't be fetched from Maven Central .no route to host."):
        jars("4.1.1", said.append)
    assert "fetching Apache Kafka 4.1.1" in said[0]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
