"""What is seen of a survey's night: in Kafka, in the brokers' signs of life, in the outbox and in the ledger."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase
from kowalski.database.nights import Night
from kowalski.database.outbox import Outbox
from kowalski.database.processes import Processes
from kowalski.errors import ConfigError, SourceError
from kowalski.night.course import Sight, State, unfinished
from kowalski.night.darkness import Darkness, darkness
from kowalski.night.dates import night_from
from kowalski.night.ledger import books_of
from kowalski.settings import Config
from kowalski.streams import consumer_settings

#: s that Kafka has for an answer
TIMEOUT = 10.0


class Stream(NamedTuple):
    """A night in Kafka.

    Attributes
    ----------
    topics : those that exist
    messages : how many it has got
    lag : how many of them are not committed by the survey's group
    """

    topics: tuple[str, ...]
    messages: int
    lag: int


class Lookout:
    """Looks at the nights of one survey; it reads no message, and belongs to no group."""

    def __init__(self, survey: Survey, config: Config, database: MongoDatabase):
        self.survey, self._config, self._database = survey, config, database
        self._dark: dict[str, Darkness] = {}
        self._processes, self._outbox = Processes(database), Outbox(database)
        try:
            self._consumer = Consumer(consumer_settings(survey, config, test=False, group=None))
        except KafkaException as error:
            raise ConfigError(f"kafka.{survey.name}: {error.args[0].str()}") from None

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def darkness(self, night: str) -> Darkness:
        """When that night is dark at the survey's site; of a survey without one, from noon to noon."""
        if night not in self._dark:
            noons, site = self.survey.noons_around(night_from(night)), self.survey.site
            self._dark[night] = darkness(site, noons, self._config.night.dark_below) if site else Darkness(*noons)
        return self._dark[night]

    def stream(self, night: str) -> Stream:
        """What Kafka has of a night.

        Raises
        ------
        SourceError : it gives no answer
        """
        date_ = night_from(night)
        try:
            partitions = self._partitions(date_)
            messages = lag = 0
            committed = self._consumer.committed(partitions, timeout=TIMEOUT) if partitions else []
            begins = self._begins(partitions, date_)
            for place in committed:
                low, high = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT)
                begin = begins.get((place.topic, place.partition), 0)
                messages += max(high - begin, 0)
                lag += high - max(place.offset, low)
        except KafkaException as error:
            raise SourceError(f"kafka: how far {self.survey.name} is read can't be known: {error.args[0].str()}", retriable=True) from None  # fmt: skip
        return Stream(tuple(sorted({each.topic for each in partitions})), messages, lag)

    def _partitions(self, night: date) -> list[TopicPartition]:
        known = self._consumer.list_topics(timeout=TIMEOUT).topics
        found = (topic for name, topic in known.items() if re.match(self.survey.topics_of([night]), name))
        return [TopicPartition(topic.topic, number) for topic in found for number in topic.partitions]

    def _begins(self, partitions: list[TopicPartition], night: date) -> dict[tuple[str, int], int]:
        """Where a night begins in topics that have all nights; nothing where each night has its own."""
        if not partitions or self.survey.night_of(partitions[0].topic) is not None:
            return {}
        noon = round(self.survey.noons_around(night)[0].timestamp() * 1000)
        wanted = [TopicPartition(each.topic, each.partition, noon) for each in partitions]
        found = self._consumer.offsets_for_times(wanted, timeout=TIMEOUT)
        # -1: no message is as young
        return {(each.topic, each.partition): each.offset if each.offset >= 0 else 1 << 62 for each in found}

    def look(self, night: Night, stream: Stream) -> Sight:
        """What is seen of a night now; its ledger is made up only where all else is finished."""
        dark = self.darkness(night.night)
        alive = [each for each in self._processes.alive() if each["program"] == "alert-broker" and each["survey"] == self.survey.name]  # fmt: skip
        sight = Sight(
            now=datetime.now(UTC),
            begins=dark.begins,
            ends=dark.ends,
            closes=self.survey.noons_around(night_from(night.night))[1],
            messages=stream.messages,
            grew_at=night.grew_at,
            lag=stream.lag,
            under_way=sum(each.get("under_way", 0) for each in alive),
            outbox=self._outbox.waiting_of(stream.topics),
            stopped=night.stopped,
            drained_since=night.since if night.state == State.DRAINING else None,
        )
        if night.state == State.DRAINING and unfinished(sight) is None:
            return replace(sight, balance=self.balance(night.night))
        return sight

    def balance(self, night: str) -> int:
        """How many messages of a night are unaccounted for."""
        books = books_of(night, self._database, self._config.kafka.topics)
        return sum(account.balance for account in books.accounts if account.survey == self.survey.name)
