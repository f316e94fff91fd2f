"""Progress bars for bytes, for what can be counted, and for what can't."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)
UNCOUNTED = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
COUNTED = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def bytes_bar(total: int, description: str) -> Iterator[Callable[[str, int], None]]:
    """A bar, and the function that is told what is being done and how many bytes more are done."""
    with Progress(*COLUMNS) as bar:
        task = bar.add_task(description, total=total or None)
        yield lambda doing, done: bar.update(task, description=doing, advance=done)


@contextmanager
def counting_bar(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, and the function that is told how many are done."""
    with Progress(*COUNTED, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def working(doing: str) -> Iterator[None]:
    """Whoever watches a terminal sees what is being done, and for how long; nothing of it stays, and nothing of it is in a file."""
    console = Console(stderr=True)
    with Progress(*UNCOUNTED, console=console, transient=True, disable=not console.is_terminal) as line:
        line.add_task(doing, total=None)
        yield
