"""Notices: one Avro message for each file of packets that was closed, on the Kafka of ``kafka.output``."""

import io
from collections.abc import Mapping
from typing import Any

import fastavro
from confluent_kafka import KafkaException, Producer

from kowalski.errors import ArchiveUnavailable
from kowalski.kafka_errors import Reports
from kowalski.outbox.publisher import SETTINGS

FIELDS: list[dict[str, Any]] = [
    {"name": "survey", "type": "string"},
    {"name": "night", "type": "string", "doc": "YYYYMMDD"},
    {"name": "path", "type": "string", "doc": "below the archive's root"},
    {"name": "url", "type": ["null", "string"], "doc": "in the remote store, where there is one"},
    {"name": "packets", "type": "long", "doc": "messages in it, each counted once"},
    {"name": "records", "type": "long", "doc": "entries of its index"},
    {"name": "bytes", "type": "long"},
    {"name": "sha256", "type": "string"},
    {"name": "closed_at", "type": "string", "doc": "ISO 8601, UTC"},
]
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "PacketFile",
        "namespace": "kowalski.archive",
        "doc": "A file of packets that was closed",
        "fields": FIELDS,
    }
)
#: s that Kafka has to take one
DELIVERY = 30.0


class Notices:
    """Sends notices; each is delivered at least once."""

    def __init__(self, topic: str, servers: str, options: Mapping[str, Any]):
        self._topic, self._servers = topic, servers
        self._reports = Reports("kafka.output")
        self._producer = Producer({**SETTINGS, "error_cb": self._reports, **options, "bootstrap.servers": servers})

    def topic_of(self, survey: str) -> str:
        """Where a survey's notices go."""
        return self._topic.replace("{survey}", survey.lower())

    def send(self, seal: Mapping[str, Any]) -> str:
        """Kafka has the notice of a file; its topic.

        Raises
        ------
        ArchiveUnavailable : not now
        """
        topic = self.topic_of(seal["survey"])
        failures: list[str] = []
        taken: list[bool] = []

        def told(error: Any, _: Any) -> None:
            failures.append(error.str()) if error is not None else taken.append(True)

        try:
            self._producer.produce(topic, encoded(seal), key=seal["path"].encode(), on_delivery=told)
            self._producer.flush(DELIVERY + 1)
        except (KafkaException, BufferError) as error:
            failures.append(str(error))
        if not taken:
            why = failures[0] if failures else f"no answer within {DELIVERY:.0f} s"
            raise ArchiveUnavailable(
                f"the notice of {seal['path']} was not taken by topic {topic} at {self._servers}: {why}"
            )
        return topic


def encoded(seal: Mapping[str, Any]) -> bytes:
    """A notice as a container file of one record, as packets are."""
    file = io.BytesIO()
    record = {field["name"]: seal.get(field["name"]) for field in FIELDS} | {"url": seal["uploaded"]}
    fastavro.writer(file, SCHEMA, [record])
    return file.getvalue()
