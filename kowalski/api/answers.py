"""Answers that go well: relaxed extended JSON, or one document a line where the client asks for that."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiohttp import web
from bson import json_util

from kowalski.api.sending import quality, send
from kowalski.api.services.cones import Found

JSON, LINES = "application/json", "application/x-ndjson"

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


async def success(request: web.Request, message: str | None, data: Any = None) -> web.StreamResponse:
    """``{"status": "success", "message": ..., "data": ...}``; without message or data where there are none.

    To clients that accept ``application/x-ndjson`` the data alone, one document a line; a row of a cone search is
    ``{"catalog": ..., "key": ..., "document": ...}``. Documents that come one by one are sent as they come (see `send`).
    """
    if quality(request, "Accept", LINES) > 0 and quality(request, "Accept", LINES) >= quality(request, "Accept", JSON):
        return await send(request, _lines(data), LINES)
    head = '{"status":"success"' + ("" if message is None else f',"message":{json.dumps(message)}')
    if isinstance(data, Found):
        return await send(request, _nested(head, data), JSON)
    if isinstance(data, AsyncGenerator):
        return await send(request, _listed(head, data), JSON)
    return await send(request, f"{head}}}" if data is None else f'{head},"data":{encode(data)}}}', JSON)


async def _lines(data: Any) -> AsyncGenerator[str]:
    if isinstance(data, Found):
        async with aclosing(data.rows) as rows:
            async for catalog, key, row in rows:
                yield encode({"catalog": catalog, "key": key, "document": row}) + "\n"
    elif isinstance(data, AsyncGenerator):
        async with aclosing(data) as documents:
            async for document in documents:
                yield encode(document) + "\n"
    elif data is not None:
        yield encode(data) + "\n"


async def _listed(head: str, data: AsyncGenerator[Any]) -> AsyncGenerator[str]:
    """The text of an answer with a list of documents, piece by piece."""
    yield f'{head},"data":['
    separator = ""
    async with aclosing(data) as documents:
        async for document in documents:
            yield separator + encode(document)
            separator = ","
    yield "]}"


async def _nested(head: str, found: Found) -> AsyncGenerator[str]:
    """The text of an answer with rows by catalogue and position, piece by piece."""
    yield f'{head},"data":{{'
    async with aclosing(found.rows) as rows:
        row = await anext(rows, None)
        for number, catalog in enumerate(found.catalogs):
            yield f"{',' if number else ''}{json.dumps(catalog)}:{{"
            for index, key in enumerate(found.keys):
                yield f"{',' if index else ''}{json.dumps(key)}:["
                separator = ""
                while row is not None and row[:2] == (catalog, key):
                    yield separator + encode(row[2])
                    row, separator = await anext(rows, None), ","
                yield "]"
            yield "}"
    yield "}}"
