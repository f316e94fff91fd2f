"""./kowalski.py migrate: look at a database of Kowalski 3, and change what new alerts, queries and filters need.

It may be stopped and started again at any time, also beside a running Kowalski. Nothing is dropped.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kowalski.alerts.survey import Survey, known_surveys
from kowalski.config import load_config
from kowalski.crossmatch.pixels import Grid
from kowalski.database.client import connect
from kowalski.database.migration import Migration
from kowalski.errors import FilterError
from kowalski.filters.compile import parse_pipeline
from kowalski.filters.definition import compile_filter
from kowalski.local.bars import working
from kowalski.log import setup_logging

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say what has to be done; exit status 1 if anything has")
    what.add_argument("--run", action="store_true", help="do it")
    parser.add_argument("--pixels", action="store_true", help="with --run: add the HEALPix pixels of catalogues' rows, by which cross-matches take a tenth of the CPU; hours for a billion rows")  # fmt: skip
    parser.add_argument("--indexes", action="store_true", help="with --run: build missing indexes too, which takes hours on full collections")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Check or change the database of the settings; the exit status."""
    setup_logging("migrate", "WARNING")
    for name in ("indexes", "pixels"):
        if getattr(arguments, name) and not arguments.run:
            raise SystemExit(f"--{name} goes with --run")
    config = load_config()
    migration = Migration(connect(config.database))
    surveys = known_surveys()
    if arguments.run:
        change(migration, surveys, arguments.indexes)
    if arguments.pixels:
        add_pixels(migration, migration.without_pixels(config.database.xmatch))
    with working("looking at the database"):
        left = list(check(migration, surveys))
    for line in left or ["nothing to be done"]:
        print(line)
    for line in (*notes(migration), *slow(migration.without_pixels(config.database.xmatch))):
        print(line)
    return 1 if left else 0


def check(migration: Migration, surveys: list[Survey]) -> Iterator[str]:
    """What has to be done, a line each."""
    for survey in surveys:
        if old := migration.old_objects(survey):
            yield f"{survey.aux}: {old} objects have the shape of version 3 (--run)"
    for collection, indexes in migration.missing_indexes(surveys).items():
        yield f"{collection}: no index {', '.join(index.name for index in indexes)} (--run --indexes)"
    if misnamed := migration.misnamed_triggers():
        yield f"skymaps: {misnamed} have trigger_id, not triggerid (--run)"
    filters = migration.filters()
    numbers = Counter(document.get("filter_id") for document in filters)
    for filter_id, number in numbers.items():
        if number > 1:
            yield f"filters: {number} have filter_id {filter_id}: keep one (by hand)"
    for document in filters:
        for what, reason in refused(document):
            yield f"filters: filter_id {document.get('filter_id')}, {what}: {reason} (by its owner)"


def refused(document: dict[str, object]) -> Iterator[tuple[str, str]]:
    """The pipelines of a filter that will not run, with the reasons."""
    try:
        compile_filter(dict(document))
    except (FilterError, KeyError, TypeError, AttributeError) as error:
        yield f"version {document.get('active_fid')}", str(error)
    for name in ("autosave", "auto_followup"):
        extra = document.get(name)
        if isinstance(extra, dict) and extra.get("pipeline"):
            try:
                parse_pipeline(extra["pipeline"])
            except FilterError as error:
                yield name, str(error)


def notes(migration: Migration) -> Iterator[str]:
    """What comes right by itself."""
    if old := migration.old_passwords():
        yield f"users: {len(old)} have passwords hashed as in version 3: they log in with them, which renews the hash"


def slow(catalogs: Iterable[tuple[str, Grid]]) -> Iterator[str]:
    """What would be faster."""
    for name, _ in catalogs:
        yield f"{name}: its rows have no pixels: cross-matches with it take ten times the CPU (--run --pixels)"


def add_pixels(migration: Migration, catalogs: Iterable[tuple[str, Grid]]) -> None:
    """Catalogues have their rows' pixels, with a bar for each."""
    with Progress(*COLUMNS) as progress:
        for name, grid in catalogs:
            bar = progress.add_task(f"pixels of {name}", total=migration.rows(name))
            nowhere = migration.add_pixels(name, grid, lambda done, bar=bar: progress.advance(bar, done))  # type: ignore[misc]
            if nowhere:
                progress.print(
                    f"{name}: {nowhere} rows are no points, so it is searched by its geographic index as before"
                )


def change(migration: Migration, surveys: list[Survey], indexes: bool) -> None:
    """Do all that can be done without asking, with a bar for each survey."""
    with Progress(*COLUMNS) as progress:
        for survey in surveys:
            if old := migration.old_objects(survey):
                bar = progress.add_task(f"objects of {survey.aux}", total=old)
                orphans = migration.renew_objects(survey, lambda done, bar=bar: progress.advance(bar, done))  # type: ignore[misc]
                if orphans:
                    progress.print(
                        f"{survey.aux}: {orphans} objects have no alerts: all that they hold stays as it was"
                    )
        for collection, missing in migration.missing_indexes(surveys).items() if indexes else ():
            bar = progress.add_task(f"indexes of {collection}", total=len(missing))
            for index in missing:
                migration.build_index(collection, index)
                progress.advance(bar)
    if changed := migration.rename_triggers():
        print(f"skymaps: {changed} have triggerid now")
