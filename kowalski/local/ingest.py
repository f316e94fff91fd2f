"""./kowalski.py ingest: catalogues, matchfiles and tables put into the database, each by its recipe."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from bson import json_util
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from kowalski.config import ROOT, load_config
from kowalski.database.client import connect
from kowalski.database.ingests import Ingests
from kowalski.errors import IngestError
from kowalski.ingesters.catalog import Catalog, table_files
from kowalski.ingesters.cuts import Cut
from kowalski.ingesters.recipe import Recipe
from kowalski.ingesters.recipes import RECIPES, recipe_of
from kowalski.ingesters.run import Failed, Result, files_in, go, stretches_of
from kowalski.ingesters.source import source_of
from kowalski.ingesters.work import Mode, Plan
from kowalski.local import compose
from kowalski.log import setup_logging
from kowalski.settings import Config

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
#: whither lists of rejected rows go
REJECTS = ROOT / "data" / "ingests"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "recipes:\n" + "\n".join(f"  {name:28} {recipe.about}" for name, recipe in sorted(RECIPES.items()))
    parser.epilog += (
        "\n  catalog                      any other catalogue: FITS, CSV, Parquet, HDF5 or PyTables; with --collection"
    )
    parser.add_argument("recipe", metavar="RECIPE", help="one of those below")
    parser.add_argument("path", metavar="PATH", type=Path, help="a file, or a folder in which the recipe's files are looked for")  # fmt: skip
    parser.add_argument("--tag", help="of the release, where there are releases: a part of the collection's name")
    parser.add_argument("--rm", action="store_true", help="put this in place of what is there, once all of it is read")
    parser.add_argument("--max-docs", type=_positive, metavar="N", help="stop after N documents")
    parser.add_argument("--processes", type=_positive, metavar="N", default=os.cpu_count() or 1, help="that read and write at a time (default: one for each core)")  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="read all, write nothing; show the first document")
    how.add_argument("--verify", action="store_true", help="compare what is stored with the files")
    how.add_argument("--resume", action="store_true", help="go on with what was interrupted")
    parser.add_argument("--json", action="store_true", help="for programs")
    other = parser.add_argument_group("of the recipe catalog")
    other.add_argument("--collection", help="the collection to write")
    other.add_argument("--ra", help="column of the right ascension (default: found by its name)")
    other.add_argument("--dec", help="column of the declination")
    other.add_argument("--position-from", metavar="COLLECTION", help="a catalogue that has the positions instead, by the identifiers of its rows")  # fmt: skip
    other.add_argument("--position-id", metavar="COLUMN", help="column of these identifiers (default: that of --id)")
    other.add_argument("--id", help="column of the identifier (default: one is made of the file's name and the row)")
    other.add_argument("--keep", action="append", default=[], metavar="CONDITION", help="keep rows that meet it, such as 'Quality_flag == 0'; may be repeated")  # fmt: skip


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; 1 where a file could not be read, or what is stored differs."""
    setup_logging("ingest", "WARNING")
    recipe = chosen(arguments)
    files = files_in(recipe, arguments.path)
    if compose.is_meant(local=False):
        return _in_container(arguments)
    config = load_config()
    started = monotonic()
    with Progress(*COLUMNS, console=Console(stderr=True), disable=arguments.json) as bar:
        task = bar.add_task(f"{recipe.name}: looking at {len(files)} files", total=None)
        stretches, total, failed = stretches_of(recipe, arguments.path, files)
        plan, ingests = planned(arguments, recipe, config)
        bar.update(task, description=plan.target, total=total)
        result = go(plan, stretches, config.database, arguments.processes, lambda rows: bar.advance(task, rows))
        result.failed = failed + result.failed
        if plan.mode == "store" and not result.failed:
            total, version = sum(file.stat().st_size for file in files), config.server.version
            task = bar.add_task("sha256 of the files, bytes", total=total)
            source = source_of(recipe, arguments.tag, arguments.path, files, arguments.max_docs, version, lambda size: bar.advance(task, size))  # fmt: skip
            indexes = {name: recipe.indexes(part) for part, name in plan.collections.items()}
            ingests.finish(plan.target, indexes, plan.staged, source)
    figures = summary(plan, result, ingests, len(files), monotonic() - started)
    if arguments.json:
        print(json_util.dumps(figures, indent=2))
    else:
        show(plan, figures, result.failed, Console())
        if plan.mode == "store" and any(plan.target in own for own in config.database.xmatch.values()):
            print(f"./kowalski.py rematch {plan.target} matches the objects that are stored already with it")
    ingests.database.client.close()
    return 1 if result.failed or result.outcome.number_lacking or result.outcome.number_differing else 0


def _in_container(arguments: argparse.Namespace) -> int:
    """Do the same where MongoDB is in a container, with the folder of the files mounted there, to be read only."""
    path = arguments.path.resolve()
    folder, place = (path, "/from") if path.is_dir() else (path.parent, f"/from/{path.name}")
    texts = {
        name: getattr(arguments, name)
        for name in ("tag", "max_docs", "processes", "collection", "ra", "dec", "position_from", "position_id", "id")
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in texts.items() if value is not None]
    options += [f"--keep={each}" for each in arguments.keep]
    flags = ("rm", "dry_run", "verify", "resume", "json")
    options += [f"--{name.replace('_', '-')}" for name in flags if getattr(arguments, name)]
    folders = {folder: "/from:ro", REJECTS: "/kowalski/data/ingests"}
    return compose.with_folders("ingest", folders, arguments.recipe, place, *options)


def chosen(arguments: argparse.Namespace) -> Recipe:
    """The recipe that is asked for.

    Raises
    ------
    IngestError : there is none of this name, or the options are another one's
    """
    own = {
        name: getattr(arguments, name)
        for name in ("collection", "ra", "dec", "position_from", "position_id", "id", "keep")
    }
    if arguments.recipe != "catalog":
        recipe = recipe_of(arguments.recipe)
        if given := [f"--{name.replace('_', '-')}" for name, value in own.items() if value]:
            raise IngestError(f"{', '.join(given)}: only the recipe catalog has this; {recipe.name} knows it")
        if arguments.tag and recipe.tag is None:
            raise IngestError(f"--tag: {recipe.name} has no releases")
        return recipe
    if not own["collection"]:
        raise IngestError("the recipe catalog needs --collection NAME")
    if bool(own["ra"]) != bool(own["dec"]):
        raise IngestError("--ra and --dec go together")
    placed_by = (own["position_from"], own["position_id"] or own["id"]) if own["position_from"] else None
    if placed_by and (own["ra"] or not placed_by[1]):
        raise IngestError("--position-from needs --position-id or --id, and neither --ra nor --dec")
    if own["position_id"] and not placed_by:
        raise IngestError("--position-id is for --position-from")
    if own["collection"].startswith(("system.", "_")) or "$" in own["collection"]:
        raise IngestError(f"--collection {own['collection']}: no name for a catalogue")
    for condition in own["keep"]:
        Cut.parse(condition)
    place = (own["ra"], own["dec"]) if own["ra"] else None
    return Catalog("catalog", "a catalogue", own["collection"], table_files("*"), place, own["id"], keep=tuple(own["keep"]), placed_by=placed_by)  # fmt: skip


def planned(arguments: argparse.Namespace, recipe: Recipe, config: Config) -> tuple[Plan, Ingests]:
    """What is to be done; an ingestion that begins is marked as begun.

    Raises
    ------
    IngestError : another one was interrupted, or there is none to go on with
    """
    mode: Mode = "read" if arguments.dry_run else "verify" if arguments.verify else "store"
    collections = recipe.collections(arguments.tag)
    target = next(iter(collections.values()))
    ingests = Ingests(connect(config.database))
    staged = False
    if mode == "store":
        REJECTS.mkdir(parents=True, exist_ok=True)
        ingests.ensure_indexes()
        earlier = ingests.unfinished(target)
        if arguments.resume:
            if earlier is None:
                raise IngestError(f"{target}: there is nothing to go on with: no ingestion was interrupted")
            staged = earlier["staged"]
        elif earlier is not None and not arguments.rm:
            raise IngestError(f"{target}: an ingestion of {earlier['started']:%Y-%m-%d %H:%M} UTC was interrupted: --resume goes on with it, --rm begins anew")  # fmt: skip
        else:
            staged = arguments.rm or not any(ingests.exists(name) for name in collections.values())
            ingests.begin(target, recipe.name, list(collections.values()), staged)
            (REJECTS / f"{target}.jsonl").unlink(missing_ok=True)
    return Plan(recipe, mode, target, collections, staged, REJECTS / f"{target}.jsonl", arguments.max_docs), ingests


def summary(plan: Plan, result: Result, ingests: Ingests, files: int, seconds: float) -> dict[str, Any]:
    """The figures of a run."""
    outcome = result.outcome
    figures: dict[str, Any] = {
        "recipe": plan.recipe.name,
        "mode": plan.mode,
        "files": files,
        **outcome.counts,
        "failed": [asdict(each) for each in result.failed],
        "seconds": round(seconds, 2),
        "rows_per_s": round(outcome.counts["read"] / seconds) if seconds else None,
    }
    if plan.mode == "read":
        return {**figures, "example": outcome.example}
    if plan.mode == "verify":
        figures |= {"lacking": outcome.number_lacking, "differing": outcome.number_differing}
        figures |= {"examples": [*outcome.lacking, *outcome.differing]}
    elif outcome.counts["rejected"]:
        figures["rejects"] = str(plan.rejects)
    return {**figures, "collections": {name: ingests.count(name) for name in plan.collections.values()}}


def show(plan: Plan, figures: dict[str, Any], failed: list[Failed], console: Console) -> None:
    """The figures, and what to do about what went wrong."""
    table = Table(box=None, show_header=False)
    for name in ("files", "read", "stored", "known", "cut", "rejected", "lacking", "differing"):
        if name in figures:
            table.add_row(name, f"{figures[name]:,}")
    for name, number in figures.get("collections", {}).items():
        table.add_row(name, f"{number:,} documents")
    console.print(table)
    if plan.mode == "read" and figures["example"]:
        console.print(json.dumps(json.loads(json_util.dumps(figures["example"])), indent=2))
    if figures.get("rejects"):
        console.print(f"rejected rows and reasons: {figures['rejects']}")
    if figures.get("examples"):
        console.print(f"not stored as in the file, for instance: {', '.join(map(repr, figures['examples']))}")
    for each in failed:
        print(f"{each.file}: {each.reason}", file=sys.stderr)
    if failed and plan.mode == "store":
        where = "nothing is put in place until" if plan.staged else "the rest is stored;"
        print(f"{where} these are mended: then --resume", file=sys.stderr)
