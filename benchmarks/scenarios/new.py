"""Objects new to the database: the rate, CPU and memory of the chain, its latency, and how far it is from the floor."""

from itertools import islice
from typing import Any

from benchmarks.archive import compared_with_archive
from benchmarks.floor import BATCH, Floor
from benchmarks.measured import Measured, Options
from benchmarks.meters import Memory
from benchmarks.scenarios.lone import LONE, latency

#: alerts on which the floor is timed
FLOOR = 5 * BATCH


def packets(options: Options) -> int:
    """How many packets it takes."""
    return options.n * (3 if options.archive else 1) + LONE + FLOOR


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures."""
    with Memory(measured.system, measured.survey) as memory:
        steady = measured.steady(options.n)
        milliseconds = latency(measured, LONE)
    archive = {"archive": compared_with_archive(measured, options.n, steady)} if options.archive else {}
    measured.console.print("timing the floor ...")
    floor = Floor(measured.system.config, measured.survey, measured.database, measured.system.pid_of("mongod"))
    floor_ms = floor.measure(list(islice(measured.packets, FLOOR)))
    least = sum(floor_ms.values())
    return {
        "alerts_per_second": round(steady.rate, 1),
        "cpu_ms_per_alert": steady.cpu,
        "latency_ms": milliseconds,
        "peak_rss_mb": memory.peak,
        "floor_ms_per_alert": round(least, 3),
        "floor_ms_by_call": floor_ms,
        "efficiency": round(least / steady.total, 3),
        **archive,
    }
