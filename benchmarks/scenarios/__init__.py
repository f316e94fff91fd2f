"""What can be measured: one module a scenario, and the table of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.floor import BATCH
from benchmarks.measured import Measured, Options
from benchmarks.scenarios import burst, filters, growth, history, lone, new, thumbnails


class Scenario(NamedTuple):
    """One way to measure.

    Attributes
    ----------
    packets : how many packets it takes; raises LocalError for options that it can't be run with
    run : the figures
    n, least : alerts to stream, unless said otherwise and at least
    """

    packets: Callable[[Options], int]
    run: Callable[[Measured, Options], dict[str, Any]]
    n: int
    least: int
    #: what it needs besides mongod: Kafka, dask
    chain: bool = True


#: alerts from which on there is a steady state
STEADY = 10 * BATCH

SCENARIOS = {
    "new": Scenario(new.packets, new.run, 5000, STEADY),
    "history": Scenario(history.packets, history.run, 5000, STEADY),
    "lone": Scenario(lone.packets, lone.run, lone.LONE, 1),
    "burst": Scenario(burst.packets, burst.run, 10_000, 1),
    "growth": Scenario(growth.packets, growth.run, 5000, STEADY),
    "filters": Scenario(filters.packets, filters.run, 5000, STEADY),
    "thumbnails": Scenario(thumbnails.packets, thumbnails.run, 256, 1, chain=False),
}
