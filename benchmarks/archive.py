"""The chain with the packet archive on, between two runs without it, and the ratio of what they take."""

from typing import Any

from benchmarks.measured import Measured, Steady

#: bytes of a file: so small that files are closed, looked at and summed up while the clock runs
SEGMENT_BYTES = 16 << 20


def compared_with_archive(measured: Measured, n: int, before: Steady) -> dict[str, Any]:
    """Alerts/s and CPU ms per alert with the archive and without it, and the ratio of their CPU; ``before`` was a run without it."""
    steady = {}
    for name, enabled in (("with", True), ("after", False)):
        measured.stop_broker()
        measured.set({"archive": {"enabled": enabled}})
        steady[name] = measured.steady(n)
    kept = sum(file.stat().st_size for file in measured.archive.rglob("*.avro"))
    without = [before, steady["after"]]
    rate = sum(each.rate for each in without) / len(without)
    cpu = sum(each.total for each in without) / len(without)
    return {
        "alerts_per_second": {
            "with": round(steady["with"].rate, 1),
            "without": [round(each.rate, 1) for each in without],
        },
        "cpu_ms_per_alert": {"with": steady["with"].cpu, "without": [each.cpu for each in without]},
        "rate_ratio": round(steady["with"].rate / rate, 3),
        "cpu_ratio": round(steady["with"].total / cpu, 3),
        "bytes_per_alert": round(kept / n),
    }
