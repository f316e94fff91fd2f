"""The commands that stream a night, run as a user runs them."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import filter_document

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.config import ROOT
from kowalski.database.quarantine import Quarantine
from kowalski.local.system import MARK
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher


def kowalski(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``./kowalski.py`` with some arguments and additions to the environment."""
    command = [sys.executable, str(ROOT / "kowalski.py"), *arguments]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=280, check=False
    )


def demo(folder: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """The table of a demo in a folder of its own, which has left no process behind."""
    table = folder / "table.json"
    result = kowalski(
        "demo", "--exit", "--json", str(table), "--folder", str(folder / "demo"), *arguments, **environment
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "balance 0: nothing is missing" in result.stdout
    left = [process for process in psutil.process_iter() if _mark(process) == str((folder / "demo").resolve())]
    assert left == []
    written: dict[str, Any] = json.loads(table.read_text())
    return written


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


def test_real_packets_twice(tmp_path: Path, test_data: Path, test_models: Path) -> None:
    """36 alerts with the published networks' scores; the same folder again adds nothing."""
    weights = {"KOWALSKI__ML__FOLDER": str(tmp_path / "models")}
    assert kowalski("models", "--from", str(test_models), **weights).returncode == 0
    first = demo(tmp_path, "--alerts", str(test_data / "ztf_alerts"), **weights)
    assert (first["alerts"], first["new_alerts"], first["objects"]) == (36, 36, 35)
    assert {(score["model"], score["alerts"]) for score in first["scores"]} == {
        (name, 36) for name in ("braai", "acai_h", "acai_v", "acai_o", "acai_n", "acai_b")
    }
    assert not any(score["version"].startswith("sim") for score in first["scores"])
    assert first["model_problems"] == {}
    second = demo(tmp_path, "--alerts", str(test_data / "ztf_alerts"), **weights)
    changing = ("new_alerts", "new_objects", "latency_s")
    assert (second["new_alerts"], second["new_objects"]) == (0, 0)
    assert {key: value for key, value in second.items() if key not in changing} == {
        key: value for key, value in first.items() if key not in changing
    }


def test_simulated_packets(tmp_path: Path) -> None:
    """Without --alerts: as many as asked for, scored, matched, filtered, and posted."""
    table = demo(tmp_path, "--n", "150")
    assert table["alerts"] == table["new_alerts"] == 150
    assert {score["model"] for score in table["scores"]} >= {"braai", "acai_h"}
    assert table["cross_matches"]["Gaia_EDR3"] > 0
    assert sum(table["passed"].values()) == table["candidates_posted"] > 0
    assert table["outbox"]["pending"] == table["outbox"]["failed"] == 0
    assert table["latency_s"]["p50"] > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["demo", "--alerts", "/no/such/folder"], "no such folder"),
        (["demo", "--n", "0"], "--n 0"),
        (["benchmark", "--n", "5"], "--n 5"),
        (["replay", "ZTF", "tonight"], "not a night"),
        (["replay", "HST", "20240101"], "no survey HST"),
    ],
)
def test_wrong_arguments(arguments: list[str], complaint: str) -> None:
    """One clear line, and no traceback."""
    result = kowalski(*arguments)
    assert result.returncode != 0
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_replays(chain: Any, tmp_path: Path) -> None:
    """A night again from a folder, a tarball and Kafka: what is missing is added, what is there stays as it is."""
    environment = {"KOWALSKI_CONFIG": str(chain.system.config_file)}
    packets = list(simulate(60, seed=31, night="20240301"))
    folder = tmp_path / "night"
    folder.mkdir()
    for packet in packets:
        (folder / f"{packet.candid}.avro").write_bytes(packet.data)
    result = kowalski("replay", "ZTF", "20240301", "--from", f"dir:{folder}", "--no-post", **environment)
    assert result.returncode == 0, result.stderr
    assert "60 stored" in result.stdout
    assert chain.database.outbox.count_documents({}) == 0
    with tarfile.open(tmp_path / "night.tar.gz", "w:gz") as tar:
        tar.add(folder)
    shutil.rmtree(folder)
    result = kowalski("replay", "ZTF", "20240301", "--from", f"tar:{tmp_path / 'night.tar.gz'}", **environment)
    assert "0 stored, 60 known" in result.stdout
    chain.topic = "ztf_20240302_programid1"  # a night that no broker reads any more
    chain.publish(packet.data for packet in simulate(40, seed=32, night="20240302"))
    result = kowalski("replay", "ZTF", "20240302", "--from", "kafka", **environment)
    assert "40 stored" in result.stdout, result.stdout + result.stderr
    assert chain.stored() == 100
    assert kowalski("replay", "ZTF", "20240302", "--from", "dir:/no/such", **environment).returncode == 1


def test_quarantine_replayed(chain: Any) -> None:
    """What was refused of a night, once more: it leaves quarantine unless it is refused again."""
    environment = {"KOWALSKI_CONFIG": str(chain.system.config_file)}
    night = datetime(2024, 3, 3, tzinfo=UTC)
    data = [packet.data for packet in simulate(20, seed=33, night="20240303")]
    packets = [Packet(each, "refused", 0, offset, night) for offset, each in enumerate([*data, data[0][:-9]])]
    quarantine = Quarantine(chain.database, 1_000_000)
    quarantine.add("ZTF", [Refusal(packet, "failed", "of something that was mended") for packet in packets])
    result = kowalski("replay", "ZTF", "20240303", "--from", "quarantine", **environment)
    assert "21 packets of ZTF 20240303: 20 stored, 0 known already, 1 quarantined" in result.stdout, result.stderr
    (left,) = chain.database.quarantine.find()
    assert (left["offset"], left["reason"], left["data"]) == (20, "truncated", data[0][:-9])
    result = kowalski("replay", "ZTF", "20240304", "--from", "quarantine", **environment)
    assert (result.returncode, "is in quarantine" in result.stderr) == (1, True)


def test_chosen_packets_replayed(chain: Any) -> None:
    """Each is accounted for: those that only Kafka has whole, those that an earlier try left half done, those that stay."""
    environment = {"KOWALSKI_CONFIG": str(chain.system.config_file)}
    topic = "ztf_20240305_programid1"  # a night that no broker reads any more
    data = [packet.data for packet in simulate(6, seed=34, night="20240305")]
    data.append(data[0][:-9])
    with Publisher(chain.system.config.kafka.bootstrap_servers) as publisher:
        for each in data:
            publisher.send(topic, each, "a packet")
    packets = [Packet(each, topic, 0, offset) for offset, each in enumerate(data)]
    expired, copy = Packet(b"expired", topic, 0, 99), Packet(data[1], "copy", 0, 0)
    chain.database.quarantine.delete_many({})
    full, roomy = Quarantine(chain.database, 1_000_000, 0), Quarantine(chain.database, 1_000_000)
    full.add("ZTF", [Refusal(packet, "failed", "of something that was mended") for packet in [*packets, expired]])
    assert chain.database.quarantine.count_documents({"truncated": True, "held": 0}) == 8
    result = kowalski("quarantine", "replay", "--all", "--survey", "ZTF", **environment)
    assert "6 stored, 0 known already, 1 refused again, 1 left" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 1
    assert f"{topic}:0:6  refused again  truncated: " in result.stdout
    assert f"{topic}:0:99  left  only its head was kept, and Kafka has expired it" in result.stdout
    assert {each["offset"]: each["reason"] for each in chain.database.quarantine.find()} == {
        6: "truncated",
        99: "failed",
    }
    chain.put_filters(filter_document(1, [{"$match": {"candid": {"$gt": 0}}}]))
    roomy.add("ZTF", [Refusal(packet, "failed", "before its filters ran") for packet in (packets[0], copy)])
    result = kowalski("quarantine", "replay", f"{topic}:0:0", "copy:0:0", **environment)
    assert "1 stored, 1 known already, 0 refused again, 0 left" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
    assert chain.database.outbox.count_documents({"kind": "candidate"}) == 1
