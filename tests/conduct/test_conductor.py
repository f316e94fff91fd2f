"""A night from waiting to reported, in a whole system, by conductors that each live for one look only."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import requests

from kowalski.alerts.survey import get_survey
from kowalski.archive.packets.reading import PacketArchive
from kowalski.database.client import connect
from kowalski.database.nights import Night, Nights
from kowalski.errors import SourceError
from kowalski.local.status import report_of
from kowalski.local.system import LocalSystem
from kowalski.night.conductor import Conductor
from kowalski.night.course import State
from kowalski.night.crew import Crew
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher
from kowalski.watchers.slack import Slack

#: yesterday's: it is over, so that nothing but its alerts is waited for
NIGHT = f"{datetime.now(UTC) - timedelta(days=1):%Y%m%d}"
ALERTS = 60


class Looks:
    """Conductors one after the other: what one knows by itself is lost with it, as when it is killed."""

    def __init__(self, system: LocalSystem):
        self.system, self.database = system, connect(system.config.database)
        self.nights = Nights(self.database)
        self.told: list[str] = []

    def look(self, slack: Slack | None = None) -> Night:
        """What a new conductor makes of the night."""
        crew = Crew(self.system)
        conductor = Conductor(self.system.config, self.database, crew, lambda _, state, why: self.told.append(f"{state}: {why}"), slack)  # fmt: skip
        conductor.step()
        conductor.close()
        night = self.nights.of("ZTF", NIGHT)
        assert night is not None
        return night

    def until(self, state: State, most: int = 600) -> Night:
        """The night, in that state."""
        for _ in range(most):
            night = self.look()
            if night.state == state:
                return night
        pytest.fail(f"{night.state}, not {state}: {night.why}")


class Channel(Slack):
    """In place of Slack's, which is not here; `tests/watchers` has what goes over the wire."""

    def __init__(self, refusals: int):
        super().__init__("xoxb-none", "C1")
        self.refusals = refusals
        self.sent: list[tuple[str, bytes, str]] = []

    def send(self, files: dict[str, bytes], comment: str) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise SourceError("Slack refuses: ratelimited", retriable=True)
        self.sent += [(name, content, comment) for name, content in files.items()]


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looks]:
    """A system whose brokers and dask clusters are not started."""
    folder = tmp_path_factory.mktemp("night")
    changes = {
        "kafka": {"metadata_refresh": 1},
        "dask": {"n_workers": 1},
        "archive": {"enabled": True, "folder": str(folder / "packets")},
        "tables": {"enabled": True, "folder": str(folder / "tables"), "interval": 1, "settled": 0},
        "night": {"quiet_minutes": 0.02, "most_workers": {"ZTF": 2}, "alerts_per_worker": ALERTS // 2},
    }
    system = LocalSystem.isolated(folder / "system", changes)
    system.start([each.name for each in system.programs if each.survey is None])
    yield Looks(system)
    system.stop()


def running(looks: Looks) -> set[str]:
    """The programs of the survey that run."""
    states = looks.system.supervisor.states()
    return {name for name, state in states.items() if "ztf" in name and state["statename"] in ("STARTING", "RUNNING")}


def test_a_night_is_conducted(looks: Looks) -> None:
    """Its programs run while it does and rest when it is done; its books balance, and there is a page about it."""
    with Publisher(looks.system.config.kafka.bootstrap_servers, partitions=2) as publisher:
        for packet in simulate(ALERTS, seed=3, night=NIGHT):
            publisher.send(f"ztf_{NIGHT}_programid1", packet.data, "a packet")
    looks.nights.begin("ZTF", NIGHT, State.WAITING, "the test began it")
    assert running(looks) == set()
    looks.until(State.RUNNING)  # by the first look, but that Kafka takes its time to know what a new group has read
    assert running(looks) == {"dask-cluster-ztf", "alert-broker-ztf", "dask-worker-ztf-1"}, (
        "half of the alerts wait for each"
    )
    night = looks.until(State.REPORTED)
    assert night.messages == looks.database.ZTF_alerts.count_documents({}) == ALERTS
    states = [step["state"] for step in night.steps]
    assert list(dict.fromkeys(states)) == list(State)
    assert "done: everything is stored and sent, and the ledger balances" in looks.told
    assert running(looks) == set()
    about = {each["program"]: each for each in report_of(looks.system)["programs"]}
    assert {name for name, each in about.items() if each["state"] == "resting"} == {
        "dask-cluster-ztf",
        "alert-broker-ztf",
    }
    assert all(each["ready"] for each in about.values()), "what rests is as it should be"
    assert max(each["lag"] for each in looks.nights.samples(NIGHT)) == ALERTS


def test_its_packets_and_tables_are_whole(looks: Looks) -> None:
    """DuckDB counts in the tables what MongoDB has; every file of packets is closed, and holds all of them."""
    config, database = looks.system.config, looks.database
    candids = set(database.ZTF_alerts.distinct("candid"))
    objects = list(database.ZTF_alerts_aux.find())
    earlier = sum(point.get("candid") not in candids for each in objects for point in each["prv_candidates"])
    expected = {
        "alerts": ALERTS,
        "points": ALERTS + earlier + sum(len(each["fp_hists"]) for each in objects),
        "scores": 6 * ALERTS,
    }
    for table, number in expected.items():
        files = f"{config.tables.folder}/{table}/**/*.parquet"
        found = duckdb.sql(f"select count(*) from read_parquet('{files}', hive_partitioning=true)").fetchall()
        assert found == [(number,)], table
    files = PacketArchive(Path(config.archive.folder)).files("ZTF", NIGHT)
    assert all(file.seal for file in files)
    assert sum(file.seal["packets"] for file in files if file.seal) == ALERTS


def test_its_report_is_served(looks: Looks) -> None:
    server = looks.system.config.server
    url = f"http://{server.host}:{server.port}"
    login = {"username": server.admin_username, "password": server.admin_password}
    token = requests.post(f"{url}/api/auth", json=login, timeout=30).json()["token"]
    answer = requests.get(f"{url}/api/nights/{NIGHT}/report", headers={"Authorization": token}, timeout=30)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"ZTF: {ALERTS} alerts stored; every message that was read is accounted for." in answer.text
    assert answer.text.count("data:image/png;base64,") == 6
    night = requests.get(f"{url}/api/nights/{NIGHT}", headers={"Authorization": token}, timeout=30).json()["data"]
    assert [(each["survey"], each["state"]) for each in night["conducted"]] == [("ZTF", "reported")]
    missing = requests.get(f"{url}/api/nights/19990101/report", headers={"Authorization": token}, timeout=30)
    assert (missing.status_code, "no report of the night 19990101" in missing.json()["message"]) == (400, True)


def test_late_alerts_make_it_run_again(looks: Looks) -> None:
    """What comes after the report is not left lying, and the report has it."""
    more = 5
    with Publisher(looks.system.config.kafka.bootstrap_servers, partitions=2) as publisher:
        for packet in simulate(more, seed=4, night=NIGHT):
            publisher.send(f"ztf_{NIGHT}_programid1", packet.data, "a packet")
    night = looks.until(State.RUNNING)
    assert f"{more} messages came after its end" in night.why or night.messages == ALERTS + more
    looks.until(State.REPORTED)
    assert looks.database.ZTF_alerts.count_documents({}) == ALERTS + more
    page = looks.nights.report(NIGHT)
    assert page is not None
    assert f"{ALERTS + more} alerts stored".encode() in page


def test_its_report_is_sent_once(looks: Looks) -> None:
    """To the channel, after it was refused there, and not by the next conductor again."""
    channel = Channel(refusals=1)
    for _ in range(4):
        looks.look(channel)
    (name, page, comment) = channel.sent[0]
    assert (len(channel.sent), name, comment) == (1, f"kowalski_{NIGHT}.html", f"Kowalski, night {NIGHT}")
    assert page == looks.nights.report(NIGHT)


def test_a_night_that_is_stopped(looks: Looks) -> None:
    """An operator's word ends a night that waits; one without alerts has a report all the same."""
    tonight = f"{get_survey('ZTF').night_at(datetime.now(UTC)):%Y%m%d}"
    looks.nights.begin("ZTF", tonight, State.WAITING, "the test began it")
    looks.look()
    night = looks.nights.of("ZTF", tonight)
    assert night is not None
    assert night.state == State.WAITING, "there is no topic, and it is not noon yet"
    looks.nights.stop("ZTF", tonight)
    for _ in range(2):
        looks.look()
    night = looks.nights.of("ZTF", tonight)
    assert night is not None
    assert night.state == State.REPORTED
    page = looks.nights.report(tonight)
    assert page is not None
    assert b"ZTF: no alert came." in page
