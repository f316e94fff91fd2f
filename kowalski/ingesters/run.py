"""A run of the ingester: the files, the processes that share them, and what came of it."""

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kowalski.database.client import connect
from kowalski.database.ingests import Ingests
from kowalski.errors import IngestError
from kowalski.ingesters.recipe import Recipe
from kowalski.ingesters.work import Outcome, Plan, Stretch, work
from kowalski.settings import Database

#: s between two looks at what the processes have done
LOOK = 0.2

Progress = Callable[[int], None]


@dataclass
class Failed:
    """A file that could not be read to its end, and why."""

    file: str
    reason: str


@dataclass
class Result:
    """What became of all files."""

    outcome: Outcome = field(default_factory=Outcome)
    failed: list[Failed] = field(default_factory=list)


def files_in(recipe: Recipe, path: Path) -> list[Path]:
    """The files that a recipe takes: one that is named, or all in a folder that have its names.

    Raises
    ------
    IngestError : there are none
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise IngestError(f"{path}: there is no such file or folder")
    found = sorted(each for each in path.rglob("*") if each.is_file() and recipe.takes(each))
    if not found:
        raise IngestError(f"{path}: {recipe.name} takes files named {', '.join(recipe.files[:8])}, and there are none")
    return found


def stretches_of(recipe: Recipe, path: Path, files: Sequence[Path]) -> tuple[list[Stretch], int | None, list[Failed]]:
    """The ranges of rows of all files, how many rows these are where that is known, and the files that can't be opened."""
    found: list[Stretch] = []
    failed: list[Failed] = []
    total: int | None = 0
    root = path if path.is_dir() else path.parent
    for file in files:
        name = str(file.relative_to(root))
        try:
            size = file.stat().st_size
            rows = recipe.rows(file)
            found += [Stretch(file, name, size, first, last) for first, last in recipe.stretches(file)]
            total = None if total is None or rows is None else total + rows
        except (IngestError, OSError) as error:
            failed.append(Failed(name, str(error)))
    return found, total, failed


def go(plan: Plan, stretches: Sequence[Stretch], settings: Database, processes: int, progress: Progress) -> Result:
    """All stretches are done, by some processes; files that can't be read to their end are named.

    Raises
    ------
    DatabaseError : MongoDB is out of reach, or refuses
    IngestError : a process was ended from outside
    """
    result = Result()
    for stretch, outcome in _outcomes(plan, stretches, settings, processes, progress):
        if isinstance(outcome, IngestError):
            result.failed.append(Failed(stretch.name, str(outcome)))
        else:
            result.outcome.join(outcome)
    return result


def _outcomes(
    plan: Plan, stretches: Sequence[Stretch], settings: Database, processes: int, progress: Progress
) -> Iterator[tuple[Stretch, Outcome | IngestError]]:
    if processes > 1 and len(stretches) > 1 and plan.most is None:
        yield from _by_processes(plan, stretches, settings, min(processes, len(stretches)), progress)
        return
    ingests = None if plan.mode == "read" else Ingests(connect(settings))
    left = plan.most
    try:
        for stretch in stretches:
            if left == 0:
                return
            yield stretch, (done := _tried(_with(plan, left), stretch, ingests, progress))
            if left is not None and isinstance(done, Outcome):
                left -= done.counts["stored"] + done.counts["known"]
    finally:
        if ingests is not None:
            ingests.database.client.close()


def _with(plan: Plan, most: int | None) -> Plan:
    return Plan(**{**vars(plan), "most": most})


def _tried(plan: Plan, stretch: Stretch, ingests: Ingests | None, progress: Progress) -> Outcome | IngestError:
    """What became of a stretch; a broken file is told of, and stops no other."""
    try:
        return work(plan, stretch, ingests, progress)
    except IngestError as error:
        return error


def _by_processes(
    plan: Plan, stretches: Sequence[Stretch], settings: Database, processes: int, progress: Progress
) -> Iterator[tuple[Stretch, Outcome | IngestError]]:
    spawning = multiprocessing.get_context("spawn")
    told: Any = spawning.Queue()
    todo = iter(stretches)
    running: dict[Future[Outcome | IngestError], Stretch] = {}
    with ProcessPoolExecutor(processes, spawning, _begin, (settings, plan.mode, told)) as pool:
        try:
            while True:
                while len(running) < 2 * processes and (stretch := next(todo, None)) is not None:
                    running[pool.submit(_in_process, plan, stretch)] = stretch
                if not running:
                    return
                done, _ = wait(running, LOOK, FIRST_COMPLETED)
                _tell(told, progress)
                for each in done:
                    yield running.pop(each), _result(each)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            _tell(told, progress)


def _result(future: Future[Outcome | IngestError]) -> Outcome | IngestError:
    try:
        return future.result()
    except BrokenProcessPool:
        raise IngestError("a process was ended from outside, for lack of memory perhaps: --resume goes on from where it was") from None  # fmt: skip


def _tell(told: Any, progress: Progress) -> None:
    while True:
        try:
            progress(told.get_nowait())
        except queue.Empty:
            return


class _Here:
    """What a process of the pool keeps."""

    ingests: Ingests | None = None
    told: Any = None


def _begin(settings: Database, mode: str, told: Any) -> None:
    """A process of the pool begins: it has a connection of its own, and is gentle to what else runs."""
    os.nice(5)
    _Here.ingests = None if mode == "read" else Ingests(connect(settings))
    _Here.told = told


def _in_process(plan: Plan, stretch: Stretch) -> Outcome | IngestError:
    return _tried(plan, stretch, _Here.ingests, _Here.told.put)
