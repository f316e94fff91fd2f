"""Reads on behalf of the API's users, as the MongoDB user that can only read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bson import decode_iter
from bson.errors import BSONError
from pymongo.errors import OperationFailure, PyMongoError

from kowalski.database.async_client import connect_async
from kowalski.database.client import is_transient
from kowalski.errors import DatabaseError
from kowalski.log import get_logger
from kowalski.settings import Database

log = get_logger(__name__)

Document = dict[str, Any]

POSITION = "coordinates.radec_geojson"
#: MongoDB's refusal of what its user has no right to
UNAUTHORIZED = 13
#: documents of MongoDB's first reply
FIRST_REPLY = 100
#: bytes of each further one; it costs us several times its size for a moment
REPLY = 2_000_000
#: and its documents
REPLY_DOCUMENTS = 5000
#: whose Python objects are kept; to make one takes a twentieth of a small query
COLLECTIONS = 256
#: what a server adds to its answers for its drivers
DRIVERS_OWN = ("$clusterTime", "operationTime", "ok")


class QueryError(DatabaseError):
    """MongoDB refuses what a user asks for; the text is MongoDB's, without the server's internals."""

    http_status = 400


@dataclass(frozen=True)
class Reading:
    """How something is read; what is None or 0 is not asked for."""

    max_time_ms: int
    comment: str
    projection: Mapping[str, Any] | None = None
    sort: list[tuple[str, Any]] | None = None
    skip: int = 0
    limit: int = 0
    hint: str | list[tuple[str, Any]] | None = None


class Queries:
    """Reads any collection; its methods raise `QueryError` for all that MongoDB refuses. Use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "reader")
        self.database = self.client[settings.db]
        self._collection = lru_cache(COLLECTIONS)(self.database.__getitem__)

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def ping(self) -> None:
        """Return when MongoDB answers."""
        with _refused():
            await self.database.command("ping")

    async def catalog_names(self) -> list[str]:
        """Names of the collections, those of the system left out, in reverse order."""
        with _refused():
            names = await self.database.list_collection_names()
        return sorted((name for name in names if not name.startswith("system.")), reverse=True)

    async def catalog_info(self, catalog: str) -> Document:
        """Size and storage of a collection (collStats)."""
        return await self._command({"collStats": catalog})

    async def database_info(self) -> Document:
        """Size and storage of the database (dbStats)."""
        return await self._command({"dbStats": 1})

    async def index_info(self, catalog: str) -> Document:
        """A collection's indexes: name -> ``{key: [[field, direction], ...], ...}``."""
        with _refused():
            return dict(await self._collection(catalog).index_information())

    async def find(self, catalog: str, condition: Document, reading: Reading) -> AsyncIterator[Document]:
        """The documents that meet a condition, one by one."""
        with _refused():
            batches = self._collection(catalog).find_raw_batches(
                condition,
                limit=reading.limit,
                max_time_ms=reading.max_time_ms,
                batch_size=FIRST_REPLY,
                **_common(reading),
            )
            async for document in _decoded(batches):
                yield document

    async def find_one(self, catalog: str, condition: Document, reading: Reading) -> Document | None:
        """The first document that meets a condition, or None."""
        with _refused():
            return await self._collection(catalog).find_one(
                condition, max_time_ms=reading.max_time_ms, **_common(reading)
            )

    async def count(self, catalog: str, condition: Document, reading: Reading) -> int:
        """How many documents meet a condition, after skip and up to limit."""
        bounds = {key: value for key in ("skip", "limit", "hint") if (value := getattr(reading, key))}
        with _refused():
            return await self._collection(catalog).count_documents(
                condition, maxTimeMS=reading.max_time_ms, comment=reading.comment, **bounds
            )

    async def estimated_count(self, catalog: str, reading: Reading) -> int:
        """How many documents a collection has, by its metadata."""
        with _refused():
            return await self._collection(catalog).estimated_document_count(
                maxTimeMS=reading.max_time_ms, comment=reading.comment
            )

    async def aggregate(
        self, catalog: str, pipeline: list[Document], reading: Reading, disk: bool
    ) -> AsyncIterator[Document]:
        """What a pipeline makes of a collection, one by one; ``disk``: sorts and groups may spill to the server's disk."""
        index = reading.hint if isinstance(reading.hint, str) else dict(reading.hint or ())
        hint = {"hint": index} if index else {}
        with _refused():
            batches = self._collection(catalog).aggregate_raw_batches(
                pipeline,
                maxTimeMS=reading.max_time_ms,
                comment=reading.comment,
                allowDiskUse=disk,
                batchSize=FIRST_REPLY,
                **hint,
            )
            async for document in _decoded(batches):
                yield document

    async def run(self, stages: list[Document], documents: list[Any], max_time_ms: int) -> list[Document]:
        """What a pipeline makes of some documents, which are sent along."""
        with _refused():
            cursor = self.database.aggregate(
                [{"$documents": {"$literal": documents}}, *stages], maxTimeMS=max_time_ms, allowDiskUse=False
            )
            return await _left_to_end(cursor.to_list(None))

    async def _command(self, command: Document) -> Document:
        with _refused():
            answer = await self.database.command(command)
        return {key: value for key, value in answer.items() if key not in DRIVERS_OWN}


async def _decoded(batches: Any) -> AsyncIterator[Document]:
    """The documents of MongoDB's replies, each made when asked for: as Python's objects they take several times as much."""
    try:
        while (batch := await _left_to_end(anext(batches, None))) is not None:
            size, count = len(batch), 0
            for document in decode_iter(batch):
                count += 1
                yield document
            del batch  # before the next one comes
            # the driver has no other way to change the size of a find's replies once the first has come
            batches.delegate._batch_size = max(1, min(REPLY_DOCUMENTS, REPLY * count // max(size, 1)))
    finally:
        await batches.close()


async def _left_to_end(answer: Awaitable[Any]) -> Any:
    """What MongoDB answers; given up, it ends by itself and unseen, where Motor's own future would log its error as nobody's."""
    asked = asyncio.ensure_future(answer)
    asked.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(asked)


def _common(reading: Reading) -> dict[str, Any]:
    """Arguments that find and find_one share; an empty projection would mean ``_id`` alone to the driver."""
    return {
        "projection": reading.projection or None,
        "sort": reading.sort or None,
        "skip": reading.skip,
        "hint": reading.hint or None,
        "comment": reading.comment,
    }


@contextmanager
def _refused() -> Iterator[None]:
    """Raise what MongoDB or its driver find wrong with a query as `QueryError`."""
    try:
        yield
    except PyMongoError as error:
        if is_transient(error):
            log.warning("MongoDB is not available: %s", error)
            raise QueryError("the database is not available at the moment, try again") from error
        raise QueryError(_explanation(error)) from error
    except (BSONError, OverflowError, UnicodeError) as error:
        raise QueryError(f"MongoDB can't take or give this: {error}") from error


def _explanation(error: PyMongoError) -> str:
    """MongoDB's own words; the driver adds the server's whole answer to them."""
    if not isinstance(error, OperationFailure):
        return str(error)
    if error.code == UNAUTHORIZED:
        return (
            "not authorized: queries can only read, and not the system's collections"  # MongoDB's text has signatures
        )
    return (error.details or {}).get("errmsg") or str(error)
