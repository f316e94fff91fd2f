"""What Prometheus itself makes of `monitoring/`: each rule raises its alert where it should and nowhere else. Skipped where Prometheus is not installed."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from kowalski.config import ROOT
from kowalski.local.demo import Demo
from kowalski.local.ports import free_ports
from kowalski.local.system import LocalSystem

FOLDER = ROOT / "monitoring"
RULES = {
    rule["alert"] for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]
}
#: a night as it should be: series -> its values, one each minute for 150, as promtool writes them
WELL = {
    'up{job="kowalski",program="poster",host="a"}': "1+0x150",
    'kowalski_program_info{program="alert-broker-ztf"}': "1+0x150",
    'kowalski_broker_batches_total{survey="ZTF"}': "0+10x150",
    'kowalski_broker_lag_messages{survey="ZTF",topic="t",partition="0"}': "20000-100x150",
    'kowalski_dask_workers_ready{survey="ZTF"}': "2+0x150",
    'kowalski_dask_workers_wanted{survey="ZTF"}': "2+0x150",
    'kowalski_latency_seconds_bucket{survey="ZTF",stage="received_stored",le="10"}': "0+60x150",
    'kowalski_latency_seconds_bucket{survey="ZTF",stage="received_stored",le="100"}': "0+60x150",
    'kowalski_latency_seconds_bucket{survey="ZTF",stage="received_stored",le="+Inf"}': "0+60x150",
    'kowalski_latency_seconds_bucket{survey="ZTF",stage="emitted_delivered",le="60"}': "0+60x150",
    'kowalski_latency_seconds_bucket{survey="ZTF",stage="emitted_delivered",le="600"}': "0+60x150",
    'kowalski_latency_seconds_bucket{survey="ZTF",stage="emitted_delivered",le="+Inf"}': "0+60x150",
    'kowalski_broker_model_problems{survey="ZTF"}': "0+0x150",
    "kowalski_broker_quarantine_held_bytes": "1000+0x150",
    "kowalski_broker_quarantine_max_bytes": "1000000+0x150",
    'kowalski_broker_quarantined_total{survey="ZTF",reason="truncated"}': "0+1x150",
    'kowalski_night_ledger_balance{survey="ZTF"}': "0+0x150",
    'kowalski_poster_active{host="a"}': "1+0x150",
    'kowalski_poster_active{host="b"}': "0+0x150",
    "kowalski_poster_skyportal_ailing": "0+0x150",
    'kowalski_poster_outbox_entries{state="failed"}': "3+0x150",
    'kowalski_poster_outbox_entries{state="pending"}': "5000-10x150",
    'kowalski_disk_free_bytes{host="a"}': "100e9+0x150",
    "kowalski_archive_files_to_upload": "2+0x150",
    'kowalski_watcher_failures{program="tns-watcher"}': "2+0x150",
}
#: rule -> what is otherwise where it is to raise its alert; None: a series that is not there
AILMENTS: dict[str, dict[str, str | None]] = {
    "KowalskiProgramDown": {'up{job="kowalski",program="poster",host="a"}': "0+0x150"},
    "KowalskiNoBroker": {'kowalski_program_info{program="alert-broker-ztf"}': None},
    "KowalskiBrokerStuck": {'kowalski_broker_batches_total{survey="ZTF"}': "7+0x150"},
    "KowalskiWorkersMissing": {'kowalski_dask_workers_ready{survey="ZTF"}': "1+0x150"},
    "KowalskiLagGrows": {'kowalski_broker_lag_messages{survey="ZTF",topic="t",partition="0"}': "20000+100x150"},
    "KowalskiStorageSlow": {'kowalski_latency_seconds_bucket{survey="ZTF",stage="received_stored",le="10"}': "0+1x150"},
    "KowalskiDeliverySlow": {'kowalski_latency_seconds_bucket{survey="ZTF",stage="emitted_delivered",le="60"}': "0+1x150"},
    "KowalskiModelProblems": {'kowalski_broker_model_problems{survey="ZTF"}': "1+0x150"},
    "KowalskiQuarantineNearlyFull": {"kowalski_broker_quarantine_held_bytes": "900000+0x150"},
    "KowalskiPacketsRefused": {'kowalski_broker_quarantined_total{survey="ZTF",reason="truncated"}': "0+20x150"},
    "KowalskiLedgerNotBalanced": {'kowalski_night_ledger_balance{survey="ZTF"}': "-1+0x150"},
    "KowalskiNoActivePoster": {'kowalski_poster_active{host="a"}': "0+0x150"},
    "KowalskiSkyPortalFails": {"kowalski_poster_skyportal_ailing": "1+0x150"},
    "KowalskiPosterFails": {'kowalski_poster_outbox_entries{state="failed"}': "3+1x150"},
    "KowalskiOutboxGrows": {'kowalski_poster_outbox_entries{state="pending"}': "5000+10x150"},
    "KowalskiDiskNearlyFull": {'kowalski_disk_free_bytes{host="a"}': "10e9+0x150"},
    "KowalskiArchiveWaits": {"kowalski_archive_files_to_upload": "20+0x150"},
    "KowalskiWatcherFails": {'kowalski_watcher_failures{program="tns-watcher"}': "4+0x150"},
}  # fmt: skip
#: of the dashboard, what has no data in a night in which nothing is refused
QUIET = {'60 * sum by (survey, reason) (rate(kowalski_broker_quarantined_total{survey=~"$survey"}[5m]))'}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs Prometheus: apt-get install prometheus")
    return found


def test_prometheus_takes_its_settings(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "config", str(FOLDER / "prometheus.yml")], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_each_rule_raises_its_alert_and_no_other(promtool: str, tmp_path: Path) -> None:
    assert set(AILMENTS) == RULES
    cases = [_case("well", {}, []), *(_case(name, change, [name]) for name, change in AILMENTS.items())]
    file = tmp_path / "cases.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FOLDER / "rules.yml")], "tests": cases}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _case(name: str, change: dict[str, str | None], firing: list[str]) -> dict[str, Any]:
    series = {key: values for key, values in (WELL | change).items() if values is not None}
    expected = [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in firing]
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "150m",
                "exp_samples": expected,
            }
        ],
    }


class Server:
    """A Prometheus that reads the programs of a system, every second."""

    def __init__(self, folder: Path, targets: Path):
        settings = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["rule_files"] = [str(FOLDER / "rules.yml")]
        settings["scrape_configs"] = [each for each in settings["scrape_configs"] if each["job_name"] == "kowalski"]
        settings["scrape_configs"][0]["file_sd_configs"][0] = {"files": [f"{targets}/*.json"], "refresh_interval": "1s"}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        (port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def get(self, route: str, **query: str) -> Any:
        """What an API route of it answers."""
        with urllib.request.urlopen(f"{self.address}/api/v1/{route}?{urllib.parse.urlencode(query)}", timeout=30) as answer:  # fmt: skip
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def is_up(self, programs: set[str]) -> bool:
        """Whether it has read all of some programs."""
        try:
            read = self.get("targets", state="active")["activeTargets"]
        except OSError:
            return False
        return {each["labels"]["program"] for each in read if each["health"] == "up"} >= programs

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()


@pytest.fixture
def system(promtool: str, tmp_path: Path) -> Iterator[LocalSystem]:
    system = LocalSystem.isolated(tmp_path / "system")
    system.start()
    try:
        yield system
    finally:
        system.stop()


@pytest.mark.deploy
def test_a_night_is_on_the_dashboard(system: LocalSystem, tmp_path: Path) -> None:
    """Every program is read, no rule fails, no alert is raised, and whatever the dashboard asks for has an answer."""
    targets = system.folder / "metrics"
    programs = {"alert-broker-ztf", "dask-cluster-ztf", "poster", "api"}
    server = Server(tmp_path, targets)
    try:
        _wait(lambda: server.is_up(programs), server)
        demo = Demo(system, Console(quiet=True))
        demo.prepare(simulated=True)
        demo.stream(demo.packets(None, 300), 300)
        asked = [target["expr"] for panel in _dashboard()["panels"] for target in panel.get("targets", ())]
        assert len(asked) > 30
        _wait(lambda: set(_unanswered(server, asked)) == QUIET, server, lambda: _unanswered(server, asked))
        stored = server.get("query", query='sum(kowalski_broker_packets_total{outcome="stored"})')["result"]
        assert [each["value"][1] for each in stored] == ["300"]
        rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
        assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    finally:
        server.close()


def _dashboard() -> Any:
    return json.loads((FOLDER / "grafana" / "dashboards" / "kowalski.json").read_text())


def _unanswered(server: Server, asked: list[str]) -> list[str]:
    found = {each: server.get("query", query=each.replace("$survey", ".*"))["result"] for each in asked}
    return [each for each, result in found.items() if not any(row["value"][1] != "NaN" for row in result)]


def _wait(done: Any, server: Server, told: Any = None) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert server.process.poll() is None, Path(server.log.name).read_text()
        assert time.monotonic() < deadline, told() if told else "it does not read all programs"
        time.sleep(0.5)
