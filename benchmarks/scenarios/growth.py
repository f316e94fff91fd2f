"""Growth: CPU per alert with few and with many alerts stored, which ought to be the same."""

from itertools import islice
from typing import Any

from benchmarks.measured import Measured, Options, compared
from benchmarks.stored import store_rows
from kowalski.errors import LocalError

#: alerts that are there at first
FEW = 10_000
#: alerts of which the rows are copies
MODELS = 200


def packets(options: Options) -> int:
    """How many packets it takes.

    Raises
    ------
    LocalError : there are to be no more at last than at first
    """
    if options.stored <= FEW:
        raise LocalError(f"--stored {options.stored}: more than {FEW} alerts, with which it is compared")
    return MODELS + 2 * options.n


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures; the rows have no cutouts, but are in every index."""
    return grown(measured, options.n, FEW, options.stored)


def grown(measured: Measured, n: int, few: int, many: int) -> dict[str, Any]:
    """CPU per alert with so many alerts stored, then with so many more."""
    before = measured.alerts.estimated_count()
    measured.publish(islice(measured.packets, MODELS), "alerts to copy", MODELS)
    measured.start_broker()
    measured.when(before + MODELS)
    measured.weights  # noqa: B018 - read while there are few
    steady, rows = {}, 0
    for stored in (few, many):
        measured.stop_broker()
        more = stored - measured.alerts.estimated_count()
        with measured.progress(f"storing up to {stored} alerts", more) as bar:
            store_rows(measured.database, measured.survey, more, bar.more, rows)
        rows += more
        measured.settle()
        steady[stored] = measured.steady(n)
    return compared(steady)
