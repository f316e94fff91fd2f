"""Contours drawn in a process of their own: files of strangers are read there, with bounded time and memory.

The process (``python -m kowalski.skymaps.drawing``) gets a source and levels on its standard input and answers with a line of
JSON, and the pieces of the map's cells after it.
"""

import asyncio
import json
import os
import pickle  # nosec B403  # between this process and its child
import resource
import signal
import sys
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from kowalski.config import ROOT
from kowalski.errors import SkymapError
from kowalski.log import get_logger
from kowalski.skymaps.sources import Source

#: s of computing, s by the clock, and bytes that a drawing may take; a map of nside 1024 takes 15 s and 2 GB
SECONDS, PATIENCE, MEMORY = 60, 150, 3 << 30

log = get_logger(__name__)


@dataclass(frozen=True)
class Drawn:
    """A map as it is stored: its contours (see `contours`), what is noted of its cells, and their pieces (see `Cells`)."""

    contours: dict[str, Any]
    cells: dict[str, Any]
    pieces: list[bytes]


async def draw(source: Source, levels: list[float]) -> Drawn:
    """A map with the contours of these levels.

    Raises
    ------
    SkymapError : the map can't be read, or takes too much time or memory
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, complaints = await process.communicate(pickle.dumps((source, levels)))
    except TimeoutError:
        raise SkymapError("the sky map takes too long to read") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == -signal.SIGXCPU:
        raise SkymapError("the sky map takes too long to read")
    if process.returncode != 0:
        raise RuntimeError(f"drawing {source.name} ended with {process.returncode}: {complaints[-2000:].decode()}")
    line, _, rest = output.partition(b"\n")
    told = json.loads(line)
    if "error" in told:
        raise SkymapError(told["error"])
    ends = list(accumulate(told["sizes"], initial=0))
    return Drawn(told["contours"], told["cells"], [rest[first:end] for first, end in pairwise(ends)])


def _environment() -> dict[str, str]:
    """No settings and secrets, and one thread: memory is reserved for each."""
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI")}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere programs reserve more than that
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _told(source: Source, levels: list[float]) -> tuple[dict[str, Any], list[bytes]]:
    """What the process answers."""
    from kowalski.skymaps.cells import Cells
    from kowalski.skymaps.contours import contours

    try:
        try:
            localization = source.read()
        except (SkymapError, MemoryError):
            raise
        except Exception as error:  # what a broken file makes its reader raise is not known in advance
            return {"error": f"the sky map can't be read: {type(error).__name__}"}, []
        drawn = contours(localization, levels)
        cells = Cells.of(localization)
        pieces = cells.pieces()
        return {"contours": drawn, "cells": cells.summary(), "sizes": [len(piece) for piece in pieces]}, pieces
    except SkymapError as error:
        return {"error": str(error)}, []
    except MemoryError:
        return {"error": "the sky map takes too much memory to read"}, []


def main() -> None:
    """Read a source and levels, and answer."""
    _limit()
    told, pieces = _told(*pickle.load(sys.stdin.buffer))  # nosec B301  # of our parent
    for part in (json.dumps(told).encode() + b"\n", *pieces):
        sys.stdout.buffer.write(part)


if __name__ == "__main__":
    main()
