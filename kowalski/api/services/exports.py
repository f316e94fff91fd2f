"""What a user's query selects, as a Parquet file.

Types are those that all documents fit, so these are kept in a file of the system's folder for temporary ones until the last has come. Then
the Parquet file is made and sent a piece at a time; memory stays flat.
"""

import asyncio
import io
import struct
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import IO, Any

import bson
import pyarrow as pa
import pyarrow.parquet as pq

from kowalski.api.errors import BadRequest
from kowalski.api.models.queries import AnyQuery
from kowalski.api.services.cones import Found
from kowalski.api.services.queries import QueryService
from kowalski.api.services.rights import User
from kowalski.archive.tables.documents import Documents
from kowalski.errors import TableError

PARQUET = "application/vnd.apache.parquet"
#: query types that give documents
EXPORTED = ("find", "find_one", "aggregate", "cone_search", "near", "skymap")
#: documents that are looked at together, and bytes of those that are written together
LOOKED_AT, WRITTEN = 500, 16 << 20
LENGTH = struct.Struct("<i")

Document = dict[str, Any]


class Exports:
    """Answers ``POST /api/export``; ``largest`` is how many bytes the documents may take as MongoDB has them."""

    def __init__(self, queries: QueryService, largest: int):
        self.queries = queries
        self.largest = largest

    async def pieces(self, query: AnyQuery, user: User) -> AsyncGenerator[bytes]:
        """The file, piece by piece, of what the user may see.

        Raises
        ------
        BadRequest, Forbidden, QueryError : the query is wrong, not allowed, refused by MongoDB, or selects too much
        TableError : there is no room for it
        """
        if query.query_type not in EXPORTED:
            raise BadRequest(f"export: {query.query_type} gives no documents; one of {', '.join(EXPORTED)} is expected")
        with tempfile.TemporaryFile() as spool:
            documents = await self._gather(await self.queries.run(query, user), spool)
            made = parquet(spool, documents)
            while (piece := await asyncio.to_thread(next, made, None)) is not None:
                yield piece

    async def _gather(self, data: Any, spool: IO[bytes]) -> Documents:
        """Keep the documents in a file; what their types are."""
        documents, size = Documents(), 0
        async with aclosing(_rows(data)) as rows:
            async for batch in _batches(rows):
                try:
                    size += await asyncio.to_thread(_keep, batch, documents, spool)
                except OSError as error:
                    raise TableError(f"export: {error}", retriable=True) from error
                if size > self.largest:
                    raise BadRequest(
                        f"export: the documents take more than {self.largest} bytes (tables.export_bytes): "
                        "select less, or fewer fields by a projection"
                    )
        return documents


def _keep(batch: list[Document], documents: Documents, spool: IO[bytes]) -> int:
    """Take documents into account and keep them; their bytes."""
    documents.see(batch)
    return spool.write(b"".join([bson.encode(document) for document in batch]))


async def _rows(data: Any) -> AsyncGenerator[Document]:
    """The documents of an answer one by one; those of a cone search with catalogue and position, as in answers of a document a line."""
    if isinstance(data, Found):
        async with aclosing(data.rows) as rows:
            async for catalog, key, row in rows:
                yield {"catalog": catalog, "key": key, "document": row}
    elif isinstance(data, AsyncGenerator):
        async with aclosing(data) as rows:
            async for row in rows:
                yield row
    elif data is not None:
        yield data


async def _batches(rows: AsyncIterator[Document]) -> AsyncIterator[list[Document]]:
    batch: list[Document] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == LOOKED_AT:
            yield batch
            batch = []
    if batch:
        yield batch


def parquet(spool: IO[bytes], documents: Documents) -> Iterator[bytes]:
    """A Parquet file of the documents that are kept in a file, piece by piece."""
    spool.seek(0)
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, "w"), documents.schema, compression="zstd") as writer:
        for batch in _kept(spool):
            writer.write_table(documents.table(batch))
            yield sink.taken()
    yield sink.taken()


def _kept(spool: IO[bytes]) -> Iterator[list[Document]]:
    """The documents in a file, some `WRITTEN` bytes at a time."""
    held: list[bytes] = []
    size = 0
    while head := spool.read(LENGTH.size):
        held.append(head + spool.read(LENGTH.unpack(head)[0] - LENGTH.size))
        size += len(held[-1])
        if size >= WRITTEN:
            yield [bson.decode(each) for each in held]
            held, size = [], 0
    if held:
        yield [bson.decode(each) for each in held]


class _Sink(io.RawIOBase):
    """Where a writer writes; what it wrote is taken from here."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep what is written."""
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def taken(self) -> bytes:
        """What was written since this was called last."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
