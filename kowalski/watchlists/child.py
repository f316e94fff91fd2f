"""The process that reads an upload, as its parent sees it: the file goes in as it comes, and documents come out."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from kowalski.config import ROOT
from kowalski.errors import WatchlistError
from kowalski.watchlists.reading import LENGTH
from kowalski.watchlists.rows import Wanted

#: s that a client may go on sending a file that is refused
DRAIN = 60


async def read(
    pieces: AsyncIterator[bytes], wanted: Wanted, write: Callable[[bytes], Awaitable[None]]
) -> dict[str, Any]:
    """What a list is to say of an uploaded file's rows, all of which have been written.

    Raises
    ------
    WatchlistError : the file can't be read, or a row is wrong
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kowalski.watchlists.reading", json.dumps(wanted._asdict())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=_environment(),
    )
    feeding = asyncio.create_task(_feed(process, pieces))
    try:
        told = await _taken(process, write, feeding)
        if "error" in told:
            await asyncio.wait({feeding}, timeout=DRAIN)  # who is not done with sending does not look for an answer
            raise WatchlistError(told["error"])
        await feeding
        return told
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await feeding
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            assert process.stdout is not None
            await process.stdout.read()  # asyncio's own loop takes no process for ended of which something is unread
            await process.wait()


async def _feed(process: asyncio.subprocess.Process, pieces: AsyncIterator[bytes]) -> None:
    """All pieces go to the process, as fast as it takes them; what it has no use for is read and dropped, so that the client gets his answer."""
    into = process.stdin
    assert into is not None
    deaf = False
    async for piece in pieces:
        if deaf:
            continue
        try:
            into.write(piece)
            await into.drain()
        except (BrokenPipeError, ConnectionResetError):
            deaf = True
    into.close()


async def _taken(
    process: asyncio.subprocess.Process, write: Callable[[bytes], Awaitable[None]], feeding: asyncio.Task[None]
) -> dict[str, Any]:
    """What the process says at its end; its documents are written as they come."""
    out = process.stdout
    assert out is not None
    while True:
        reading = asyncio.ensure_future(_part(out))
        try:
            if not feeding.done():  # it may have failed while the last documents were written
                await asyncio.wait({reading, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done() and (error := feeding.exception()) is not None:
                raise error
            part = await reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})
        if part is None:
            return _told(await out.read(), await process.wait())
        await write(part)


async def _part(out: asyncio.StreamReader) -> bytes | None:
    try:
        (size,) = LENGTH.unpack(await out.readexactly(LENGTH.size))
        return await out.readexactly(size) if size else None
    except asyncio.IncompleteReadError:  # it died
        return None


def _told(said: bytes, status: int) -> dict[str, Any]:
    if status == -signal.SIGXCPU:
        raise WatchlistError("the file takes too long to read: make several lists of it")
    if status != 0 or not said:
        raise WatchlistError("the file takes more than reading may take: make its rows smaller, or several lists of it")
    told: dict[str, Any] = json.loads(said)
    return told


def _environment() -> dict[str, str]:
    """No settings and secrets, and one thread: memory is reserved for each."""
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI")}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
