"""One message of Kafka again, by its topic, partition and offset."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kowalski.alerts.survey import Survey
from kowalski.database.quarantine_attempt import Fetch
from kowalski.errors import StreamError
from kowalski.settings import Config
from kowalski.streams import consumer_settings

#: s that Kafka is given for an answer, and for a message that it has
PATIENCE = 30.0
#: what Kafka says of topics and partitions that it hasn't
ABSENT = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


@contextmanager
def kafka_of(survey: Survey, config: Config) -> Iterator[Fetch]:
    """Gives a message's bytes, None where Kafka hasn't got it any more; connects when first asked, and commits nothing.

    Raises
    ------
    StreamError : when asked: Kafka can't be reached, or doesn't give what it has
    """
    consumers: list[Consumer] = []

    def fetch(topic: str, partition: int, offset: int) -> bytes | None:
        if not consumers:
            settings = consumer_settings(survey, config, test=False, group=f"{config.kafka.group}_quarantine")
            consumers.append(Consumer(settings))
        try:
            return _message(consumers[0], TopicPartition(topic, partition, offset))
        except KafkaException as error:
            raise StreamError(f"{topic}:{partition}:{offset} can't be asked of Kafka: {error.args[0].str()}") from None

    try:
        yield fetch
    finally:
        for consumer in consumers:
            consumer.close()


def _message(consumer: Consumer, place: TopicPartition) -> bytes | None:
    try:
        low, high = consumer.get_watermark_offsets(place, timeout=PATIENCE)
    except KafkaException as error:
        if error.args[0].code() in ABSENT:
            return None
        raise
    if not low <= place.offset < high:
        return None
    consumer.assign([place])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if problem := message.error():
            raise KafkaException(problem)
        return message.value() or b"" if message.offset() == place.offset else None
    raise StreamError(f"Kafka doesn't give {place.topic}:{place.partition}:{place.offset} within {PATIENCE:.0f} s")
