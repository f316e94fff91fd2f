"""Report how Kowalski performs: ``python -m kowalski.watchers.performance_report [--day YYYYMMDD [--send]]``.

It reads the API's metrics every minute and, when a day (UTC) is over, writes what they and the ledger said of it. With ``--day`` it
writes one report, and nothing else.
"""

import argparse
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kowalski.config import ROOT, load_config
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.watching import Progress, Readings
from kowalski.errors import KowalskiError, SourceError
from kowalski.log import get_logger
from kowalski.night.dates import night_from
from kowalski.night.ledger import Books, books_of
from kowalski.program import once_available, run_program
from kowalski.settings import Config
from kowalski.watchers.day import bounds, day_of
from kowalski.watchers.pages import html_of, pdf_of
from kowalski.watchers.programs import WATCHERS
from kowalski.watchers.readings import Metrics
from kowalski.watchers.slack import Slack, slack_of
from kowalski.watchers.watch import Watch, delay, stop_on_signals

log = get_logger(__name__)

PROGRAM = WATCHERS["performance_report"]
#: days whose reports are made up for when nobody made them
BACK = 7


class Reporter:
    """Collects readings, and makes a report of each day that is over."""

    def __init__(self, config: Config, database: MongoDatabase, slack: Slack | None):
        self.readings = Readings(database)
        self.progress = Progress(database, PROGRAM)
        self._database = database
        self._topics = config.kafka.topics
        self._folder = ROOT / config.performance_report.folder
        self._slack = slack
        self._send_after, self._failures = 0.0, 0

    def report_what_is_over(self, today: date) -> None:
        """The days before today that have readings have reports, and these are where they are to be sent."""
        known = self.progress.read()
        done, unsent = known.get("reported", ""), known.get("unsent", [])
        for back in range(BACK, 0, -1):
            night = f"{today - timedelta(days=back):%Y%m%d}"
            if night > done and self._has_readings(night_from(night)):
                self.report(night_from(night))
                unsent = [*unsent, night] if self._slack else []
                self.progress.note(reported=night, unsent=unsent)
        if unsent and time.monotonic() >= self._send_after:
            self._send(unsent)

    def _send(self, unsent: list[str]) -> None:
        """Reports are sent, each once; what fails is tried again later, so that the readings go on meanwhile."""
        for night in unsent:
            try:
                self.send(night_from(night))
            except SourceError as error:
                self._failures += 1
                wait = delay(error, self._failures)
                self._send_after = time.monotonic() + wait
                return log.warning("the report of %s is not sent: %s; again in %.0f s", night, error, wait)
            self._failures = 0
            unsent = [each for each in unsent if each != night]
            self.progress.note(unsent=unsent)

    def send(self, day: date) -> None:
        """The files of a day's report are in the channel, where there is one; raises `SourceError`."""
        if self._slack:
            contents = {path.name: path.read_bytes() for path in self._files(day) if path.exists()}
            self._slack.send(contents, f"Kowalski, {day:%Y-%m-%d} (UTC)")

    def report(self, day: date) -> list[Path]:
        """Write the report of a day; its files."""
        readings = self.readings.between(*bounds(day))
        figures = day_of(day, readings, self._books(day))
        self._folder.mkdir(parents=True, exist_ok=True)
        files = self._files(day)
        for path, content in zip(files, (html_of(figures), pdf_of(figures)), strict=True):
            unfinished = path.with_name(f".{path.name}")
            unfinished.write_bytes(content)
            unfinished.replace(path)
        log.info("%s: report in %s", day, self._folder)
        return files

    def _files(self, day: date) -> list[Path]:
        return [self._folder / f"kowalski_performance_{day:%Y%m%d}.{kind}" for kind in ("html", "pdf")]

    def _has_readings(self, day: date) -> bool:
        begin, end = bounds(day)
        return any(reading["at"] >= begin for reading in self.readings.between(begin, end))

    def _books(self, day: date) -> Books:
        """What the ledger says of a night; nothing where it can't be read, so that there is a report all the same."""
        night = f"{day:%Y%m%d}"
        try:
            return books_of(night, self._database, self._topics)
        except KowalskiError as error:
            if error.retriable:
                raise
            log.warning("the ledger of %s is left out: %s", night, error)
            return Books(night, [])


def main() -> None:
    """Watch until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Report how Kowalski performs, day by day")
    parser.add_argument("--day", metavar="YYYYMMDD", help="the report of this day (UTC), now")
    parser.add_argument("--send", action="store_true", help="with --day: send it to Slack, too")
    arguments = parser.parse_args()
    stop_on_signals()
    config = load_config()
    database = connect(config.database)
    reporter = Reporter(config, database, slack_of(config.slack.slack_bot_token, config.slack.slack_channel_id))
    once_available(reporter.readings.ensure_indexes)
    if arguments.day:
        for path in reporter.report(night_from(arguments.day)):
            print(path)
        if arguments.send:
            reporter.send(night_from(arguments.day))
        return
    metrics = Metrics(config)

    def step() -> None:
        reporter.report_what_is_over(datetime.now(UTC).date())
        reporter.readings.add(metrics.read())

    Watch(PROGRAM, database).run(step, config.performance_report.interval)


if __name__ == "__main__":
    run_program(PROGRAM, main)
