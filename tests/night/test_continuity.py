"""Offsets that nothing was read of, by a real Kafka that removes messages."""

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.decode import Packet
from kowalski.database.ledger import EMPTY, EXPIRED, PASSED_OVER, Skip
from kowalski.night import continuity as continuity_module
from kowalski.night.continuity import Continuity

NIGHT = "20261126"


class Stream:
    """A topic of one partition, and a consumer of a group that reads it."""

    def __init__(self, address: str):
        self.address, self.topic = address, f"ztf_{NIGHT}_programid1_{uuid4().hex[:8]}"
        self.where = TopicPartition(self.topic, 0)
        self.admin = AdminClient({"bootstrap.servers": address})
        self.admin.create_topics([NewTopic(self.topic, 1)])[self.topic].result(20)
        self.group = uuid4().hex
        self.consumers: list[Consumer] = []

    def produce(self, number: int, **settings: str) -> None:
        producer = Producer({"bootstrap.servers": self.address, **settings})
        if settings:
            producer.init_transactions(20)
            producer.begin_transaction()
        for _ in range(number):
            producer.produce(self.topic, b"x")
        if settings:
            producer.commit_transaction(20)
            end = time.monotonic() + 30
            while self.consumer().get_watermark_offsets(self.where, timeout=10)[1] <= number:  # its end comes by itself
                assert time.monotonic() < end
                time.sleep(0.05)
        assert producer.flush(20) == 0

    def expire(self, before: int) -> None:
        """Kafka removes the messages before an offset."""
        where = TopicPartition(self.topic, 0, before)
        self.admin.delete_records([where])[where].result(20)

    def consumer(self, reset: str = "earliest") -> Consumer:
        settings = {"bootstrap.servers": self.address, "group.id": self.group, "auto.offset.reset": reset, "enable.auto.commit": False}  # fmt: skip
        self.consumers.append(Consumer(settings))
        return self.consumers[-1]

    def commit(self, offset: int) -> None:
        self.consumer().commit(offsets=[TopicPartition(self.topic, 0, offset)], asynchronous=False)

    def skips(self, reset: str, messages: int) -> list[Skip]:
        """What is passed over by who reads on from where the group is, up to so many messages."""
        consumer = self.consumer(reset)
        survey = SURVEY.with_topic(r"ztf_{date}_programid1_.*")
        continuity = Continuity(consumer, survey, reset)
        continuity.begin([self.where])
        consumer.assign([self.where])
        end = time.monotonic() + 30
        while messages:
            assert time.monotonic() < end
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                continuity.look(Packet(b"", self.topic, 0, message.offset() or 0))
                messages -= 1
        assert all(partition == (self.topic, 0) for partition, _ in continuity.skips)
        return [skip for _, skip in continuity.skips]


@pytest.fixture
def stream(kafka: str) -> Iterator[Stream]:
    made = Stream(kafka)
    yield made
    for consumer in made.consumers:
        consumer.close()


def test_a_stream_read_from_its_beginning_has_no_gap(stream: Stream) -> None:
    stream.produce(10)
    assert stream.skips("earliest", 10) == []


def test_messages_that_expired_are_a_gap(stream: Stream) -> None:
    """The broker was away while Kafka removed what it had not read; whatever is left, and if nothing is."""
    stream.produce(10)
    stream.commit(2)
    stream.expire(5)
    assert stream.skips("earliest", 5) == [Skip(2, 5, EXPIRED, NIGHT)]
    stream.expire(10)
    assert stream.skips("earliest", 0) == [Skip(2, 10, EXPIRED, NIGHT)]


def test_messages_that_expired_before_the_first_reading_are_a_gap(stream: Stream) -> None:
    stream.produce(6)
    stream.expire(4)
    assert stream.skips("earliest", 2) == [Skip(0, 4, EXPIRED, NIGHT)]


def test_offsets_without_a_message_are_no_gap(stream: Stream) -> None:
    """The end of a transaction takes an offset."""
    stream.produce(3, **{"transactional.id": uuid4().hex})
    stream.produce(3)
    assert stream.skips("earliest", 6) == [Skip(3, 4, EMPTY, NIGHT)]


def test_what_auto_offset_reset_passes_over_is_told(stream: Stream) -> None:
    stream.produce(5)
    consumer = stream.consumer("latest")
    continuity = Continuity(consumer, SURVEY, "latest")
    continuity.begin([stream.where])
    continuity.look(Packet(b"", stream.topic, 0, 5))
    [(_, skip)] = continuity.skips
    assert (skip.first, skip.end, skip.why) == (0, 5, PASSED_OVER)


def test_a_place_that_was_asked_for_has_nothing_missing_before_it(stream: Stream) -> None:
    stream.produce(5)
    continuity = Continuity(stream.consumer(), SURVEY, "earliest")
    continuity.begin([stream.where])
    continuity.begin_elsewhere([stream.where])
    continuity.look(Packet(b"", stream.topic, 0, 3))
    assert continuity.skips == []
    assert continuity.position(stream.topic, 0) == 4


def test_what_kafka_cannot_explain_is_neither_expired_nor_empty(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays missing in the ledger."""
    stream.produce(5)
    unreachable = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "nobody", "log_level": 0})
    stream.consumers.append(unreachable)
    monkeypatch.setattr(continuity_module, "TIMEOUT", 0.2)
    continuity = Continuity(unreachable, SURVEY, "earliest")
    continuity.begin([stream.where])
    continuity.look(Packet(b"", stream.topic, 0, 0))
    continuity.look(Packet(b"", stream.topic, 0, 3))
    assert continuity.skips == []
    assert continuity.position(stream.topic, 0) == 4
