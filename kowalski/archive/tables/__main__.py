"""Append to the tables what is new: ``python -m kowalski.archive.tables``. Several may run; one is active."""

from kowalski.archive.tables.tables import Tables
from kowalski.config import load_config
from kowalski.database.passes import Passes
from kowalski.errors import ConfigError
from kowalski.program import once_available, run_program
from kowalski.watchers.watch import Watch, stop_on_signals

PROGRAM = "tables"


def main() -> None:
    """Append until SIGTERM or SIGINT."""
    stop_on_signals()
    config = load_config()
    if not config.tables.enabled:
        raise ConfigError("tables.enabled is false: filters' passes are not kept for tables")
    tables = Tables(config)
    once_available(Passes(tables.database).ensure_indexes)
    watch = Watch(PROGRAM, tables.database)
    watch.figures["appended"] = 0

    def step() -> None:
        watch.figures["appended"] += sum(tables.append().values())

    watch.run(step, config.tables.interval)


if __name__ == "__main__":
    run_program(PROGRAM, main)
