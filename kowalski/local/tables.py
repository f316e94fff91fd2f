"""./kowalski.py tables: what is kept as Parquet, and nights made whole."""

import argparse
import json
from itertools import groupby

from kowalski.alerts.survey import get_survey
from kowalski.archive.tables.store import Partition, Size, Store
from kowalski.archive.tables.tables import Tables
from kowalski.config import load_config
from kowalski.local.bars import working
from kowalski.log import setup_logging
from kowalski.night.dates import night_from

#: nights that are listed without --all
LATEST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Actions of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    status = actions.add_parser("status", help="what is there, by night, survey and table")
    status.add_argument("--all", action="store_true", help=f"all nights, not only the last {LATEST}")
    status.add_argument("--json", action="store_true", help="for programs")
    compact = actions.add_parser("compact", help="a night's tables made whole: complete, exact and sorted")
    compact.add_argument("night", metavar="NIGHT", help="YYYYMMDD or YYYY-MM-DD")
    compact.add_argument("--survey", metavar="NAME", help="of one survey; without it, of all that are enabled")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked."""
    return _compact(arguments) if arguments.action == "compact" else _status(arguments)


def _compact(arguments: argparse.Namespace) -> int:
    """Make a night whole; 1 where there is nothing of it."""
    setup_logging("tables")
    night, tables = night_from(arguments.night), Tables(load_config())
    surveys, found = [get_survey(arguments.survey).name] if arguments.survey else tables.surveys, False
    try:
        for survey in surveys:
            with working(f"{survey} {night:%Y%m%d}: tables made whole"):
                counts = tables.compact(survey, night)
            found = found or bool(counts)
            said = ", ".join(f"{rows} {table}" for table, rows in counts.items()) or "nothing of that night"
            print(f"{survey} {night:%Y%m%d}: {said}")
    finally:
        tables.close()
    return 0 if found else 1


def _status(arguments: argparse.Namespace) -> int:
    """List what is there."""
    settings = load_config().tables
    store = Store(settings.folder)
    partitions = store.partitions()
    nights = sorted({each.night for each in partitions}, reverse=True)
    shown = nights if arguments.all else nights[:LATEST]
    with working(f"looking through {store.root}"):
        sizes = [(each, store.size(each)) for each in partitions if each.night in shown]
    if arguments.json:
        listed = [{**vars(each), **vars(size)} for each, size in sizes]
        print(json.dumps({"enabled": settings.enabled, "folder": store.root, "tables": listed}, indent=2))
    else:
        _show(settings.enabled, store.root, sizes, len(nights) - len(shown))
    return 0


def _show(enabled: bool, root: str, sizes: list[tuple[Partition, Size]], others: int) -> None:
    print(f"tables in {root}; {'kept' if enabled else 'not kept (tables.enabled)'} as the night goes")
    ordered = sorted(sizes, key=lambda each: (each[0].night, each[0].survey), reverse=True)
    for (night, survey), own in groupby(ordered, key=lambda each: (each[0].night, each[0].survey)):
        print(f"\n{night} {survey}\n  {'table':10} {'rows':>12} {'files':>6} {'MB':>9}")
        for partition, size in own:
            print(f"  {partition.table:10} {size.rows:12} {size.files:6} {size.bytes / 1e6:9.1f}")
    if others:
        print(f"\nand {others} nights before: --all lists them")
