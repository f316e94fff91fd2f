"""How a survey's streams are read: librdkafka's settings, and the topics of the last nights."""

from datetime import date, timedelta
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.kafka_errors import Reports
from kowalski.settings import Config


def consumer_settings(survey: Survey, config: Config, test: bool, group: str | None) -> dict[str, Any]:
    """librdkafka's settings for a survey: ours, then those of ``kafka.<SURVEY>``."""
    kafka = config.kafka
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": group or f"{kafka.group}_{survey.name.lower()}",
        "auto.offset.reset": kafka.auto_offset_reset,
        "enable.auto.commit": False,
        "enable.partition.eof": False,
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": int(kafka.metadata_refresh * 1000),
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 2_000,
        "fetch.message.max.bytes": 4_194_304,
        "fetch.max.bytes": 16_777_216,
        "receive.message.max.bytes": 100_000_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 20,  # 1 s otherwise, in which workers that are quick run out of work
        "log_level": 0,  # 20 lines a second while Kafka is away; `error_cb` says it once
        "error_cb": Reports(),
        **kafka.surveys.get(survey.name, {}),
        **({"bootstrap.servers": kafka.bootstrap_test_servers} if test else {}),
    }


def latest_topics(survey: Survey, nights: int, today: date) -> str:
    """Regular expression of the topics of tonight and the nights before, as many as the survey needs at least."""
    return survey.topics_of([today - timedelta(days=days) for days in range(max(nights, survey.nights) + 1)])
