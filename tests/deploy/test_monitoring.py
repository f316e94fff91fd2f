"""What Prometheus and Grafana are given: it parses, holds together, and names no metric that no program exports. Each metric is explained."""

import importlib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
import yaml
from compose_files import BARE, FRITZ, TRAEFIK, services
from prometheus_client.metrics import MetricWrapperBase

from kowalski.alerts.trace import STAGES
from kowalski.api.services.figures import BROKER, QUARANTINE
from kowalski.config import ROOT, settings_tree

FOLDER = ROOT / "monitoring"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "kowalski.json"
DOCUMENT = (ROOT / "docs" / "monitoring.md").read_text()
#: what a family's kind makes of its name
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
#: metrics that are not Kowalski's own: of Prometheus and of its library for Python
OTHERS = {"up", "process_resident_memory_bytes"}
DURATION = re.compile(r"(\d+)(s|m|h|d)")


@cache
def families() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name of each metric that a module of Kowalski's declares -> its kind and its labels."""
    found = {}
    for path in sorted((ROOT / "kowalski").rglob("*.py")):
        if "prometheus_client" not in path.read_text():
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        for value in vars(importlib.import_module(".".join(parts))).values():
            if isinstance(value, MetricWrapperBase):
                (family,) = value.describe()
                found[family.name] = family.type, value._labelnames
    return found


def samples() -> set[str]:
    """The names under which Prometheus gets them."""
    return {f"{name}{suffix}" for name, (kind, _) in families().items() for suffix in SUFFIXES[kind]}


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]:
        assert set(group) == {"name", "rules"}
        yield from group["rules"]


def dashboard() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return whole


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (variable["query"] for variable in dashboard()["templating"]["list"])


def named(expression: str) -> set[str]:
    """The metrics that an expression of PromQL names: words before a selector, a closing bracket or a comparison."""
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:kowalski|process|python)_\w+|\bup\b", bare))


def test_programs_export_something() -> None:
    assert len(families()) > 40
    assert "kowalski_latency_seconds" in families()


def test_no_module_that_runs_as_a_program_declares_metrics() -> None:
    """It may be imported a second time by its name, as in the children of its process, and a metric is declared once."""
    for path in (ROOT / "kowalski").rglob("*.py"):
        text = path.read_text()
        if '__name__ == "__main__"' in text:
            assert not re.search(r"^\w+ = (Counter|Gauge|Histogram)\(", text, re.MULTILINE), path


def test_every_metric_that_is_named_exists() -> None:
    unknown = {name for expression in expressions() for name in named(expression)} - samples() - OTHERS
    assert unknown == set()


def test_every_expression_names_one_and_its_brackets_close() -> None:
    for expression in expressions():
        assert named(expression), expression
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), expression


def test_labels_and_stages_are_those_of_the_metrics() -> None:
    """In each selector, and after each `by`."""
    added = {"job", "instance", "program", "host", "pid", "le"}
    known = {label for _, labels in families().values() for label in labels} | added
    for expression in expressions():
        for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
            family = next((each for each in families() if name.startswith(each) and name in {f"{each}{suffix}" for suffix in SUFFIXES[families()[each][0]]}), None)  # fmt: skip
            labels = set(families()[family][1]) | added if family else added
            assert set(re.findall(r"(\w+)(?:=~|!=|=)", selector)) <= labels, expression
        for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            assert set(re.split(r",\s*", grouping)) <= known, expression
        for stages in re.findall(r'\bstage=~?"([^"]*)"', expression):
            assert set(stages.split("|")) <= set(STAGES), expression


def test_rules_say_what_prometheus_wants() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 10
    for rule in rules():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Kowalski[A-Za-z]+", rule["alert"])
        assert DURATION.fullmatch(rule["for"]), rule
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        for text in rule["annotations"].values():
            assert text.count("{{") == text.count("}}")
            assert set(re.findall(r"\{\{ ([^}]*) \}\}", text)) <= {"$value", *(f"$labels.{name}" for name in ("survey", "program", "host", "reason"))}  # fmt: skip


def test_prometheus_finds_rules_and_targets() -> None:
    settings = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [(FOLDER / name).exists() for name in settings["rule_files"]] == [True]
    (kowalski,) = [each for each in settings["scrape_configs"] if each["job_name"] == "kowalski"]
    files = kowalski["file_sd_configs"][0]["files"]
    targets = settings_tree([], {})["metrics"]["targets"]
    assert f"../{targets}/*.json" in files
    for compose in (BARE, FRITZ, TRAEFIK):
        found = services(compose)
        assert "targets:/targets:ro" in found["prometheus"]["volumes"]
        for writer in ("api", "ingester"):
            assert f"targets:/kowalski/{targets}" in found[writer]["volumes"]
            assert found[writer]["environment"]["KOWALSKI__METRICS__HOST"] == "0.0.0.0"
        for service in ("prometheus", "grafana"):
            assert found[service]["profiles"] == ["monitoring"]
            for volume in found[service]["volumes"]:
                if volume.startswith("./"):
                    assert (ROOT / volume.split(":")[0]).exists(), volume


def test_the_dashboard_is_whole() -> None:
    source = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/kowalski.yml").read_text())["providers"][0]
    assert f"./monitoring/grafana/dashboards:{provider['options']['path']}:ro" in services(BARE)["grafana"]["volumes"]
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert {"type", "title", "gridPos"} <= set(panel)
        if panel["type"] == "row":
            continue
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == source["uid"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(taken) == len(set(taken))


# the document


@pytest.mark.parametrize("name", sorted(families()))
def test_every_metric_is_explained(name: str) -> None:
    kind, labels = families()[name]
    shown = f"{name}_total" if kind == "counter" else name
    row = next((line for line in DOCUMENT.splitlines() if line.startswith(f"| `{shown}`")), None)
    assert row is not None, f"docs/monitoring.md has no row of {shown}"
    assert [label for label in labels if f"`{label}`" not in row] == []


def test_what_the_admin_sees_besides_is_explained() -> None:
    text = (ROOT / "kowalski/api/services/figures.py").read_text()
    names = set(re.findall(r'"(kowalski_[a-z_]+)"', text))
    names |= {f"kowalski_broker_{name}" for name in BROKER} | {f"kowalski_quarantine_{name}" for name in QUARANTINE}
    assert len(names) > 10
    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []


def test_no_row_explains_what_is_not_there() -> None:
    rows = re.findall(r"^\| `(kowalski_\w+)`", DOCUMENT, re.MULTILINE)
    known = {f"{name}_total" if kind == "counter" else name for name, (kind, _) in families().items()}
    assert len(rows) == len(set(rows))
    assert set(rows) == known


def test_every_rule_is_listed() -> None:
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in DOCUMENT] == []


def test_times_of_rules_are_longer_than_the_interval() -> None:
    settings = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    interval = timedelta(seconds=int(settings["global"]["scrape_interval"].rstrip("s")))
    for expression in expressions():
        for number, unit in re.findall(r"\[(\d+)(s|m|h|d)\]", expression):
            assert timedelta(seconds=int(number) * seconds[unit]) >= 4 * interval, expression
