"""What the tools that fetch files have in common: their options, progress, what failed, and the exit status."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import requests
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kowalski.downloads.files import File, Outcome, fetch_all, state_of
from kowalski.downloads.transfer import STALL
from kowalski.errors import KowalskiError

#: s between lines where there is no terminal for a bar
TELL_EVERY = 30.0

Session = Callable[[], requests.Session]


def parser_of(description: str, out: str) -> argparse.ArgumentParser:
    """A parser with the options that all have."""
    parser = argparse.ArgumentParser(description=description, epilog="Ctrl-C loses nothing: the same command goes on.")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="DIR", help=f"where the files lie ({out})")
    parser.add_argument("--jobs", type=_positive, default=4, metavar="N", help="files at a time (4)")
    parser.add_argument("--stall", type=float, default=STALL, metavar="S", help=f"s without a byte before a connection is given up ({STALL:g})")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched, and fetch nothing")
    return parser


def anonymous() -> requests.Session:
    """What asks without credentials; proxies of the environment are used."""
    return requests.Session()


def run(arguments: argparse.Namespace, files: Callable[[], Sequence[File]], session: Session = anonymous) -> int:
    """Fetch files and say what became of them; 1 where any failed, 130 when interrupted."""
    try:
        wanted = files()
        _require_places(wanted)
        if arguments.dry_run:
            return _tell(wanted)
        return fetch(wanted, arguments.jobs, session, arguments.stall)
    except KowalskiError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on where this one was", file=sys.stderr)
        return 130


def fetch(files: Sequence[File], jobs: int, session: Session, stall: float) -> int:
    """Fetch files with progress, and list those that failed; 1 where any did."""
    outcomes: list[Outcome] = []
    with _Telling(len(files)) as telling:
        for outcome in fetch_all(files, jobs, session, stall, telling.progress):
            outcomes.append(outcome)
            telling.done(outcome)
    states = [outcome.state for outcome in outcomes]
    print(", ".join(f"{states.count(state)} {state}" for state in ("fetched", "present", "failed")))
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in sorted(failed, key=lambda each: str(each.file.target)):
        print(f"failed: {outcome.file.target.name}: {outcome.detail}", file=sys.stderr)
    return 1 if failed else 0


class _Telling:
    """A bar on a terminal, lines elsewhere."""

    def __init__(self, total: int):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files, {task.fields[megabytes]:,.1f} MB"), TimeElapsedColumn())  # fmt: skip
        self._bar = Progress(*columns, disable=not sys.stdout.isatty())
        self._task = self._bar.add_task("fetching", total=total, megabytes=0.0)
        self._bytes: dict[File, int] = {}
        self._told = time.monotonic()
        self._count, self._total = 0, total

    def __enter__(self) -> "_Telling":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def progress(self, file: File, have: int) -> None:
        """So many bytes of a file have come."""
        self._bytes[file] = have
        megabytes = sum(list(self._bytes.values())) / 1e6
        self._bar.update(self._task, megabytes=megabytes)
        if self._bar.disable and time.monotonic() > self._told + TELL_EVERY:
            self._told = time.monotonic()
            print(f"{self._count} of {self._total} files, {megabytes:,.1f} MB", flush=True)

    def done(self, outcome: Outcome) -> None:
        """A file is done with."""
        self._count += 1
        self._bar.update(self._task, advance=1)
        if outcome.state != "present":
            self._bar.console.print(f"{outcome.state}: {outcome.file.target.name}", highlight=False, markup=False)


def _tell(files: Iterable[File]) -> int:
    for file in files:
        state, size = state_of(file)
        known = f", {size:,} bytes" if size else ""
        print(f"{state}{known}: {file.url} -> {file.target}{'' if file.checksum else ' (no checksum is known)'}")
    return 0


def _require_places(files: Sequence[File]) -> None:
    """Raise `KowalskiError` where there is nothing to fetch, or two files would lie at one place."""
    if not files:
        raise KowalskiError("nothing there fits what was asked for")
    places: dict[Path, str] = {}
    for file in files:
        if places.setdefault(file.target, file.url) != file.url:
            raise KowalskiError(
                f"{places[file.target]} and {file.url} would both be {file.target}: name one of them otherwise"
            )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of files")
    return int(text)
