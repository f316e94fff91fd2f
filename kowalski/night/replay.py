"""A night again: its packets from Kafka, a tarball, a folder or quarantine through the running system's chain.

A replay adds the alerts that were missing, with all that they cause, and changes nothing else; but packets that come out of quarantine
and are not refused again leave it.
"""

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from kowalski.alert_broker import AlertConsumer
from kowalski.alert_worker import BatchReport
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.quarantine import Quarantine
from kowalski.dispatcher import Dispatcher
from kowalski.errors import StreamError
from kowalski.log import setup_logging
from kowalski.night.packets import packets_from
from kowalski.settings import Config

#: s without anything new or under way after which a night in Kafka is read to its end
QUIET = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("survey", help="e.g. ZTF")
    parser.add_argument("night", help="YYYYMMDD")
    parser.add_argument(
        "--from", dest="source", default="kafka", help="kafka (default), dir:PATH, tar:PATH or quarantine"
    )
    parser.add_argument("--no-post", action="store_true", help="nothing goes to SkyPortal")


def run(arguments: argparse.Namespace) -> int:
    """Send a night through the chain again and say what became of it."""
    setup_logging("replay", "WARNING")
    try:
        night = datetime.strptime(arguments.night, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise StreamError(f"{arguments.night} is not a night: give YYYYMMDD") from None
    survey, config = get_survey(arguments.survey), load_config()
    posting = not arguments.no_post
    bar = Progress(TextColumn("{task.description}"), TextColumn("{task.completed} alerts"), TimeElapsedColumn())
    with bar:
        if arguments.source == "kafka":
            group = f"{config.kafka.group}_replay_{survey.name.lower()}_{datetime.now(UTC):%Y%m%d%H%M%S}"
            nightly = "{date}" in survey.with_topic(config.kafka.topics.get(survey.name)).topic
            begin = "earliest" if nightly else datetime(night.year, night.month, night.day, tzinfo=UTC)
            consumer = AlertConsumer(
                survey, config, obsdate=night, start=begin, group=group, posting=posting, resume=False
            )
            replay_kafka(consumer, bar)
            report = consumer.dispatcher.report
        elif arguments.source == "quarantine":
            report = replay_quarantine(survey, config, night, posting, bar)
        else:
            report = replay_packets(survey, config, packets_from(arguments.source), posting, bar)
    print(
        f"{report.received} packets of {survey.name} {arguments.night}: {report.stored} stored, {report.known} known already, "
        f"{sum(report.quarantined.values())} quarantined, {sum(report.passed.values())} filter passes, {report.posted} to be posted"
    )
    return 0


def replay_quarantine(survey: Survey, config: Config, night: date, posting: bool, bar: Progress) -> BatchReport:
    """What was refused of a night (UTC) once more; it leaves quarantine unless it is refused again.

    Raises
    ------
    StreamError : nothing of that night is in quarantine
    """
    begin = datetime(night.year, night.month, night.day, tzinfo=UTC)
    quarantine = Quarantine(connect(config.database), config.broker.inline_quarantine_bytes)
    attempt = quarantine.take(survey.name, begin, begin + timedelta(days=1))
    report = replay_packets(survey, config, attempt.packets(), posting, bar)
    attempt.release()
    if not report.received:
        raise StreamError(f"nothing of {survey.name} that came on {night} (UTC) is in quarantine")
    return report


def replay_packets(
    survey: Survey, config: Config, packets: Iterator[Packet], posting: bool, bar: Progress
) -> BatchReport:
    """Packets through the chain, a few batches at a time."""
    dispatcher = Dispatcher(survey.name, config, posting, resume=False)
    task = bar.add_task(survey.name, total=None)
    while batch := list(islice(packets, config.broker.batch_size)):
        dispatcher.begin(batch)
        while dispatcher.full:
            dispatcher.finished(timeout=0.1)
            bar.update(task, completed=dispatcher.report.received)
    while not dispatcher.idle:
        dispatcher.finished(timeout=0.1)
        bar.update(task, completed=dispatcher.report.received)
    dispatcher.close()
    return dispatcher.report


def replay_kafka(consumer: AlertConsumer, bar: Progress) -> None:
    """All that Kafka still has of a night through the chain."""
    task = bar.add_task("kafka", total=None)
    last_seen, received = time.monotonic(), -1
    try:
        while time.monotonic() < last_seen + QUIET:
            consumer.step()
            if consumer.dispatcher.report.received != received or not consumer.dispatcher.idle:
                last_seen, received = time.monotonic(), consumer.dispatcher.report.received
            bar.update(task, completed=received)
    finally:
        consumer.close()
    if received == 0:
        raise StreamError(f"Kafka holds nothing that matches {consumer.subscribed}")
