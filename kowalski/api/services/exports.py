"""What a user's query selects, as a Parquet file, or another.

Types are those that all documents fit, so nothing is sent before the last has come; then the file is made and sent a piece at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Protocol

from kowalski.api.errors import BadRequest
from kowalski.api.models.queries import AnyQuery
from kowalski.api.services.cones import Found
from kowalski.api.services.queries import QueryService
from kowalski.api.services.rights import User
from kowalski.gathering import gathered

PARQUET = "application/vnd.apache.parquet"
#: query types that give documents
EXPORTED = ("find", "find_one", "aggregate", "cone_search", "near", "skymap")
#: documents that are looked at together
LOOKED_AT = 500

Document = dict[str, Any]


class Export(Protocol):
    """Takes documents, of `size` bytes so far, then gives the file of them all piece by piece."""

    size: int

    def take(self, documents: Iterable[Document]) -> None: ...

    def pieces(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


def parquet() -> Export:
    """A new Parquet file; what it needs is not in memory where nobody exports."""
    from kowalski.archive.tables.exporting import Export

    return Export()


class Exports:
    """Answers ``POST /api/export``; ``largest`` is how many bytes the documents may take as MongoDB has them."""

    def __init__(self, queries: QueryService, largest: int):
        self.queries = queries
        self.largest = largest

    async def pieces(self, query: AnyQuery, user: User, begin: Callable[[], Export] = parquet) -> AsyncGenerator[bytes]:
        """The file, piece by piece, of what the user may see.

        Raises
        ------
        BadRequest, Forbidden, QueryError : the query is wrong, not allowed, refused by MongoDB, or selects too much
        TableError : there is no room for it
        """
        if query.query_type not in EXPORTED:
            raise BadRequest(f"export: {query.query_type} gives no documents; one of {', '.join(EXPORTED)} is expected")
        export = await asyncio.to_thread(begin)
        try:
            await self._gather(await self.queries.run(query, user), export)
            made = export.pieces()
            while (piece := await asyncio.to_thread(next, made, None)) is not None:
                yield piece
        finally:
            export.close()

    async def _gather(self, data: Any, export: Export) -> None:
        """All documents are kept."""
        async with aclosing(gathered(_rows(data), LOOKED_AT)) as batches:
            async for batch in batches:
                await asyncio.to_thread(export.take, batch)
                if export.size > self.largest:
                    raise BadRequest(
                        f"export: the documents take more than {self.largest} bytes (tables.export_bytes): "
                        "select less, or fewer fields by a projection"
                    )


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
