"""A night of several surveys, conducted from waiting to reported by a conductor that is killed in each state.

    ./kowalski.py test --night [--alerts 20000] [--surveys ZTF,PGIR,WNTR] [--report FILE]

Exit status 1: something was lost or doubled, a ledger does not balance, or a state was not gone through.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from faults.rounds import RESULTS
from rich.console import Console
from rich.table import Table

from kowalski.alerts.survey import Survey, get_survey
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters
from kowalski.database.nights import Nights
from kowalski.errors import DatabaseError
from kowalski.local.demo_filters import DEMO_FILTERS
from kowalski.local.system import LocalSystem
from kowalski.night.course import State
from kowalski.night.dates import night_from
from kowalski.night.ledger import books_of
from kowalski.night.report.page import report_of
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher
from kowalski.simulation.reshape import reshaped

CONDUCTOR = "night-conductor"
#: packets that a survey sends before it is the next one's turn
TURN = 100
#: s without a step of any night after which it is given up
PATIENCE = 600.0


class Conducted:
    """A system without brokers, whose conductor starts them as the nights need it."""

    def __init__(self, folder: Path, surveys: list[Survey], console: Console):
        self.surveys, self.console = surveys, console
        self.night = f"{datetime.now(UTC) - timedelta(days=1):%Y%m%d}"
        night = {"auto": True, "quiet_minutes": 0.2, "interval": 1, "most_workers": {surveys[0].name: 2}}
        changes = {
            "kafka": {"metadata_refresh": 1},
            "night": night,
            "dask": {"n_workers": 1},
        }
        self.system = LocalSystem.isolated(folder, changes, [each.name for each in surveys])
        self.killed: dict[str, str] = {}
        self.seen: list[str] = []

    def __enter__(self) -> "Conducted":
        self.system.start([each.name for each in self.system.programs if each.survey is None])
        self.database: MongoDatabase = connect(self.system.config.database)
        self.nights = Nights(self.database)
        for document in DEMO_FILTERS:
            Filters(self.database, self.database).put(document)
        return self

    def __exit__(self, *_: object) -> None:
        self.system.stop()

    def begin(self) -> None:
        """The nights wait, and their first alerts are there: they are over, so that without any they would be done."""
        for survey in self.surveys:
            if self.nights.of(survey.name, self.night) is None:
                self.nights.begin(survey.name, self.night, State.WAITING, "the test began it")

    def publish(self, alerts: int) -> None:
        """All packets of the night go to Kafka, of the surveys in turns."""
        streams = [(survey, self._packets(survey, alerts // len(self.surveys))) for survey in self.surveys]
        with Publisher(self.system.config.kafka.bootstrap_servers, partitions=2) as publisher:
            while streams:
                for survey, packets in list(streams):
                    some = list(islice(packets, TURN))
                    for packet in some:
                        publisher.send(survey.topic_on(night_from(self.night)), packet, f"a packet of {survey.name}")
                    if len(some) < TURN:
                        streams.remove((survey, packets))
                publisher.flush()
                self.begin()
                self.look()

    def _packets(self, survey: Survey, number: int) -> Iterator[bytes]:
        for packet in reshaped(simulate(number, seed=len(survey.name), night=self.night), survey):
            yield packet.data

    def look(self) -> bool:
        """Kill the conductor in every state that was not seen before; whether all nights are reported."""
        try:
            nights = self.nights.on(self.night)
        except DatabaseError:
            return False
        for night in nights:
            step = f"{night.survey} {night.state}"
            if step not in self.seen:
                self.seen.append(step)
                self.console.print(f"{datetime.now(UTC):%H:%M:%S}  {night.survey:6} {night.state:9} {night.why}", highlight=False)  # fmt: skip
            if night.state not in self.killed:
                self.killed[night.state] = night.survey
                self.system.kill(CONDUCTOR)
                self.console.print(f"          conductor killed while {night.survey} is {night.state}")
        return bool(nights) and all(night.state == State.REPORTED for night in nights)

    def wait(self) -> None:
        """All nights are reported."""
        last, number = time.monotonic(), 0
        while not self.look():
            if len(self.seen) > number or self._stored() > number:
                last, number = time.monotonic(), max(len(self.seen), self._stored())
            if time.monotonic() - last > PATIENCE:
                raise TimeoutError(f"nothing happened for {PATIENCE:g} s: {[(each.survey, each.state, each.why) for each in self.nights.on(self.night)]}")  # fmt: skip
            time.sleep(0.02)

    def _stored(self) -> int:
        return sum(self.database[survey.alerts].estimated_document_count() for survey in self.surveys)

    def findings(self, alerts: int) -> list[str]:
        """What is wrong, in words."""
        each = alerts // len(self.surveys)
        books = books_of(self.night, self.database, {})
        found = [] if books.balance == 0 else [f"the ledger's balance is {books.balance}"]
        for survey in self.surveys:
            stored = self.database[survey.alerts].count_documents({})
            received = sum(account.received for account in books.accounts if account.survey == survey.name)
            if (stored, received) != (each, each):
                found.append(f"{survey.name}: {received} received and {stored} stored of {each}")
            states = [step["state"] for step in self.nights.of(survey.name, self.night).steps]  # type: ignore[union-attr]
            if list(dict.fromkeys(states)) != list(State):
                found.append(f"{survey.name} went through {states}")
            programs = self.system.supervisor.states()
            running = [name for name, state in programs.items() if survey.name.lower() in name and state["statename"] == "RUNNING"]  # fmt: skip
            if running:
                found.append(f"{', '.join(running)} still run")
        if set(self.killed) != set(State):
            found.append(f"the conductor was killed in {sorted(self.killed)} only")
        if self.nights.report(self.night) is None:
            found.append("there is no report")
        return found


def main(arguments: list[str]) -> int:
    """Conduct as the command line asks."""
    parser = argparse.ArgumentParser(prog="kowalski.py test --night", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alerts", type=int, default=20_000, help="of all surveys together (20000)")
    parser.add_argument("--surveys", default="ZTF,PGIR,WNTR", help="ZTF,PGIR,WNTR")
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the report is written")
    options = parser.parse_args(arguments)
    surveys = [get_survey(name) for name in options.surveys.split(",")]
    alerts = options.alerts // len(surveys) * len(surveys)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped all the same
    console = Console()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="night", dir=RESULTS.parent) as folder,
        Conducted(Path(folder), surveys, console) as conducted,
    ):
        conducted.publish(alerts)
        conducted.wait()
        found = conducted.findings(alerts)
        if options.report:
            options.report.write_bytes(report_of(conducted.night, conducted.database, conducted.system.config))
        table = Table("survey", "state", "UTC", "why")
        for night in conducted.nights.on(conducted.night):
            for step in night.steps:
                table.add_row(night.survey, step["state"], f"{step['at']:%H:%M:%S}", step["why"])
        console.print(table)
    for line in found:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"{alerts} alerts of {len(surveys)} surveys in {time.monotonic() - began:.0f} s: {'see above' if found else 'all stored once, balance 0'}")  # fmt: skip
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
