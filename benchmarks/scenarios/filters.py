"""Many filters: CPU per alert with so many, and with ten times as many."""

from typing import Any

from benchmarks.filters import benchmark_filters
from benchmarks.measured import Measured, Options, compared

MORE = 10


def packets(options: Options) -> int:
    """How many packets it takes."""
    return 2 * options.n


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures."""
    few, many = options.filters, options.filters * MORE
    steady = {few: measured.steady(options.n)}
    measured.stop_broker()
    measured.put_filters(benchmark_filters(many, measured.survey))
    steady[many] = measured.steady(options.n)
    return compared(steady)
