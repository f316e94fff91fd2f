"""Answers that go well: relaxed extended JSON, sent as it comes where it is large."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from bson import json_util

from kowalski.errors import KowalskiError
from kowalski.log import get_logger

log = get_logger(__name__)

#: characters that are gathered before an answer begins to be sent
CHUNK = 262_144

#: json's own encoder in C, ten times as fast as json_util.dumps, for all but NaN and infinities
_encode = json.JSONEncoder(
    default=json_util.default, allow_nan=False, check_circular=False, separators=(",", ":")
).encode  # fmt: skip


def encode(value: Any) -> str:
    """A value as relaxed extended JSON: 64-bit integers plain, ``{"$oid"}``, ``{"$date"}``, ``{"$binary"}``, ..."""
    try:
        return _encode(value)
    except ValueError:  # NaN or infinity: {"$numberDouble": "NaN"}
        return json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)


async def success(request: web.Request, message: str, data: Any = None) -> web.StreamResponse:
    """``{"status": "success", "message": ..., "data": ...}``; without data where there are none.

    Documents that come one by one are sent as they come, so that memory stays flat. Errors are answered as any other
    until two `CHUNK` are gathered; after that the connection ends without the answer's end, which no client takes for a
    complete one.
    """
    head = f'{{"status":"success","message":{json.dumps(message)}'
    if isinstance(data, AsyncIterator):
        return await _stream(request, _chunks(f'{head},"data":[', data))
    text = f"{head}}}" if data is None else f'{head},"data":{encode(data)}}}'
    return web.Response(text=text, content_type="application/json")


async def _chunks(head: str, documents: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The text of an answer with a list of documents, in pieces of about `CHUNK`."""
    parts, size, separator = [head], 0, ""
    async for document in documents:
        text = separator + encode(document)
        parts.append(text)
        size, separator = size + len(text), ","
        if size >= CHUNK:
            yield "".join(parts).encode()
            parts, size = [], 0
    parts.append("]}")
    yield "".join(parts).encode()


async def _stream(request: web.Request, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    first, second = await anext(chunks), await anext(chunks, None)
    if second is None:
        return web.Response(body=first, content_type="application/json", charset="utf-8")
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    await response.prepare(request)
    try:
        await response.write(first)
        await response.write(second)
        async for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)  # other requests have their turn
    except ConnectionError:
        log.info("%s %s: the client left before the end", request.method, request.path)
    except Exception as error:
        known = isinstance(error, KowalskiError)
        log.error("%s %s broke off: %s", request.method, request.path, error, exc_info=not known)
        if request.transport:
            request.transport.abort()
    return response
