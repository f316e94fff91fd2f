"""Whether a stream is read without a gap: offsets that were passed over, and why."""

from collections.abc import Iterable
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from kowalski.alerts.decode import Packet
from kowalski.alerts.marks import night_of
from kowalski.alerts.offsets import Partition
from kowalski.alerts.survey import Survey
from kowalski.database.ledger import EMPTY, EXPIRED, PASSED_OVER, Skip
from kowalski.log import get_logger

log = get_logger(__name__)

#: s that Kafka has to say how far a partition is read, or where it begins
TIMEOUT = 5.0


class Continuity:
    """Follows the offsets of the partitions that a consumer reads.

    Attributes
    ----------
    skips : what was passed over and is not in the ledger yet
    """

    def __init__(self, consumer: Consumer, survey: Survey, reset: str):
        self.skips: list[tuple[Partition, Skip]] = []
        self._consumer, self._survey = consumer, survey
        self._reads_all = reset not in ("latest", "largest", "end")
        self._next: dict[Partition, int] = {}
        self._new: set[Partition] = set()

    def begin(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are read on from where their group has come to, or from their beginning."""
        wanted = [TopicPartition(each.topic, each.partition) for each in partitions]
        self.begin_elsewhere(wanted)
        try:
            found = self._consumer.committed(wanted, timeout=TIMEOUT) if wanted else []
        except KafkaException as error:
            log.warning("how far partitions are read can't be known, nor whether messages are missing there: %s", error)
            return
        reached = True
        for each in found:
            partition = each.topic, each.partition
            (self._new.add if each.offset < 0 else self._new.discard)(partition)
            self._next[partition] = max(each.offset, 0)
            if reached and (begins := self._begin_of(partition)) is not None:
                tonight = Packet(b"", each.topic, timestamp=datetime.now(UTC))
                self._expired(partition, begins, night_of(self._survey, tonight))
            else:  # the others would not be told either, and each attempt takes its time
                reached = False

    def begin_elsewhere(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are read from a place that was asked for: nothing before it is missing."""
        for each in partitions:
            self._next.pop((each.topic, each.partition), None)

    def position(self, topic: str, partition: int) -> int:
        """The next offset of a partition, where that is known; else 0."""
        return self._next.get((topic, partition), 0)

    def look(self, packet: Packet) -> None:
        """Take note of a message, and of the offsets before it that nothing was read of."""
        partition = packet.topic, packet.partition
        if packet.offset > self._next.setdefault(partition, packet.offset):
            self._passed_over(partition, packet)
        self._next[partition] = packet.offset + 1
        self._new.discard(partition)

    def _passed_over(self, partition: Partition, packet: Packet) -> None:
        """Note what lies between the offset that was expected and that of a message; what Kafka can't explain stays missing."""
        night = night_of(self._survey, packet)
        begins = self._begin_of(partition)
        if begins is None:
            return
        self._expired(partition, min(begins, packet.offset), night)
        if packet.offset > self._next[partition]:
            why = EMPTY if self._reads_all or partition not in self._new else PASSED_OVER
            self.skips.append((partition, Skip(self._next[partition], packet.offset, why, night)))

    def _begin_of(self, partition: Partition) -> int | None:
        """The first offset that Kafka still has; None: it can't say."""
        try:
            begins, _ = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=TIMEOUT)
        except KafkaException as error:
            log.warning("where %s[%d] begins can't be known: %s", *partition, error)
            return None
        return int(begins)

    def _expired(self, partition: Partition, begins: int, night: str) -> None:
        """Note the offsets from the expected one on that Kafka has removed, up to that with which it begins."""
        expected = self._next[partition]
        if begins > expected:
            log.error("%s[%d]: %d messages expired before they were read, from offset %d on", *partition, begins - expected, expected)  # fmt: skip
            self.skips.append((partition, Skip(expected, begins, EXPIRED, night)))
            self._next[partition] = begins
