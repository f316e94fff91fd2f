"""Every metric that a program of Kowalski's has for Prometheus: its kind, its labels and what it says."""

import importlib
import re
from typing import NamedTuple

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from kowalski.api.services.figures import GAUGES
from kowalski.config import ROOT
from kowalski.documentation.tables import code, table

#: a module that makes metrics
MAKES = re.compile(r"^from prometheus_client import .*\b(Counter|Gauge|Histogram|Summary|Info|Enum)\b", re.MULTILINE)


class Metric(NamedTuple):
    """One family of figures; a counter's name without the ``_total`` that its samples have."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def metrics() -> list[Metric]:
    """All that any module of Kowalski's declares, whichever program has it, by name."""
    for path in sorted((ROOT / "kowalski").rglob("*.py")):
        if MAKES.search(path.read_text()):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    made = {each for each in REGISTRY._collector_to_names if isinstance(each, MetricWrapperBase)}
    declared = {
        Metric(each._name, str(each._type), tuple(each._labelnames), each._documentation)
        for each in made
        if each._name.startswith("kowalski_")
    }
    gauges = {Metric(name, "gauge", labels, text) for name, (text, labels) in GAUGES.items()}
    return sorted(declared | gauges)


def metrics_reference() -> str:
    """A table of all metrics."""
    rows = (
        (code(each.name + "_total" * (each.kind == "counter")), each.kind, ", ".join(map(code, each.labels)), each.text)
        for each in metrics()
    )
    return table(("metric", "kind", "labels", "what it says"), rows)
