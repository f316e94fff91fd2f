"""Files that are uploaded, as they come: the whole body, or the one file of a form (multipart)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, NamedTuple

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from kowalski.api.errors import BadRequest

#: bytes of a file, and of the fields of a form; s without a byte until the client is given up
LARGEST, FIELD, PATIENCE = 1 << 30, 10_000, 60
PIECE = 1 << 18
#: what aiohttp raises for bodies that are not what their headers say
BROKEN = (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError)


class Upload(NamedTuple):
    """What a form says beside its file, and the file's bytes."""

    fields: dict[str, Any]
    pieces: AsyncIterator[bytes]


async def upload_of(request: web.Request) -> Upload:
    """The file that a request brings.

    Raises
    ------
    BadRequest : there is none, or the form is broken
    """
    if (request.content_length or 0) > LARGEST:
        raise web.HTTPRequestEntityTooLarge(LARGEST, request.content_length or 0, text=f"the file is larger than {LARGEST} bytes")  # fmt: skip
    if not request.content_type.startswith("multipart/"):
        return Upload({}, _whole(request))
    fields: dict[str, Any] = {}
    form = await _soon(request.multipart())
    while (part := await _soon(form.next())) is not None:
        if not isinstance(part, BodyPartReader):
            raise BadRequest("the form has a form inside: send fields and one file")
        if part.filename is not None:
            return Upload(fields, _bounded(_file(part, form)))
        fields[str(part.name)] = bytes(await _soon(part.read_chunk(FIELD))).decode(errors="replace")
        if not part.at_eof():
            raise BadRequest(f"the form's field {part.name} has more than {FIELD} bytes")
    raise BadRequest("the form has no file: send one, behind its fields")


async def _file(part: BodyPartReader, form: Any) -> AsyncIterator[bytes]:
    while piece := await _soon(part.read_chunk(PIECE)):
        yield bytes(piece)
    if await _soon(form.next()) is not None:
        raise BadRequest("the form has something behind its file: fields come before it, and there is one file")


def _whole(request: web.Request) -> AsyncIterator[bytes]:
    return _bounded(_body(request))


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    while piece := await _soon(request.content.readany()):
        yield piece


async def _bounded(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > LARGEST:
            raise web.HTTPRequestEntityTooLarge(LARGEST, size, text=f"the file is larger than {LARGEST} bytes")
        yield piece


async def _soon(what: Awaitable[Any]) -> Any:
    """What comes of reading a bit more.

    Raises
    ------
    BadRequest : nothing comes, or it is broken
    """
    try:
        return await asyncio.wait_for(what, PATIENCE)
    except TimeoutError:
        raise BadRequest(f"nothing came for {PATIENCE} s: send it again") from None
    except BROKEN as error:
        raise BadRequest(f"the body is broken, or not whole: {str(error)[:200] or type(error).__name__}") from None
