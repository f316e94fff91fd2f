"""How a survey's streams are read: librdkafka's settings, and the topics of the last nights."""

import argparse
from datetime import UTC, date, datetime, timedelta
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.errors import StreamError
from kowalski.kafka_errors import Reports
from kowalski.night.dates import night_from
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


def latest_nights(survey: Survey, nights: int, today: date) -> list[date]:
    """Tonight and the nights before, as many as the survey needs at least, whose topics are read."""
    return [today - timedelta(days=days) for days in range(max(nights, survey.nights) + 1)]


def latest_topics(survey: Survey, nights: int, today: date) -> str:
    """Regular expression of the topics of `latest_nights`."""
    return survey.topics_of(latest_nights(survey, nights, today))


def is_followed(survey: Survey, nights: int, night: date) -> bool:
    """Whether a survey's broker reads a night without being asked for it."""
    return "{date}" not in survey.topic or night in latest_nights(survey, nights, datetime.now(UTC).date())


def start_argument(text: str) -> str | datetime:
    """Where a command line says that reading is to begin."""
    if text in ("earliest", "latest"):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not earliest, latest or a time such as 2024-01-01T05:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def night_argument(text: str) -> date:
    """The night that a command line names."""
    try:
        return night_from(text)
    except StreamError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
