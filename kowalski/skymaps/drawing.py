"""Contours drawn in a process of their own: files of strangers are read there, with bounded time and memory.

The process (``python -m kowalski.skymaps.drawing``) gets a source and levels on its standard input and answers in JSON.
"""

import asyncio
import json
import os
import pickle
import resource
import signal
import sys
from typing import Any

from kowalski.config import ROOT
from kowalski.errors import SkymapError
from kowalski.log import get_logger
from kowalski.skymaps.sources import Source

#: s of computing, s by the clock, and bytes that a drawing may take; a map of nside 1024 takes 15 s and 2 GB
SECONDS, PATIENCE, MEMORY = 60, 150, 3 << 30

log = get_logger(__name__)


async def draw(source: Source, levels: list[float]) -> dict[str, Any]:
    """The contours of a map, as they are stored (see `contours`).

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
    told = json.loads(output)
    if "error" in told:
        raise SkymapError(told["error"])
    return dict(told["contours"])


def _environment() -> dict[str, str]:
    """No settings and secrets, and one thread: memory is reserved for each."""
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI")}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere programs reserve more than that
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _told(source: Source, levels: list[float]) -> dict[str, Any]:
    """What the process answers."""
    from kowalski.skymaps.contours import contours

    try:
        try:
            localization = source.read()
        except (SkymapError, MemoryError):
            raise
        except Exception as error:  # what a broken file makes its reader raise is not known in advance
            return {"error": f"the sky map can't be read: {type(error).__name__}"}
        return {"contours": contours(localization, levels)}
    except SkymapError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "the sky map takes too much memory to read"}


if __name__ == "__main__":
    _limit()
    json.dump(_told(*pickle.load(sys.stdin.buffer)), sys.stdout)
