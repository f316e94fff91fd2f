"""The demo: a whole system on this machine, a night streamed through it, and a table of what became of it."""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from kowalski.alerts.decode import decode
from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import connect
from kowalski.database.filters import Filters
from kowalski.database.outbox import Outbox
from kowalski.database.processes import Processes
from kowalski.database.summary import Summary
from kowalski.errors import LocalError, PacketError
from kowalski.local.demo_filters import DEMO_FILTERS, NAMES
from kowalski.local.ledger import show
from kowalski.local.system import LocalSystem
from kowalski.night.ledger import Books, books_of
from kowalski.night.packets import packets_from
from kowalski.simulation.catalogs import catalogs
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher

FOLDER = ROOT / "data" / "local" / "demo"
#: packets that the broker may be behind: Kafka keeps messages by size, read or not
MOST_BEHIND = 5000
#: s without any progress after which the demo gives up
PATIENCE = 180.0
SEED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--alerts", type=Path, metavar="DIR", help="stream the packets of a folder instead of simulated ones"
    )
    parser.add_argument(
        "--n", type=int, metavar="N", help="alerts to stream (default: 2000 simulated, or the whole folder)"
    )
    parser.add_argument("--exit", action="store_true", help="stop everything at the end instead of staying up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table to a file")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Start a system, stream a night through it, print what became of it, and stay up until Ctrl-C."""
    console = Console()
    if arguments.alerts and not arguments.alerts.is_dir():
        raise LocalError(f"--alerts {arguments.alerts}: there is no such folder")
    if arguments.n is not None and arguments.n < 1:
        raise LocalError(f"--n {arguments.n}: stream one alert at least")
    console.print(f"Starting a whole Kowalski in {_short(arguments.folder)}: MongoDB, Kafka, dask, broker, poster, API")
    system = LocalSystem.isolated(arguments.folder)
    with _started(system, console):
        demo = Demo(system, console)
        demo.prepare(simulated=arguments.alerts is None)
        demo.stream(demo.packets(arguments.alerts, arguments.n), arguments.n)
        result = demo.result()
        console.print(_table(result))
        show(demo.books(), console)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n")
        if not arguments.exit:
            console.print(_next_steps(system), soft_wrap=True)
            _stay(console)
    console.print("Everything is stopped; the data are kept, another demo goes on from them.")
    return 0


@contextmanager
def _started(system: LocalSystem, console: Console) -> Iterator[None]:
    system.start(progress=lambda line: console.print(f"  {line}", style="dim", highlight=False))
    try:
        yield
    finally:
        console.print("Stopping ...")
        system.stop()


class Demo:
    """One night through a running system."""

    def __init__(self, system: LocalSystem, console: Console):
        self.system, self.console = system, console
        config = system.config
        self.survey = get_survey("ZTF")
        self.database = connect(config.database)
        self.filters = Filters(self.database, self.database)
        self.outbox = Outbox(self.database)
        self.processes = Processes(self.database)
        self.summary = Summary(self.database, self.survey)
        self.before = self.summary.stored()
        self.began = datetime.now(UTC)
        self.posted_before = self.outbox.counts().get("delivered", 0)
        self.read_before = self._figures().get("received", 0)
        topics = config.kafka.topics
        self.booked_before = books_of(f"{self.began:%Y%m%d}", self.database, topics).total().get("received", 0)
        self.sent = 0

    def prepare(self, simulated: bool) -> None:
        """The demo's filters and, for simulated alerts, their catalogues are there."""
        for document in DEMO_FILTERS:
            self.filters.put(document)
        if simulated:
            store = Catalogs(self.database)
            for name, rows in catalogs(SEED).items():
                store.replace(name, rows)

    def packets(self, folder: Path | None, n: int | None) -> Iterator[tuple[bytes, int, str]]:
        """The packets to stream, each with its data-rights programme and a name."""
        if folder is None:
            for alert in simulate(n or 2000, seed=SEED, night=f"{self.began:%Y%m%d}"):
                yield alert.data, alert.programid, str(alert.candid)
            return
        for number, packet in enumerate(packets_from(f"dir:{folder}")):
            if n is not None and number >= n:
                return
            yield packet.data, _programme(packet.data), packet.topic

    def stream(self, packets: Iterable[tuple[bytes, int, str]], n: int | None) -> None:
        """Publish packets as fast as they are worked off, and wait until all that they cause is done."""
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "alerts  {task.fields[rate]:.0f}/s  lag {task.fields[lag]}  passed {task.fields[passed]}  posted {task.fields[posted]}"
            ),
            TimeElapsedColumn(),
        )
        address = self.system.config.kafka.bootstrap_servers
        with Publisher(address, partitions=2) as publisher, Progress(*columns, console=self.console) as bar:
            task = bar.add_task("", total=n, rate=0.0, lag=0, passed=0, posted=0)
            watch = _Watch(self, bar, task)
            for data, programme, name in packets:
                publisher.send(f"ztf_{self.began:%Y%m%d}_programid{programme}", data, name)
                if publisher.sent % 100 == 0:
                    watch.look(publisher.sent)
                    while publisher.sent - watch.done > MOST_BEHIND:
                        watch.wait(publisher.sent)
            publisher.flush()
            self.sent = publisher.sent
            bar.update(task, total=publisher.sent)
            while watch.done < publisher.sent or self.outbox.counts().get("pending"):
                watch.wait(publisher.sent)

    def result(self) -> dict[str, Any]:
        """What stands in the database now."""
        alerts, objects = self.summary.stored()
        latency = self.outbox.latency_seconds(since=self.began)
        return {
            "alerts": alerts,
            "objects": objects,
            "new_alerts": alerts - self.before[0],
            "new_objects": objects - self.before[1],
            "scores": [
                {"model": model, "version": version, "alerts": n}
                for (model, version), n in self.summary.scores().items()
            ],
            "model_problems": self._figures().get("model_problems", {}),
            "cross_matches": self.summary.matches(),
            "passed": {NAMES.get(key, str(key)): n for key, n in self.summary.passed().items()},
            "outbox": self.outbox.counts(),
            "candidates_posted": self.summary.posted(),
            "quarantined": self.summary.quarantined(),
            "latency_s": latency,
        }

    def books(self) -> Books:
        """The night's ledger, once all that was streamed is in it: it is written when offsets are committed to Kafka."""
        topics, deadline = self.system.config.kafka.topics, time.monotonic() + PATIENCE
        while True:
            books = books_of(f"{self.began:%Y%m%d}", self.database, topics)
            if books.total().get("received", 0) >= self.booked_before + self.sent or time.monotonic() > deadline:
                return books
            time.sleep(0.25)

    def _figures(self) -> dict[str, Any]:
        beats = [beat for beat in self.processes.alive() if beat["program"] == "alert-broker"]
        return max(beats, key=lambda beat: beat["at"]) if beats else {}


class _Watch:
    """How far the broker got, for the progress bar; gives up when nothing moves any more."""

    def __init__(self, demo: Demo, bar: Progress, task: Any):
        self.demo, self.bar, self.task = demo, bar, task
        self.done = 0
        self.began = self.moved = time.monotonic()
        self._state: tuple[int, ...] = ()
        self._earlier = 0
        self._last_pid, self._last_received = None, demo.read_before

    def look(self, sent: int) -> None:
        """Show how things stand."""
        figures = self.demo._figures()
        if figures and figures["pid"] != self._last_pid and self._last_pid is not None:
            self._earlier += self._last_received  # the broker was started anew and counts from nought
            self._last_received = 0
        if figures:
            self._last_pid, self._last_received = figures["pid"], figures["received"]
        self.done = self._earlier + self._last_received - self.demo.read_before
        counts = self.demo.outbox.counts()
        state = (self.done, counts.get("delivered", 0), sent)
        if state != self._state:
            self._state, self.moved = state, time.monotonic()
        passed = sum(figures.get("passed", {}).values())
        rate = self.done / max(time.monotonic() - self.began, 0.1)
        self.bar.update(
            self.task,
            completed=min(self.done, sent),
            rate=rate,
            lag=max(sent - self.done, 0),
            passed=passed,
            posted=state[1] - self.demo.posted_before,
        )

    def wait(self, sent: int) -> None:
        """Let a moment pass and show how things stand.

        Raises
        ------
        LocalError : nothing has moved for a long time
        """
        time.sleep(0.25)
        self.look(sent)
        if time.monotonic() > self.moved + PATIENCE:
            raise LocalError(
                f"nothing has moved for {PATIENCE:g} s: {sent - self.done} alerts are not done; see the logs"
            )


def _programme(data: bytes) -> int:
    """The programme of a packet; one that can't be read goes the public way, to be refused by the broker."""
    try:
        programme = decode(data)[0].get("candidate", {}).get("programid")
    except (PacketError, AttributeError):
        return 1
    return programme if programme in (1, 2, 3) else 1


def _table(result: dict[str, Any]) -> Table:
    table = Table(title="The night", show_header=False, title_justify="left")
    table.add_row("alerts stored", f"{result['alerts']} ({result['new_alerts']} new)")
    table.add_row("objects stored", f"{result['objects']} ({result['new_objects']} new)")
    table.add_section()
    for score in result["scores"]:
        table.add_row(f"scored by {score['model']} {score['version']}", str(score["alerts"]))
    for model, problem in result["model_problems"].items():
        table.add_row(f"not scored by {model}", problem)
    table.add_section()
    for catalog, objects in result["cross_matches"].items():
        table.add_row(f"objects matched in {catalog}", str(objects))
    table.add_section()
    for name, alerts in result["passed"].items():
        table.add_row(f"passed {name}", str(alerts))
    table.add_section()
    table.add_row("candidates posted", str(result["candidates_posted"]))
    for state in ("pending", "failed"):
        table.add_row(f"messages {state}", str(result["outbox"].get(state, 0)))
    for reason, packets in result["quarantined"].items():
        table.add_row(f"quarantined: {reason}", str(packets))
    if latency := result["latency_s"]:
        table.add_row("Kafka to posted, p50 / p99", f"{latency['p50']:.2f} s / {latency['p99']:.2f} s")
    return table


def _next_steps(system: LocalSystem) -> str:
    server = system.config.server
    url = f"http://{server.host}:{server.port}"
    login = json.dumps({"username": server.admin_username, "password": server.admin_password})
    query = json.dumps({"query_type": "find", "query": {"catalog": "ZTF_alerts", "filter": {"classifications.braai": {"$gt": 0.9}}, "projection": {"_id": 0, "objectId": 1, "candid": 1, "classifications": 1}}, "kwargs": {"limit": 3}})  # fmt: skip
    return f"""
[bold]Look, in a browser:[/bold] {url}/lab, as {server.admin_username} with the password {server.admin_password}

[bold]Try, in another terminal:[/bold]

TOKEN=$(curl -s {url}/api/auth -d '{login}' | sed 's/.*"token": *"\\([^"]*\\)".*/\\1/')
curl -s {url}/api/queries -H "Authorization: $TOKEN" -d '{query}'

.venv/bin/python -c '
from penquins import Kowalski
k = Kowalski(username="{server.admin_username}", password="{server.admin_password}", protocol="http", host="{server.host}", port={server.port})
query = {{"query_type": "count_documents", "query": {{"catalog": "ZTF_alerts", "filter": {{"candidate.drb": {{"$gt": 0.9}}}}}}}}
print(k.query(query=query))'

[bold]What SkyPortal got:[/bold] {system.config.skyportal.url}/_received    [bold]dask:[/bold] http://127.0.0.1{system.config.dask_for("ZTF").dashboard_address}/info/main/workers.html
"""


def _stay(console: Console) -> None:
    console.print("Up until Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print()


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
