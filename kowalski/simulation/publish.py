"""Packets to Kafka: topics made as needed, a bounded queue, and no failure that goes unnoticed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kowalski.config import ROOT
from kowalski.errors import StreamError

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
SUFFIXES = (".avro", ".wire")

SETTINGS: dict[str, Any] = {
    "message.max.bytes": MAX_MESSAGE_BYTES,
    "queue.buffering.max.messages": 10_000,
    "queue.buffering.max.kbytes": 128 * 1024,
    "linger.ms": 20,
    # a retried packet is neither doubled nor overtaken
    "enable.idempotence": True,
    # longer than a killed Kafka takes to come back
    "message.timeout.ms": 120_000,
}
"""librdkafka settings of the producer."""

CONNECTION: dict[str, Any] = {
    # what fails is said once, by an error, instead of a line on stderr for each of 20 attempts a second
    "log_level": 0,
    "reconnect.backoff.ms": 500,
}
"""librdkafka settings of each connection."""

TOPIC_SECONDS = 30.0
"""How long Kafka may take to make a topic, s."""


class Publisher:
    """Sends packets to topics of one Kafka, each exactly once or not without an error; use it in a ``with``.

    Parameters
    ----------
    bootstrap : Kafka's addresses, ``host:port,host:port``
    partitions : of the topics that it makes
    settings : librdkafka settings beside `SETTINGS`

    Raises
    ------
    StreamError : from any method: a topic or a packet was refused, or could not be delivered in time; the text names it
    """

    def __init__(self, bootstrap: str, partitions: int = 1, settings: Mapping[str, Any] | None = None):
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.sent = 0
        self._settings = {**CONNECTION, **(settings or {}), "bootstrap.servers": bootstrap}
        self._producer = Producer({**SETTINGS, **self._settings})
        self._topics: set[str] = set()
        self._failure: str | None = None

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.purge()

    def make_topic(self, topic: str) -> None:
        """The topic exists afterwards; one that was there keeps its partitions."""
        if topic not in self._topics:
            _make_topic(topic, self.partitions, self._settings)
            self._topics.add(topic)

    def connect(self, topic: str) -> None:
        """Know who leads a topic and be connected, so that the first packet goes at once."""
        self.make_topic(topic)
        try:
            self._producer.list_topics(topic, TOPIC_SECONDS)
        except KafkaException as error:
            raise StreamError(f"topic {topic} can't be looked up at {self.bootstrap}: {error.args[0].str()}") from error

    def send(self, topic: str, packet: bytes, name: str) -> None:
        """Queue one packet, waiting while the queue is full; ``name`` stands for it in errors."""
        self.make_topic(topic)
        while not self._queued(topic, packet, name):
            self._producer.poll(0.5)
            self._check()
        self._producer.poll(0)
        self._check()
        self.sent += 1

    def flush(self) -> None:
        """Wait until all that was queued is delivered."""
        while self._producer.flush(1):
            self._check()
        self._check()

    def _queued(self, topic: str, packet: bytes, name: str) -> bool:
        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None and self._failure is None:
                self._failure = f"{name} was not delivered to topic {topic} at {self.bootstrap}: {error.str()}"

        try:
            self._producer.produce(topic, packet, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as error:
            detail = error.args[0].str()
            raise StreamError(f"{name} ({len(packet)} bytes) was refused by topic {topic}: {detail}") from error
        return True

    def _check(self) -> None:
        if self._failure is not None:
            raise StreamError(self._failure)


def publish(packets: Iterable[bytes], topic: str, bootstrap: str, partitions: int = 1, **settings: Any) -> int:
    """Deliver all packets to a topic, which is made if missing; their number.

    Raises
    ------
    StreamError : the topic can't be made, or a packet was not delivered; the text names it by its place
    """
    with Publisher(bootstrap, partitions, settings) as publisher:
        publisher.make_topic(topic)
        for place, packet in enumerate(packets):
            publisher.send(topic, packet, f"packet {place}")
    return publisher.sent


def _make_topic(topic: str, partitions: int, settings: Mapping[str, Any]) -> None:
    bootstrap = settings["bootstrap.servers"]
    admin = AdminClient(dict(settings))  # named, as it gives up when it is collected
    [made] = admin.create_topics([NewTopic(topic, partitions)], request_timeout=TOPIC_SECONDS).values()
    try:
        made.result(timeout=TOPIC_SECONDS + 5)
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise StreamError(f"topic {topic} can't be made at {bootstrap}: {reason.str()}") from error
    except TimeoutError as error:
        raise StreamError(f"topic {topic} can't be made: no Kafka answers at {bootstrap}") from error


def packet_files(path: str | Path) -> list[Path]:
    """The packets of a folder and its subfolders, sorted by name: ``.avro`` files and raw ``.wire`` messages.

    ``path`` is absolute, or under ``data/`` of the repository.

    Raises
    ------
    StreamError : there is no such folder, or no packet in it
    """
    folder = ROOT / "data" / path  # an absolute path stays itself
    if not folder.is_dir():
        raise StreamError(f"no folder {folder}: give one that exists, absolute or under {ROOT / 'data'}")
    files = sorted((file for file in folder.rglob("*") if file.suffix in SUFFIXES), key=lambda file: file.name)
    if not files:
        raise StreamError(f"no packets in {folder}: files ending in {' or '.join(SUFFIXES)} are looked for")
    return files
