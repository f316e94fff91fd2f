"""Packets told again as they were received, each once it is stored: the topic ``kowalski.<survey>.raw``, by objectId.

The worker sends them, as it alone knows of each packet both its bytes and its object. A batch is done when these brokers have it: while
they are away the chain waits, as it does for MongoDB, so that none is left out. A batch that comes again tells its packets again.
"""

from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from kowalski.alerts.document import Alert
from kowalski.errors import OutputUnavailable, StreamError
from kowalski.kafka_errors import Reports
from kowalski.log import get_logger
from kowalski.outbox.output import topics_of
from kowalski.output_section import KafkaOutput

log = get_logger(__name__)

#: s that the brokers have to take a batch
DELIVERY = 20.0
SETTINGS = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "message.timeout.ms": int(1000 * DELIVERY),
    "message.max.bytes": 16_777_216,
    "queue.buffering.max.kbytes": 524_288,
    "client.id": "kowalski-raw",
    "log_level": 0,
    "reconnect.backoff.ms": 500,
}


class RawStream:
    """Tells the packets of one survey again."""

    def __init__(self, survey: str, output: KafkaOutput):
        self.topic = f"kowalski.{survey.lower()}.raw"
        self._topics = topics_of(output)
        self._settings = {**SETTINGS, "error_cb": Reports("kafka.output"), **output.options, "bootstrap.servers": output.bootstrap_servers}  # fmt: skip
        self._producer: Producer | None = None
        self._reasons: list[str] = []

    def begin(self, alerts: Iterable[Alert]) -> None:
        """Have packets sent, beside what else is done; `finish` says whether they were.

        Raises
        ------
        OutputUnavailable : they can't be
        """
        try:
            self._topics.ensure([self.topic])
            producer = self._producer = self._producer or Producer(self._settings)
            for alert in alerts:
                self._produce(producer, alert)
            producer.poll(0)
        except (KafkaException, BufferError, StreamError) as error:
            raise OutputUnavailable(f"{self.topic}: {error}") from error

    def finish(self) -> None:
        """All packets that were begun have arrived.

        Raises
        ------
        OutputUnavailable : they have not; all of them are to come again
        """
        waiting = self._producer.flush(DELIVERY + 1) if self._producer else 0
        reasons, self._reasons = self._reasons, []
        if waiting or reasons:
            raise OutputUnavailable(f"{self.topic}: {reasons[0] if reasons else 'no answer'}")

    def _produce(self, producer: Producer, alert: Alert) -> None:
        def told(error: Any, _: Any) -> None:
            if error is not None and not self._too_large(error, alert):
                self._reasons.append(str(error))

        try:
            producer.produce(self.topic, alert.packet.data, key=alert.object_id.encode(), on_delivery=told)
        except KafkaException as error:
            if not self._too_large(error.args[0], alert):
                raise

    def _too_large(self, error: KafkaError, alert: Alert) -> bool:
        """Whether the brokers will never take a packet, which must not keep the others from being acknowledged."""
        if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
            return False
        log.error("%s lacks %d: its %d bytes are more than the topic takes", self.topic, alert.candid, len(alert.packet.data))  # fmt: skip
        return True
