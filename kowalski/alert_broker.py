"""The broker of one survey: Kafka to batches, batches to the survey's dask cluster, offsets committed once all is stored."""

import argparse
import signal
import time
from datetime import UTC, date, datetime
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from kowalski import broker_metrics
from kowalski.alerts.decode import Packet
from kowalski.alerts.marks import Marks
from kowalski.alerts.offsets import OffsetTracker, Partition
from kowalski.alerts.survey import Survey
from kowalski.batch_report import BatchReport
from kowalski.config import load_config
from kowalski.database.alerts import Alerts
from kowalski.database.client import connect
from kowalski.database.filter_runs import FilterRuns
from kowalski.database.filters import Filters
from kowalski.database.latencies import LatencyCounts
from kowalski.database.ledger import Ledger, Stand
from kowalski.database.links import Links
from kowalski.database.objects import Objects
from kowalski.database.outbox import Outbox
from kowalski.database.passes import Passes
from kowalski.database.processes import Processes
from kowalski.database.quarantine import Quarantine
from kowalski.database.quarantined import Quarantined
from kowalski.delayed import Delayed
from kowalski.dispatcher import Dispatcher
from kowalski.errors import ConfigError, DatabaseError, DatabaseUnavailable
from kowalski.latency import Latencies
from kowalski.log import get_logger
from kowalski.night.continuity import Continuity
from kowalski.program import once_available, run_program
from kowalski.settings import Config
from kowalski.streams import consumer_settings, latest_topics, night_argument, start_argument
from kowalski.telemetry import span

log = get_logger(__name__)

BEAT_INTERVAL = 1.0
#: s between looks how full quarantine is
QUARANTINE_INTERVAL = 30.0
#: s that a reader waits for a message; also the time in which results are looked after
POLL_TIMEOUT = 0.05
#: s after which reading pauses while no batch may begin: Kafka has to be polled now and then, and to read again takes a while, for a
#: pause throws away what was fetched
PAUSE_AFTER = 2.0
#: alerts of a batch while nothing is under way
FIRST_BATCH = 8
#: s for batches under way to end when partitions are taken away or the broker stops
DRAIN_TIMEOUT = 20.0


class AlertConsumer:
    """Reads a survey's streams in batches and sees each through.

    Parameters
    ----------
    topic : one topic instead of those of the last nights
    obsdate : one night instead of the last ones
    start : where to begin instead of at the stored offsets
    test : use ``kafka.bootstrap.test.servers``
    group : consumer group instead of the survey's
    posting, resume : as `AlertWorker.process` takes them
    """

    def __init__(
        self,
        survey: Survey,
        config: Config,
        topic: str | None = None,
        obsdate: date | None = None,
        start: str | datetime | None = None,
        test: bool = False,
        group: str | None = None,
        posting: bool = True,
        resume: bool = True,
    ):
        self.survey, self.config = survey.with_topic(config.kafka.topics.get(survey.name)), config
        self.topic, self.obsdate, self.start = topic, obsdate, start
        self.database = connect(config.database)
        self.processes = Processes(self.database)
        self.offsets = OffsetTracker()
        self.ledger = Ledger(self.database)
        self.marks = Marks(self.survey)
        self.stopping = False
        self.subscribed: str | None = None
        self.paused = False
        self._full_since: float | None = None
        settings = consumer_settings(survey, config, test, group)
        try:
            self.consumer = Consumer(settings)
        except KafkaException as error:
            raise ConfigError(f"kafka.{survey.name}: {error.args[0].str()}") from None
        self.continuity = Continuity(self.consumer, self.survey, settings["auto.offset.reset"])
        self.latencies = Latencies(LatencyCounts(self.database))
        broker_metrics.begin(survey.name)
        self.quarantined = Quarantined(self.database)
        self._figures = Delayed(QUARANTINE_INTERVAL, self._look_at_quarantine)
        self.dispatcher = Dispatcher(survey.name, config, posting, resume, told=self._told)
        self._due: dict[str, float] = {}

    def prepare(self) -> None:
        """The survey's collections have their indexes, once MongoDB can be reached."""
        if not self.config.database.build_indexes:
            return
        rooms: tuple[Any, ...] = (
            Alerts(self.database, self.survey),
            Objects(self.database, self.survey),
            Links(self.database),
            Filters(self.database, self.database),
            FilterRuns(self.database),
            Quarantine(self.database, self.config.broker.inline_quarantine_bytes),
            Outbox(self.database),
            *([Passes(self.database)] if self.config.tables.enabled else []),
            LatencyCounts(self.database),
            self.ledger,
            self.processes,
        )
        for room in rooms:
            once_available(room.ensure_indexes, lambda: self.stopping)

    def run(self) -> None:
        """Read, submit, acknowledge, until `stopping` is set; then finish what is under way and leave."""
        try:
            while not self.stopping:
                self.step()
            self._drain()
        finally:
            self.close()

    def stop(self) -> None:
        """Make `run` return after what is under way; safe to call from a signal handler."""
        self.stopping = self.dispatcher.stopping = True

    def close(self) -> None:
        """Commit what is stored and leave Kafka and the cluster."""
        self._commit(asynchronous=False)
        self.latencies.flush()
        self._leave()
        self.consumer.close()
        self.dispatcher.close()

    def step(self) -> None:
        """One turn: take in results, submit what may be, commit and say how things stand."""
        self._subscribe()
        self._acknowledge(timeout=0)
        if self.dispatcher.full:
            self._full_since = self._full_since or time.monotonic()
            if time.monotonic() > self._full_since + PAUSE_AFTER:
                self._pause(True)
                if packet := self._handle(self.consumer.poll(0)):  # one that was on its way when reading paused
                    self._begin([packet])
            self._acknowledge(timeout=POLL_TIMEOUT)
        else:
            self._full_since = None
            self._pause(False)
            if packets := self._read():
                self._begin(packets)
        if self._is_due("commit", self.config.broker.commit_interval):
            self._commit(asynchronous=True)
        if self._is_due("beat", BEAT_INTERVAL):
            self._beat()
        if self._is_due("rematch", self.config.broker.rematch_interval):
            self.dispatcher.rematch()

    def _begin(self, packets: list[Packet]) -> None:
        self.offsets.started(((packet.topic, packet.partition), packet.offset) for packet in packets)
        with span("read", since=packets[0].received, survey=self.survey.name, alerts=len(packets)) as here:
            self.dispatcher.begin(packets, here.context)

    def _acknowledge(self, timeout: float) -> None:
        for batch in self.dispatcher.finished(timeout):
            self.offsets.finished(batch.messages)
            for packet in batch.packets:
                self.marks.add("acknowledged", packet)

    # reading -----------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        """Follow the topics of the last nights; looked at anew when the day changes."""
        pattern = self.topic or self._pattern()
        if pattern != self.subscribed:
            self.consumer.subscribe([pattern], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
            self.subscribed = pattern
            log.info("reading %s", pattern)

    def _pattern(self) -> str:
        if self.obsdate:
            return self.survey.topics_of([self.obsdate])
        return latest_topics(self.survey, self.config.kafka.nights, datetime.now(UTC).date())

    def _read(self) -> list[Packet]:
        """What is queued now, up to a batch; waits a moment only when nothing is.

        The first batches of a burst are small, each as twice what is under way, so that its first alerts need not wait for many others.
        """
        broker = self.config.broker
        most = min(broker.batch_size, max(FIRST_BATCH, 2 * self.offsets.under_way))
        packets: list[Packet] = []
        size = 0
        message = self.consumer.poll(0.005 if self.dispatcher.busy else POLL_TIMEOUT)
        while message is not None:
            packet = self._handle(message)
            if packet is not None:
                packets.append(packet)
                size += len(packet.data)
                if len(packets) >= most or size >= broker.batch_bytes:
                    break
            message = self.consumer.poll(0)
        return packets

    def _handle(self, message: Message | None) -> Packet | None:
        """The packet of a message; what Kafka reports instead of one is logged."""
        if message is None:
            return None
        if error := message.error():
            if error.code() != KafkaError._PARTITION_EOF:
                log.warning("kafka: %s", error.str())
            return None
        stamp = message.timestamp()[1] / 1000
        packet = Packet(
            message.value() or b"",
            message.topic() or "",
            message.partition() or 0,
            message.offset() or 0,
            datetime.fromtimestamp(stamp, UTC),
            received=datetime.now(UTC) if self.start is None else None,
        )
        self.continuity.look(packet)
        return packet

    def _pause(self, wanted: bool) -> None:
        """Stop or go on fetching without leaving the group."""
        if wanted != self.paused:
            assigned = self.consumer.assignment()
            (self.consumer.pause if wanted else self.consumer.resume)(assigned)
            self.paused = wanted

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self.start is None:
            self.continuity.begin(partitions)
        else:
            partitions = self._from_start(consumer, partitions)
            self.continuity.begin_elsewhere(partitions)
        consumer.assign(partitions)
        log.info("assigned %s", ", ".join(f"{each.topic}[{each.partition}]" for each in partitions) or "nothing")

    def _from_start(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The partitions at the position asked for on the command line."""
        if isinstance(self.start, datetime):
            stamp = int(self.start.timestamp() * 1000)
            return list(
                consumer.offsets_for_times([TopicPartition(p.topic, p.partition, stamp) for p in partitions], 10)
            )
        offset = OFFSET_BEGINNING if self.start == "earliest" else OFFSET_END
        return [TopicPartition(each.topic, each.partition, offset) for each in partitions]

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions go to another broker: end what is under way, commit it, and let them go."""
        self._drain()
        self._commit(asynchronous=False)
        self._lost(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._pause(False)  # librdkafka remembers a pause across a rebalance
        self.offsets.give_up((each.topic, each.partition) for each in partitions)

    def _drain(self) -> None:
        """Wait for what is under way, within reason; what isn't done by then comes again from Kafka."""
        deadline = time.monotonic() + DRAIN_TIMEOUT
        while self.dispatcher.busy and time.monotonic() < deadline:
            self._acknowledge(timeout=POLL_TIMEOUT)

    # figures -----------------------------------------------------------------------------------------------------

    def _keep_books(self) -> None:
        """The ledger has what is done and what was passed over, before Kafka is told."""
        for partition, skip in self.continuity.skips:
            self.ledger.skip(self.survey.name, partition, [skip])
        self.continuity.skips.clear()
        self.ledger.add(self.marks)
        self.marks.clear()
        if self.start is None:
            self.ledger.stand(self.survey.name, self._stands())

    def _stands(self) -> dict[Partition, Stand]:
        """How far the partitions that were read are done, and how far they go, as far as known without asking Kafka."""
        stands = {}
        for (topic, partition), position in self.offsets.positions().items():
            _, high = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True) or (0, 0)
            stands[topic, partition] = Stand(position, max(high, position))
        return stands

    def _commit(self, asynchronous: bool) -> None:
        offsets = self.offsets.to_commit() if asynchronous else self.offsets.positions()
        if not offsets and not self.marks:
            return
        try:
            self._keep_books()
        except DatabaseUnavailable as error:
            log.warning("%s: nothing is committed to Kafka until it can be", error)
            return
        if not offsets:
            return
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            if asynchronous:
                self.consumer.commit(offsets=positions, asynchronous=True)
            else:
                self.consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            log.warning("offsets not committed, tried again later: %s", error)
        else:
            self.offsets.committed(offsets)

    def _beat(self) -> None:
        report, lags, under_way = self.dispatcher.report, self._lags(), self.offsets.under_way
        broker_metrics.stand(self.survey.name, lags, under_way, report)
        figures = broker_metrics.sign(lags, under_way, report)
        self._figures.ask()
        try:
            self.processes.beat(
                "alert-broker",
                self.survey.name,
                reading=self.subscribed,
                partitions=len(self.consumer.assignment()),
                workers=self.dispatcher.workers,
                **figures,
            )
        except DatabaseUnavailable as error:
            log.warning("%s", error)

    def _look_at_quarantine(self) -> None:
        """Show how full it is, in a thread of its own: it may take seconds."""
        try:
            broker_metrics.quarantine(self.quarantined.standing(), self.config.broker.quarantine_bytes)
        except DatabaseError as error:
            log.warning("%s", error)

    def _told(self, report: BatchReport) -> None:
        """A batch is done; how long its alerts took counts where they were read as they came."""
        broker_metrics.count(self.survey.name, report)
        if self.start is None:
            self.latencies.observe(self.survey.name, report.spans)

    def _lags(self) -> dict[Partition, int]:
        """Messages in the assigned partitions that are not read yet, as far as known without asking Kafka."""
        lags = {}
        for each in self.consumer.position(self.consumer.assignment()):
            low, high = self.consumer.get_watermark_offsets(each, cached=True) or (0, 0)
            begun = each.offset if each.offset >= 0 else self.continuity.position(each.topic, each.partition)
            lags[each.topic, each.partition] = high - max(begun, low) if high > 0 else 0
        return lags

    def _leave(self) -> None:
        try:
            self.processes.leave("alert-broker", self.survey.name)
        except DatabaseUnavailable as error:
            log.warning("left without goodbye: %s", error)

    def _is_due(self, what: str, interval: float) -> bool:
        now = time.monotonic()
        if now < self._due.setdefault(what, now + interval):
            return False
        self._due[what] = now + interval
        return True


def main(survey: Survey) -> None:
    """Run the broker of a survey from the command line until it is told to stop."""
    parser = argparse.ArgumentParser(description=f"Alert broker of {survey.name}")
    parser.add_argument("--obsdate", type=night_argument, metavar="YYYYMMDD", help="one night instead of the last ones")
    parser.add_argument("--topic", help="one topic instead of those of a night")
    parser.add_argument(
        "--from",
        dest="start",
        type=start_argument,
        metavar="earliest|latest|TIME",
        help="where to begin (ISO 8601, UTC)",
    )
    parser.add_argument("--test", action="store_true", help="read from kafka.bootstrap.test.servers")
    arguments = parser.parse_args()

    def body() -> None:
        config = load_config()
        if survey.name.lower() not in config.dask:
            raise ConfigError(f"there is no dask_{survey.name.lower()} in the settings")
        broker = AlertConsumer(survey, config, arguments.topic, arguments.obsdate, arguments.start, arguments.test)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: broker.stop())
        broker.prepare()
        broker.run()

    run_program(f"alert-broker-{survey.name.lower()}", body)
