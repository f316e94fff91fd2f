"""Drains the outbox's lane of Kafka: what passes filters goes out as messages, many at a time, by the poster that is active."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from prometheus_client import Counter as Metric

from kowalski.database.outbox import KAFKA, Entry, Outbox
from kowalski.errors import DatabaseError, KowalskiError
from kowalski.kafka_errors import Reports
from kowalski.log import get_logger
from kowalski.outbox.message import Encode, Message, included
from kowalski.outbox.output import Topics
from kowalski.outbox.results import messages_of
from kowalski.telemetry import CONTEXT, span

log = get_logger(__name__)

PUBLISHED = Metric("kowalski_publisher_entries", "Entries of the outbox that Kafka was told of")
LATE = Metric("kowalski_publisher_entries_postponed", "Attempts that Kafka did not acknowledge, to be made again")

#: entries sent together
BATCH = 500
#: s that Kafka has to take them, and to wait before the next try when it doesn't
DELIVERY, PAUSE = 30.0, 5.0
SETTINGS = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "compression.type": "lz4",
    "message.timeout.ms": int(1000 * DELIVERY),
    "message.max.bytes": 16_777_216,  # what of that a topic takes, its brokers say
    "client.id": "kowalski",
    "log_level": 0,
    "reconnect.backoff.ms": 500,
}


class ResultPublisher:
    """Sends entries in the order of their alerts and closes those that Kafka has acknowledged; the others come again.

    Parameters
    ----------
    encode : how records are written
    topics : makes topics that are not there yet; None: the brokers do
    """

    def __init__(
        self,
        outbox: Outbox,
        servers: str,
        options: Mapping[str, Any],
        encode: Encode = included,
        topics: Topics | None = None,
    ):
        self._outbox = outbox
        self._encode = encode
        self._topics = topics
        self._reports = Reports("kafka.output")
        self._settings = {**SETTINGS, "error_cb": self._reports, **options, "bootstrap.servers": servers}
        self._producer: Producer | None = None

    def run(self, active: Callable[[], bool], stopping: threading.Event, poll_interval: float) -> None:
        """Send what there is, as long as this process is the active one, until told to stop."""
        while not stopping.is_set():
            wait = poll_interval
            try:
                if active() and self.send_some():
                    wait = 0.0
            except DatabaseError as error:
                log.warning("%s", error)
                wait = PAUSE
            except (KafkaException, BufferError, KowalskiError) as error:
                log.warning("Kafka takes no results: %s", error)
                wait = PAUSE
            stopping.wait(wait)

    def send_some(self) -> int:
        """Send a batch; how many entries were delivered."""
        entries = self._outbox.pending_in(KAFKA, datetime.now(UTC), BATCH)
        if not entries:
            return 0
        messages = list(self._messages(entries))
        waiting = Counter(entry for message in messages for entry in message.entries)
        reasons: list[str] = []
        too_large: list[Message] = []

        def told(message: Message) -> Callable[[Any, Any], None]:
            def acknowledged(error: Any, _: Any) -> None:
                if error is None:
                    waiting.subtract(message.entries)
                elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    too_large.append(message)
                else:
                    reasons.append(f"{message.topic}: {error}")

            return acknowledged

        if self._topics is not None:
            self._topics.ensure(message.topic for message in messages)
        began, started = time.monotonic(), datetime.now(UTC)
        producer = self._producer = self._producer or Producer(self._settings)
        for message in messages:
            try:
                producer.produce(message.topic, message.value, key=message.key.encode(), on_delivery=told(message))
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                too_large.append(message)
        producer.flush(DELIVERY + 1)
        # they were published together: each batch that made some has the same span
        for context in {entry[CONTEXT] for entry in entries if CONTEXT in entry}:
            with span("publish", context, since=started) as here:
                here.note(entries=len(entries))
        for message in too_large:
            if self._is_too_large(message, producer):
                self._give_up(message)
                for entry in message.entries:
                    waiting.pop(entry, None)
            else:
                waiting.subtract(message.entries)
        delivered = [entry for entry, number in waiting.items() if number == 0]
        self._outbox.deliver(delivered)
        PUBLISHED.inc(len(delivered))
        if late := [entry for entry, number in waiting.items() if number > 0]:
            reason = reasons[0] if reasons else f"no answer within {DELIVERY:.0f} s"
            reason = ": ".join(filter(None, (reason, self._reports.since(began))))
            LATE.inc(len(late))
            log.warning("%d results wait: %s", len(late), reason)
            self._outbox.postpone(late, _told(reason), PAUSE)
        return len(delivered)

    def _is_too_large(self, message: Message, producer: Producer) -> bool:
        """Whether the brokers refuse a message by itself, too; several that are sent together may be too large together. Else it has arrived.

        Raises
        ------
        KafkaException : there is no answer
        """
        errors: list[KafkaError | None] = []
        try:
            producer.produce(
                message.topic,
                message.value,
                key=message.key.encode(),
                on_delivery=lambda error, _: errors.append(error),
            )
        except KafkaException as refusal:
            errors.append(refusal.args[0])
        producer.flush(DELIVERY + 1)
        if not errors:
            raise KafkaException(f"{message.topic}: no answer")
        (error,) = errors  # which must not be compared with None by ==
        if error is not None and error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
            raise KafkaException(error)
        return error is not None

    def _give_up(self, message: Message) -> None:
        """A message that its topic will never take is closed as failed: it must not keep those behind it waiting."""
        reason = f"{message.topic}: its {len(message.value)} bytes are more than Kafka takes (max.message.bytes of the topic)"
        log.error("%s: closed as failed: %s", message.entries[0], reason)
        self._outbox.fail(message.entries, _told(reason))

    def _messages(self, entries: list[Entry]) -> Iterator[Message]:
        """The messages of some entries, which are sorted by alert."""
        for _, group in groupby(entries, key=lambda entry: (entry["survey"], entry["candid"])):
            together = list(group)
            try:
                yield from messages_of(together, self._encode)
            except KowalskiError as error:
                if error.retriable:  # the registry is away
                    raise
                self._outbox.fail([entry["_id"] for entry in together], _told(str(error)))
            except Exception as bug:  # of one alert, as in the poster: it must not keep the others waiting, nor be lost
                log.exception("%s: closed as failed", together[0]["_id"])
                self._outbox.fail([entry["_id"] for entry in together], _told(str(bug) or type(bug).__name__))


def _told(reason: str) -> dict[str, Any]:
    return {"step": "kafka", "status": None, "message": reason, "at": datetime.now(UTC)}
