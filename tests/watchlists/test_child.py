"""The process that reads an upload, while its file comes and its rows are written."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bson.objectid import ObjectId

from kowalski.watchlists.child import read
from kowalski.watchlists.rows import Wanted

ROWS = 6_000


async def test_a_client_that_goes_away_while_rows_are_written() -> None:
    """The upload is over then, and not when the API ends."""
    writing, gone = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ra,dec,name\n" + b"".join(
            f"10.5,{number / ROWS},source {number:080}\n".encode() for number in range(ROWS)
        )
        await writing.wait()
        gone.set()
        raise ConnectionResetError("the client is gone")

    async def write(documents: bytes) -> None:
        writing.set()
        await gone.wait()
        await asyncio.sleep(0)  # what comes of the file is known before the rows are written

    wanted = Wanted(str(ObjectId()), str(ObjectId()), "positions", 1.0)
    with pytest.raises(ConnectionResetError, match="the client is gone"):
        await asyncio.wait_for(read(pieces(), wanted, write), 60)
