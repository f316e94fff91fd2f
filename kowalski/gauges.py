"""Gauges of things that come and go: partitions, networks, workers."""

from collections.abc import Iterable

from prometheus_client import Gauge


def keep(gauge: Gauge, labels: Iterable[tuple[str, ...]]) -> None:
    """What a gauge says of things with some labels stays; what it says of others is gone, at no moment what stays."""
    kept = set(labels)
    for metric in list(gauge.collect()):
        for sample in metric.samples:
            if (values := tuple(sample.labels.values())) not in kept:
                gauge.remove(*values)
