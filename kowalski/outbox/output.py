"""Topics of our own on the Kafka that gets what we tell, made as the settings say before the first message goes there."""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from kowalski.errors import StreamError
from kowalski.kafka_errors import Reports
from kowalski.log import get_logger
from kowalski.outbox.message import Encode, Registered, included
from kowalski.output_section import KafkaOutput, OutputTopics
from kowalski.settings import required

log = get_logger(__name__)

#: s that Kafka has to make topics
PATIENCE = 20.0
#: the brokers' own default
DEFAULT = -1


class Topics:
    """Makes topics that are not there yet; those that are stay as they are.

    Parameters
    ----------
    options : librdkafka's settings, as those of the producer
    """

    def __init__(self, servers: str, options: Mapping[str, Any], settings: OutputTopics):
        self._settings = settings
        self._options = {"error_cb": Reports("kafka.output"), "log_level": 0, **options, "bootstrap.servers": servers}
        self._admin: AdminClient | None = None
        self._there: set[str] = set()

    def ensure(self, names: Iterable[str]) -> None:
        """These topics are there, unless the brokers' own defaults are wanted: these make theirs themselves.

        Raises
        ------
        StreamError : Kafka makes none, or can't be reached
        """
        new = sorted({*names} - self._there)
        if not new or not self._settings.any:
            return
        self._admin = self._admin or AdminClient(self._options)
        for name, future in self._admin.create_topics(
            [self._new(name) for name in new], request_timeout=PATIENCE
        ).items():
            try:
                future.result()
                log.info("made the topic %s", name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise StreamError(f"Kafka does not make the topic {name}: {error.args[0].str()}") from error
            self._there.add(name)

    def _new(self, name: str) -> NewTopic:
        settings = self._settings
        config = {} if settings.retention_ms is None else {"retention.ms": str(settings.retention_ms)}
        return NewTopic(name, settings.partitions or DEFAULT, settings.replication or DEFAULT, config=config)


def topics_of(output: KafkaOutput) -> Topics:
    """Makes the topics of these settings."""
    return Topics(required(output.bootstrap_servers, "kafka.output.bootstrap.servers"), output.options, output.topics)


def encoding_of(output: KafkaOutput) -> Encode:
    """How messages are written by these settings."""
    if output.schemas == "included":
        return included
    user, password = output.registry_username, output.registry_password
    login = (user, password) if user is not None and password is not None else None
    return Registered(required(output.registry, "kafka.output.registry"), login)
