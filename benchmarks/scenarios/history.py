"""Objects that are well known: the rate, CPU and memory of the chain where each has many earlier alerts and a long history."""

from itertools import islice
from typing import Any

from benchmarks.measured import AHEAD, Measured, Options
from benchmarks.meters import Memory
from benchmarks.stored import EARLIER, POINTS, with_past
from kowalski.errors import LocalError


def packets(options: Options) -> int:
    """How many packets it takes.

    Raises
    ------
    LocalError : more than wait in Kafka, so that pasts would be stored while the clock runs
    """
    if options.n > AHEAD:
        raise LocalError(
            f"--n {options.n}: {AHEAD} alerts at most have their objects' past stored before the clock starts"
        )
    return options.n


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures."""
    known = with_past(islice(measured.packets, options.n), measured.database, measured.survey, measured.system.config)
    with Memory(measured.system, measured.survey) as memory:
        steady = measured.steady(options.n, known)
    return {
        "earlier_alerts_per_object": EARLIER,
        "history_points_per_object": POINTS,
        "alerts_per_second": round(steady.rate, 1),
        "cpu_ms_per_alert": steady.cpu,
        "peak_rss_mb": memory.peak,
    }
