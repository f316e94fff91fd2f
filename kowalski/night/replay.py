"""A night again: its packets from Kafka, the packet archive, a tarball, a folder or quarantine through the running system's chain.

A replay adds the alerts that were missing, with all that they cause, and changes nothing else; but packets that come out of quarantine
and are not refused again leave it. With ``--history-only`` packets of an archive add to the histories of their objects and nothing else.
"""

import argparse
import time
from datetime import UTC, date, datetime, timedelta

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kowalski.alert_broker import AlertConsumer
from kowalski.alerts.survey import Survey, get_survey
from kowalski.batch_report import BatchReport
from kowalski.config import ROOT, load_config
from kowalski.database.quarantine import Selection
from kowalski.errors import StreamError
from kowalski.log import setup_logging
from kowalski.night.archive import Purpose, replay_archive
from kowalski.night.dates import night_from
from kowalski.night.kept import KeptNight
from kowalski.night.packets import Archive, archive_of
from kowalski.night.quarantined import replay_chosen
from kowalski.settings import Config

#: s without anything new or under way after which a night in Kafka is read to its end
QUIET = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("survey", help="e.g. ZTF")
    parser.add_argument("night", help="YYYYMMDD or YYYY-MM-DD")
    parser.add_argument(
        "--from",
        dest="source",
        default="kafka",
        help="kafka (default), quarantine, archive (the packet archive), dir:PATH, tar:PATH, or the path of a folder or tarball",
    )
    parser.add_argument("--no-post", action="store_true", help="nothing goes to SkyPortal")
    parser.add_argument("--history-only", action="store_true", help="of a folder, a tarball or the packet archive: merge the histories that the packets bring into their objects, new ones with their cross-matches; store no alerts, run no filters")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Send a night through the chain again and say what became of it."""
    setup_logging("replay", "WARNING")
    night = night_from(arguments.night)
    survey, config = get_survey(arguments.survey), load_config()
    if arguments.source not in ("kafka", "quarantine"):
        return replay_files(survey, config, arguments)
    if arguments.history_only:
        raise StreamError(
            "--history-only is for archives: add --from archive, or --from with the path of a folder or tarball"
        )
    posting = not arguments.no_post
    bar = Progress(TextColumn("{task.description}"), TextColumn("{task.completed} alerts"), TimeElapsedColumn())
    with bar:
        if arguments.source == "kafka":
            group = f"{config.kafka.group}_replay_{survey.name.lower()}_{datetime.now(UTC):%Y%m%d%H%M%S}"
            nightly = "{date}" in survey.with_topic(config.kafka.topics.get(survey.name)).topic
            begin = "earliest" if nightly else survey.noons_around(night)[0]
            consumer = AlertConsumer(
                survey, config, obsdate=night, start=begin, group=group, posting=posting, resume=False
            )
            replay_kafka(consumer, bar)
            report = consumer.dispatcher.report
        else:
            report = replay_quarantine(survey, config, night, posting, bar)
    print(told(report, f"{survey.name} {arguments.night}"))
    return 0


def told(report: BatchReport, what: str) -> str:
    """What became of the packets of a replay, in one line."""
    return (
        f"{report.received} packets of {what}: {report.stored} stored, {report.known} known already, {_refused(report)}, "
        f"{sum(report.passed.values())} filter passes, {report.posted} to be posted"
    )


def _refused(report: BatchReport) -> str:
    """How many packets are in quarantine now, with the reasons."""
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(report.quarantined.items()))
    return f"{sum(report.quarantined.values())} quarantined" + (f" ({reasons})" if reasons else "")


def replay_files(survey: Survey, config: Config, arguments: argparse.Namespace) -> int:
    """The packets of a folder, a tarball or the packet archive; 1 where some of it could not be read, which is named."""
    if arguments.source == "archive":
        archive: Archive = KeptNight(ROOT / config.archive.folder, survey.name, f"{night_from(arguments.night):%Y%m%d}")
    else:
        archive = archive_of(arguments.source)
    purpose = Purpose(posting=not arguments.no_post, history_only=arguments.history_only)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[alerts]} packets"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as bar:
        report, before = replay_archive(survey, config, archive, purpose, bar)
    if before:
        print(f"{before} packets were done before an earlier replay was interrupted: it went on from there")
    what = f"{survey.name} {arguments.night}"
    if purpose.history_only:
        merged = report.received - sum(report.quarantined.values())
        print(
            f"{report.received} packets of {what}: histories of {merged} merged into their objects, {_refused(report)}"
        )
    else:
        print(told(report, what))
    for problem in archive.problems:
        print(f"not read: {problem}")
    return 1 if archive.problems else 0


def replay_quarantine(survey: Survey, config: Config, night: date, posting: bool, bar: Progress) -> BatchReport:
    """What was refused of a night (UTC) once more; it leaves quarantine unless it is refused again.

    Raises
    ------
    StreamError : nothing of that night is in quarantine
    """
    begin = datetime(night.year, night.month, night.day, tzinfo=UTC)
    chosen = Selection(survey.name, begin=begin, end=begin + timedelta(days=1))
    report, fates = replay_chosen(survey, config, chosen, posting, bar)
    if not fates:
        raise StreamError(f"nothing of {survey.name} that came on {night} (UTC) is in quarantine")
    for fate in fates:
        if fate.outcome == "left":
            bar.console.print(f"{fate.key} stays in quarantine: {fate.said}", markup=False, highlight=False)
    return report


def replay_kafka(consumer: AlertConsumer, bar: Progress) -> None:
    """All that Kafka still has of a night through the chain."""
    task = bar.add_task("kafka", total=None)
    last_seen, received = time.monotonic(), -1
    try:
        while time.monotonic() < last_seen + QUIET:
            consumer.step()
            if consumer.dispatcher.report.received != received or not consumer.dispatcher.idle:
                last_seen, received = time.monotonic(), consumer.dispatcher.report.received
            bar.update(task, completed=max(received, 0))
    finally:
        consumer.close()
    if received == 0:
        raise StreamError(f"Kafka holds nothing that matches {consumer.subscribed}")
