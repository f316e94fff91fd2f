"""./kowalski.py benchmark: each scenario's smallest run on a real chain, and what it says of itself."""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import chain, scenarios
from benchmarks.chain import add_arguments, commit, figures_of, options_of, services_of
from benchmarks.measured import Measured, Options
from benchmarks.packets import packets_of_tonight
from benchmarks.scenarios import SCENARIOS, Scenario, burst, growth
from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT, in_container
from kowalski.errors import LocalError
from kowalski.local.system import LocalSystem

ZTF = get_survey("ZTF")
PAGE = (ROOT / "docs" / "speed.md").read_text()
FEW = 200


def options(*arguments: str) -> tuple[Options, Scenario]:
    """What the command line gives."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parsed = parser.parse_args(arguments)
    scenario = SCENARIOS[parsed.scenario]
    return options_of(parsed, scenario), scenario


def test_plain_is_new_with_full_catalogues() -> None:
    chosen, scenario = options()
    assert scenario is SCENARIOS["new"]
    assert chosen == Options(n=5000, filters=25, alerts=None, catalogs="full", stored=1_000_000)
    assert options("--scenario", "burst")[0].n == 10_000


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--n", "5"], "--n 5: 1280 alerts at least"),
        (["--scenario", "lone", "--n", "0"], "--n 0"),
        (["--filters", "0"], "--filters 0"),
        (["--alerts", "/no/such/folder"], "/no/such/folder"),
        (["--scenario", "growth", "--stored", "10000"], "--stored 10000"),
        (["--scenario", "history", "--n", "10001"], "--n 10001"),
        (["--scenario", "burst", "--n", "40001"], "--n 40001"),
        (["--scenario", "lone", "--archive"], "--archive is for the scenario new, not lone"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    def checked() -> int:
        chosen, scenario = options(*arguments)
        return scenario.packets(chosen)

    with pytest.raises(LocalError, match=re.escape(complaint)) as error:
        checked()
    assert "\n" not in str(error.value)


def test_the_page_explains_every_scenario() -> None:
    assert set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)) >= SCENARIOS.keys()


def test_spooled_packets_are_the_same(tmp_path: Path) -> None:
    packets = [b"a" * 10, b"", b"bcd"]
    sizes = list(burst.spooled(packets, tmp_path / "spool"))
    assert list(burst.unspooled(tmp_path / "spool", sizes)) == packets


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """The services of a chain that makes small batches, without its broker."""
    if in_container():
        pytest.skip("it starts a system of its own, whose MongoDB and Kafka are not in the images")
    system = LocalSystem.isolated(
        tmp_path_factory.mktemp("benchmark"), {"broker": {"batch_size": 8}, "kafka": {"metadata_refresh": 1}}
    )
    system.start(services_of(system, SCENARIOS["new"]))
    yield system
    system.stop()


@pytest.fixture
def measured(system: LocalSystem) -> Iterator[Measured]:
    made = Measured(system, ZTF, iter(()), Console(quiet=True))
    yield made
    made.stop_broker()
    for name in (ZTF.alerts, ZTF.aux, "outbox", "filters"):
        made.database[name].delete_many({})
    made.database.client.close()


def run(measured: Measured, name: str, chosen: Options, packets: Iterator[bytes] | None = None) -> dict[str, Any]:
    """The figures of a scenario, as JSON gives them back; they say with which weights and which code they were measured."""
    scenario = SCENARIOS[name]
    measured.packets = packets or packets_of_tonight(ZTF, scenario.packets(chosen))
    figures: dict[str, Any] = json.loads(json.dumps(figures_of(measured, scenario, chosen)))
    assert {"braai", "acai_h"} <= figures["weights"].keys()
    assert figures["commit"] == commit()
    assert (figures["catalogs"], figures["catalog_rows"] > 0) == ("small", True)
    return figures


def is_steady(figures: dict[str, Any]) -> bool:
    """Whether all parts of the chain worked, and at a rate."""
    cpu = figures["cpu_ms_per_alert"]
    return figures["alerts_per_second"] > 0 and min(cpu[part] for part in ("mongod", "kafka", "broker", "worker")) > 0


def test_new(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures have the names that docs/speed.md and docs/scaling.md are made of."""
    monkeypatch.setattr(scenarios.new, "LONE", 3)
    monkeypatch.setattr(scenarios.new, "FLOOR", 2 * scenarios.new.BATCH)
    figures = run(measured, "new", Options(n=FEW, filters=3, catalogs="small"))
    shown = PAGE[PAGE.index("<!-- benchmark:begin -->") : PAGE.index("<!-- benchmark:end -->")]
    assert json.loads(shown.split("```json")[1].split("```")[0]).keys() <= figures.keys()
    assert is_steady(figures)
    assert figures["peak_rss_mb"]["worker"] > 0
    assert figures["efficiency"] > 0
    assert figures["latency_ms"]["p50"] > 0
    assert measured.alerts.estimated_count() == FEW + 3


@pytest.mark.long
def test_history(measured: Measured) -> None:
    figures = run(measured, "history", Options(n=100, filters=3, catalogs="small"))
    assert is_steady(figures)
    assert measured.alerts.estimated_count() == 51 * 100


def test_lone_and_burst(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios.lone, "PAUSE", 0.0)
    one, many = (Options(n=n, filters=1, catalogs="small") for n in (3, 100))
    packets = packets_of_tonight(ZTF, SCENARIOS["lone"].packets(one) + SCENARIOS["burst"].packets(many))
    lone = run(measured, "lone", one, packets)
    assert 0 < lone["latency_ms"]["p50"] <= lone["latency_ms"]["p99"]
    figures = run(measured, "burst", many, packets)
    assert next(packets, None) is None
    assert 0 < figures["first_ms"] <= figures["last_ms"]
    assert figures["alerts_per_second"] == pytest.approx(100 / figures["last_ms"] * 1000, rel=0.01)
    assert not (measured.system.folder / "burst").exists()


@pytest.mark.long
def test_growth(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state is measured with as many alerts stored as it says."""
    monkeypatch.setattr(growth, "MODELS", 20)
    stored: list[int] = []
    steady = Measured.steady

    def noted(self: Measured, n: int) -> Any:
        stored.append(self.alerts.collection.count_documents({}))
        return steady(self, n)

    monkeypatch.setattr(Measured, "steady", noted)
    small = SCENARIOS["growth"]._replace(run=lambda measured, chosen: growth.grown(measured, chosen.n, 300, 600))
    monkeypatch.setitem(SCENARIOS, "growth", small)
    figures = run(measured, "growth", Options(n=FEW, filters=3, catalogs="small"))
    assert stored == [300, 600]
    assert list(figures["cpu_ms_per_alert"]) == ["300", "600"]
    first, second = (sum(cpu.values()) for cpu in figures["cpu_ms_per_alert"].values())
    assert figures["cpu_ratio"] == pytest.approx(second / first, abs=0.001)


@pytest.mark.long
def test_filters(measured: Measured) -> None:
    figures = run(measured, "filters", Options(n=FEW, filters=2, catalogs="small"))
    assert list(figures["cpu_ms_per_alert"]) == ["2", "20"]
    assert measured.database["filters"].count_documents({"active": True}) == 20


def test_thumbnails(measured: Measured) -> None:
    figures = run(measured, "thumbnails", Options(n=5, filters=1, catalogs="small"))
    assert figures["candidates"] == 5
    assert 0 < figures["cpu_ms_per_candidate"]["messages"] < figures["cpu_ms"]


def test_the_command_writes_what_it_measured_and_frees_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing started, as all that it starts is measured above."""
    folder, file = tmp_path / "benchmark", tmp_path / "figures.json"
    monkeypatch.setattr(chain, "FOLDER", folder)
    monkeypatch.setattr(LocalSystem, "start", lambda self, names, progress: None)
    monkeypatch.setattr(chain, "figures_of", lambda *arguments: {"alerts": (folder / "data").write_bytes(bytes(50_000_000))})  # fmt: skip
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert chain.run(parser.parse_args(["--scenario", "lone", "--json", str(file)])) == 0
    figures = json.loads(file.read_text())
    assert figures == json.loads(capsys.readouterr().out)
    assert (figures["scenario"], figures["disk_gb"]) == ("lone", 0.05)
    assert not folder.exists()
