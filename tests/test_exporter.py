"""Each program's metrics: where they are expected, told to Prometheus, and never in the way of the program."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from kowalski import broker_metrics, exporter
from kowalski.config import ROOT, build, isolated_tree, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.processes import Processes
from kowalski.exporter import address, exported, ports_of
from kowalski.gauges import keep
from kowalski.local.ports import free_ports
from kowalski.local.programs import programs_of
from kowalski.metrics_section import MetricsSection
from kowalski.settings import Config, Database


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `metrics` says in this test; to be changed before `exported`."""
    changed: dict[str, Any] = {"first_port": None, "targets": str(tmp_path / "targets")}
    monkeypatch.setattr(exporter, "load_config", lambda: build(isolated_tree({"metrics": changed})))
    return changed


def scraped(where: str) -> dict[str, float]:
    text = requests.get(f"http://{where}/metrics", timeout=30).text
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def files(settings: dict[str, Any]) -> list[Path]:
    return sorted(Path(settings["targets"]).glob("*"))


def test_metrics_are_there_while_the_program_runs(settings: dict[str, Any]) -> None:
    with exported("poster"):
        where = address()
        assert where is not None
        (file,) = files(settings)
        (group,) = json.loads(file.read_text())
        assert group == {
            "targets": [where],
            "labels": {"program": "poster", "host": socket.gethostname(), "pid": str(os.getpid())},
        }
        assert file.suffix == ".json"
        found = scraped(where)
        assert found["kowalski_program_info"] == 1
        assert found["kowalski_disk_free_bytes"] > 0
    assert (address(), files(settings)) == (None, [])
    with pytest.raises(requests.ConnectionError):
        scraped(where)


def test_a_port_that_is_taken_is_left_to_who_has_it(settings: dict[str, Any]) -> None:
    (first,) = free_ports(1)
    settings["first_port"] = first
    with exported("poster"):
        assert address() == f"127.0.0.1:{first}"
        inner = subprocess.run(
            [sys.executable, "-c", OTHER], cwd=ROOT, env={**os.environ, "KOWALSKI__METRICS__FIRST_PORT": str(first), "KOWALSKI__METRICS__TARGETS": settings["targets"]},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        other = inner.stdout.strip()
        assert other.startswith("127.0.0.1:")
        assert other != address()
        assert len(files(settings)) == 1, "the other one's file is gone with it"


OTHER = """
from kowalski.exporter import address, exported
with exported("poster"):
    print(address())
"""


def test_files_of_processes_that_were_killed_are_gone(settings: dict[str, Any]) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = Path(settings["targets"])
    folder.mkdir()
    stale = folder / f"{socket.gethostname()}-1.json"
    labels = {"pid": str(ended.pid), "host": socket.gethostname()}
    stale.write_text(json.dumps([{"targets": ["127.0.0.1:1"], "labels": labels}]))
    others = [folder / "other-host-1.json", folder / f"{socket.gethostname()}-too-1.json"]
    for other in others:  # the last one's host has a name that begins like ours
        host = other.stem.removesuffix("-1")
        other.write_text(json.dumps([{"targets": ["127.0.0.1:1"], "labels": labels | {"host": host}}]))
    with exported("tables"):
        assert stale not in files(settings)
        assert set(others) <= set(files(settings))


def test_what_is_in_the_way_keeps_no_program_from_its_work(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "targets").touch()
    with exported("poster"):
        assert scraped(str(address()))
    settings |= {"host": "192.0.2.1", "targets": None}
    with exported("poster"):
        assert address() is None
    settings |= {"enabled": False}
    with exported("poster"):
        assert address() is None


def test_every_program_has_ports_of_its_own() -> None:
    changes = {
        "enabled": dict.fromkeys(("ztf", "pgir", "wntr", "turbo", "lsst"), True),
        "tns": {"bot_id": 1, "bot_name": "b", "api_key": "k"},
        "ztf_ops": {"username": "u", "password": "p"},
        "performance_report": {"metrics": "http://x/metrics"},
        "gcn": {"enabled": True}, "tables": {"enabled": True}, "archive": {"enabled": True}, "night": {"auto": True}, "transients": {"enabled": True},
    }  # fmt: skip
    config: Config = build(isolated_tree(changes))
    names = [program.name for program in programs_of(config, Path(), None, False, {})]
    ours = [name for name in names if name not in ("mongod", "kafka", "api")]
    assert len(ours) == 19
    taken = [port for name in ours for port in ports_of(name, section()) if port]
    assert len(taken) == len(set(taken))
    assert all(ports_of(name, section())[0] for name in ours), "each can be predicted"
    assert max(taken) < 9410 + 200
    assert ports_of("poster", section(first_port=None)) == ports_of("dask-cluster-nowhere", section()) == [0]
    assert {tuple(ports_of(name, section(port=9410))) for name in ours} == {(9410,)}


def section(**changed: Any) -> MetricsSection:
    return build(isolated_tree({"metrics": {"first_port": 9410} | changed})).metrics


def test_a_program_that_is_told_so_exports_and_signs(
    mongo_settings: Database, mongo: MongoDatabase, tmp_path: Path
) -> None:
    """The poster, as a process of its own."""
    tree = settings_tree([], {})
    tree["database"] |= mongo_settings.model_dump(exclude={"xmatch"})
    tree["metrics"] |= {"first_port": None, "targets": str(tmp_path / "targets")}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"kowalski": tree}))
    process = subprocess.Popen(
        [sys.executable, "-m", "kowalski.outbox"], cwd=ROOT, env={**os.environ, "KOWALSKI_CONFIG": str(file)}
    )
    try:
        while not (signed := [each for each in Processes(mongo).alive() if each["program"] == "poster"]):
            assert process.poll() is None
        found = scraped(signed[0]["metrics"])
        assert found["kowalski_poster_active"] in (0, 1)
        assert "process_cpu_seconds_total" in found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert list((tmp_path / "targets").glob("*.json")) == []


def test_gauges_keep_what_is_there() -> None:
    gauge = Gauge("kowalski_test_gauge", "of a test", ["survey", "partition"], registry=CollectorRegistry())
    for partition in "012":
        gauge.labels("ZTF", partition).set(1)
    keep(gauge, [("ZTF", "1"), ("ZTF", "7")])
    (family,) = gauge.collect()
    assert [sample.labels for sample in family.samples] == [{"survey": "ZTF", "partition": "1"}]


def test_a_brokers_counters_are_there_before_anything_is_counted() -> None:
    broker_metrics.begin("NONE")
    assert broker_metrics.BATCHES.labels("NONE")._value.get() == 0
    counted = {
        sample.name
        for each in (broker_metrics.BATCHES, broker_metrics.PACKETS)
        for family in each.collect()
        for sample in family.samples
        if sample.labels["survey"] == "NONE"
    }
    assert {"kowalski_broker_batches_total", "kowalski_broker_packets_total"} <= counted
