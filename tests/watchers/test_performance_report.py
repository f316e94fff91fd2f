"""Reports: their figures against a plain computation, from the API's own metrics, as files and on Slack."""

import base64
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from api_harness import PASSWORD, Api, start_api
from PIL import Image
from web_stand_in import Asked, Said, serving

from kowalski.config import build, isolated_tree
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.processes import Processes
from kowalski.database.watching import Readings
from kowalski.errors import ConfigError, SourceError
from kowalski.night.ledger import Account, Books
from kowalski.settings import Database
from kowalski.watchers.day import bounds, day_of, quantile
from kowalski.watchers.pages import html_of, pdf_of
from kowalski.watchers.performance_report import Reporter
from kowalski.watchers.plots import sentences
from kowalski.watchers.readings import Metrics, reading_of
from kowalski.watchers.slack import Slack, slack_of

DAY = date(2026, 6, 30)
BEGIN, END = bounds(DAY)
BOUNDS = [0.01, 0.1, 1.0, float("inf")]
NO_BOOKS = Books("20260630", [])


def reading(
    minute: float, stored: float = 0, lag: float = 0, seconds: tuple[float, ...] = (0, 0, 0, 0)
) -> dict[str, Any]:
    return {
        "at": BEGIN + timedelta(minutes=minute),
        "brokers": {"ZTF": {"stored": stored, "lag": lag}},
        "outbox": {"pending": lag / 10, "failed": 0.0},
        "alive": {"poster": 1.0},
        "requests": {"2xx": float(seconds[-1])},
        "seconds": [[bound, float(count)] for bound, count in zip(BOUNDS, seconds, strict=True)],
    }


# figures


def test_rates_are_per_minute_and_know_of_restarts() -> None:
    counts = [(-1, 50), (0, 100), (1, 160), (3, 400), (4, 30), (5, 90)]
    day = day_of(DAY, [reading(minute, stored) for minute, stored in counts], NO_BOOKS)
    assert [at.minute for at in day.stored["ZTF"].at] == [0, 1, 3, 4, 5]
    assert day.stored["ZTF"].values.tolist() == [50, 60, 120, 30, 60]
    assert day.readings == 5
    assert "at most 120 alerts stored in a minute, at 00:03" in " ".join(sentences(day))


def test_levels_are_as_they_were_read() -> None:
    day = day_of(DAY, [reading(-1, lag=5), reading(0, lag=10), reading(1, lag=20)], NO_BOOKS)
    assert day.lag["ZTF"].values.tolist() == [10, 20]
    assert day.outbox["pending"].values.tolist() == [1, 2]


def test_durations_of_the_day() -> None:
    rows = [
        reading(-1, seconds=(10, 20, 30, 30)),
        reading(0, seconds=(11, 25, 40, 41)),
        reading(1, seconds=(11, 25, 40, 41)),
    ]
    day = day_of(DAY, rows, NO_BOOKS)
    assert day.durations == {0.01: 1, 0.1: 4, 1.0: 5, float("inf"): 1}
    assert len(day.quantiles["median"].values) == 1, "a minute without an answer has none"


def test_quantiles_are_those_of_the_answers() -> None:
    rng = np.random.default_rng(5)
    limits = [*np.linspace(0.01, 3, 300).tolist(), float("inf")]
    answers = rng.gamma(2, 0.2, 5000)
    counts = np.array([(answers <= limit).sum() for limit in limits], float)
    for share in (0.05, 0.5, 0.95):
        assert quantile(counts, limits, share) == pytest.approx(np.quantile(answers, share), abs=0.01)
    assert quantile(np.array([0.0, 0.0, 0.0, 4.0]), BOUNDS, 0.5) == 1.0, "beyond the last bound nobody knows"


def test_the_ledger_stands_in_the_report() -> None:
    accounts = [
        Account("ZTF", "a", 0, received=10, stored=7, known=1, quarantined={"truncated": 1}, passed=2, filtered=5, missing=[(4, 4)]),
        Account("ZTF", "a", 1, received=5, stored=5, filtered=5),
    ]  # fmt: skip
    day = day_of(DAY, [], Books("20260630", accounts))
    row = {"received": 15, "stored": 12, "known": 1, "quarantined": 1, "filtered": 10, "passed": 2, "balance": 1}
    assert day.ledger == [("ZTF", row)]
    assert "1 messages are unaccounted for: ./kowalski.py ledger 20260630" in sentences(day)


# files


def pictures(page: bytes) -> list[Image.Image]:
    found = re.findall(rb'src="data:image/png;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


@pytest.mark.parametrize("rows", [[], [reading(minute, minute * 60, 5, (1, 2, 3, 4)) for minute in range(120)]])
def test_pages_show_what_was_read(rows: list[dict[str, Any]]) -> None:
    day = day_of(DAY, rows, NO_BOOKS)
    page = html_of(day)
    assert b"2026-06-30 (UTC)" in page
    assert b"http" not in page, "it needs nothing from elsewhere"
    found = pictures(page)
    assert [picture.size for picture in found] == [found[0].size] * 2
    colors = [np.asarray(picture.convert("RGB")).astype(int) for picture in found]
    blue = [((each[..., 2] - each[..., 0]) > 100).any() for each in colors]
    assert blue == [bool(rows)] * 2, "a line is drawn where there is something, and only there"
    document = pdf_of(day)
    assert document.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", document)) == 3


# metrics


@pytest.fixture(scope="module")
def api(fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = fresh_database()
    running = start_api(tmp_path_factory.mktemp("metrics"), settings)
    try:
        running.wait_ready()
        yield running, settings
    finally:
        running.stop()


def test_the_apis_metrics_are_read(api: tuple[Api, Database]) -> None:
    running, settings = api
    changes = {"performance_report": {"metrics": f"{running.url}/metrics"}, "server": {"admin_password": PASSWORD}}
    config, database = build(isolated_tree(changes)), connect(settings)
    Processes(database).beat("alert-broker", "ZTF", stored=7, lag=3)
    metrics = Metrics(config)
    metrics.read()
    found = metrics.read()
    assert found["brokers"]["ZTF"]["stored"] == 7
    assert found["brokers"]["ZTF"]["lag"] == 3
    assert found["outbox"] == {"pending": 0, "failed": 0}
    assert found["requests"]["2xx"] >= 2
    assert found["seconds"][-1][1] >= 2
    Readings(database).add(found)
    assert Readings(database).between(found["at"] - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1))[0]["seconds"] == found["seconds"]  # fmt: skip
    wrong = Metrics(config.model_copy(update={"server": config.server.model_copy(update={"admin_password": "x"})}))
    with pytest.raises(SourceError):
        wrong.read()


def test_what_is_no_metrics() -> None:
    with pytest.raises(SourceError, match="no metrics of Kowalski's"):
        reading_of("<html> {not metrics")
    with pytest.raises(ConfigError, match="performance_report.metrics is not set"):
        Metrics(build(isolated_tree({})))


# Slack


class Channel:
    """Slack in small: three steps, which it takes in their order only."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.promised: dict[str, tuple[str, int]] = {}
        self.shared: list[tuple[str, str, list[str]]] = []
        self.refusals: list[Said] = []

    def answer(self, asked: Asked) -> Said:
        if asked.path.startswith("/upload/"):
            assert asked.headers["Authorization"] is None, "the token is Slack's alone"
            number = asked.path.removeprefix("/upload/")
            assert len(asked.body) == self.promised[number][1]
            self.files[number] = asked.body
            return Said(200, b"OK")
        if self.refusals:
            return self.refusals.pop(0)
        if asked.headers["Authorization"] != "Bearer xoxb-secret":
            return self._said(ok=False, error="invalid_auth")
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if asked.path == "/api/files.getUploadURLExternal":
            number = f"F{len(self.promised)}"
            self.promised[number] = (form["filename"], int(form["length"]))
            return self._said(ok=True, upload_url=f"{self.url}/upload/{number}", file_id=number)
        assert asked.path == "/api/files.completeUploadExternal"
        names = [self.promised[each["id"]][0] for each in json.loads(form["files"]) if each["id"] in self.files]
        self.shared.append((form["channel_id"], form["initial_comment"], names))
        return self._said(ok=True)

    def _said(self, **content: Any) -> Said:
        return Said(200, json.dumps(content).encode())


@pytest.fixture
def channel() -> Any:
    channel = Channel()
    with serving(channel.answer) as web:
        channel.url = web.url
        yield channel


def reporter(mongo: MongoDatabase, folder: Path, slack: Slack | None) -> Reporter:
    config = build(isolated_tree({"performance_report": {"folder": str(folder)}}))
    made = Reporter(config, mongo, slack)
    made.readings.ensure_indexes()
    return made


def test_each_day_that_is_over_is_reported_once(mongo: MongoDatabase, tmp_path: Path, channel: Channel) -> None:
    slack = Slack("xoxb-secret", "C1", f"{channel.url}/api")
    made = reporter(mongo, tmp_path, slack)
    for minute in range(10):
        made.readings.add(reading(minute, minute * 60, 5, (1, 2, 3, 4 + minute)))
    made.report_what_is_over(DAY)
    assert list(tmp_path.iterdir()) == [], "the day is not over"
    for _ in range(2):
        made.report_what_is_over(DAY + timedelta(days=1))
    names = ["kowalski_performance_20260630.html", "kowalski_performance_20260630.pdf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert channel.shared == [("C1", "Kowalski, 2026-06-30 (UTC)", names)]
    assert sorted(channel.files.values()) == sorted(path.read_bytes() for path in tmp_path.iterdir())
    reporter(mongo, tmp_path, slack).report_what_is_over(DAY + timedelta(days=2))
    assert len(channel.shared) == 1, "nor after a new start"


def test_slack_being_away_keeps_nothing_back(mongo: MongoDatabase, tmp_path: Path, channel: Channel) -> None:
    made = reporter(mongo, tmp_path, Slack("xoxb-secret", "C1", f"{channel.url}/api"))
    made.readings.add(reading(1))
    channel.refusals = [Said(429, b"", {"Retry-After": "30"})]
    made.report_what_is_over(DAY + timedelta(days=1))
    made.report_what_is_over(DAY + timedelta(days=1))
    assert len(list(tmp_path.iterdir())) == 2
    assert channel.shared == [], "it is left alone for as long as it asks"
    reporter(mongo, tmp_path, Slack("xoxb-secret", "C1", f"{channel.url}/api")).report_what_is_over(
        DAY + timedelta(days=1)
    )
    assert len(channel.shared) == 1


def test_slacks_refusals(channel: Channel) -> None:
    with pytest.raises(SourceError, match=r"refuses: invalid_auth") as failure:
        Slack("wrong", "C1", f"{channel.url}/api").send({"a": b"b"}, "c")
    assert not failure.value.retriable
    assert slack_of(None, None) is None
    assert slack_of("a", "b") is not None
    with pytest.raises(ConfigError, match=r"slack\.slack_channel_id is not set"):
        slack_of("a", None)
