"""How answers get to clients: whole where they are small, else piece by piece; gzipped for those who take it."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from aiohttp import web
from isal import isal_zlib

from kowalski.errors import KowalskiError
from kowalski.log import get_logger

log = get_logger(__name__)

#: bytes that an answer may have before it is compressed
LARGEST = web.AppKey("largest", int)

#: characters that are gathered before an answer begins to be sent
CHUNK = 262_144
#: bytes of an answer from which gzip saves a packet
WORTH_GZIP = 1400
#: of isal: five times smaller at 700 MB/s; higher ones save nothing more
LEVEL = 1
GZIP = isal_zlib.MAX_WBITS | 16
#: s for which a client may take nothing; MongoDB forgets what it was reading after 600
STALLED = 300.0


class TooLarge(KowalskiError):
    """An answer has more bytes than one may have."""


async def send(request: web.Request, text: str | AsyncGenerator[str], content_type: str) -> web.StreamResponse:
    """The text is with the client, or the connection has ended in a way that no client takes for its end.

    A text that comes in pieces is sent as it comes, so that memory stays flat; a client that reads slowly is waited for.
    Errors are raised until two `CHUNK` are gathered; after that the connection is reset.
    """
    headers = {"Content-Type": f"{content_type}; charset=utf-8", "Vary": "Accept, Accept-Encoding"}
    gzipped = quality(request, "Accept-Encoding", "gzip") > 0
    if isinstance(text, str):
        return _whole(text.encode(), headers, gzipped)
    async with aclosing(_chunks(text)) as chunks:
        first, second = await anext(chunks, b""), await anext(chunks, None)
        if second is None:
            return _whole(first, headers, gzipped)
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        return await _sent(request, headers, _joined(chunks, first, second), gzipped)


async def send_file(
    request: web.Request,
    pieces: AsyncGenerator[bytes],
    content_type: str,
    name: str,
    more: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """A file that comes in pieces is with the client, as by `send`; errors are raised until there is the first piece. ``more``: headers."""
    headers = {"Content-Type": content_type, "Content-Disposition": f"attachment; filename={name}", **(more or {})}
    async with aclosing(pieces) as chunks:
        return await _sent(request, headers, _joined(chunks, await anext(chunks)), False)


async def _sent(
    request: web.Request, headers: dict[str, str], chunks: AsyncIterator[bytes], gzipped: bool
) -> web.StreamResponse:
    """The chunks are with the client, or the connection is reset."""
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        await _stream(response, _up_to(request.app[LARGEST], chunks), gzipped)
    except ConnectionError:
        log.info("%s %s: the client left before the end", request.method, request.path)
    except Exception as error:
        known = isinstance(error, KowalskiError | TimeoutError)
        log.error("%s %s broke off: %s", request.method, request.path, error or "stalled", exc_info=not known)
        _reset(request)
    except asyncio.CancelledError:
        _reset(request)
        raise
    return response


def quality(request: web.Request, header: str, name: str) -> float:
    """How much a client likes something (0 to 1) that it names in Accept or Accept-Encoding; 0 where it does not."""
    for item in ",".join(request.headers.getall(header, ())).split(","):
        named, *parameters = (part.strip().lower() for part in item.split(";"))
        if named == name:
            told = next((part[2:] for part in parameters if part.startswith("q=")), "1")
            return float(told) if re.fullmatch(r"[01](\.\d*)?", told) else 0.0
    return 0.0


def _whole(body: bytes, headers: dict[str, str], gzipped: bool) -> web.Response:
    if gzipped and len(body) >= WORTH_GZIP:
        body, headers = isal_zlib.compress(body, LEVEL, GZIP), headers | {"Content-Encoding": "gzip"}
    return web.Response(body=body, headers=headers)


async def _chunks(texts: AsyncGenerator[str]) -> AsyncGenerator[bytes]:
    """Texts in pieces of about `CHUNK`."""
    gathered, size = [], 0
    async with aclosing(texts) as pieces:
        async for text in pieces:
            gathered.append(text)
            size += len(text)
            if size >= CHUNK:
                yield "".join(gathered).encode()
                gathered, size = [], 0
    if gathered:
        yield "".join(gathered).encode()


async def _joined(others: AsyncIterator[bytes], *first: bytes) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in others:
        yield chunk


async def _up_to(largest: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, as long as they are not more than an answer may have."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > largest:
            raise TooLarge(f"the answer is larger than {largest} bytes (server.max_answer_size)")
        yield chunk


async def _stream(response: web.StreamResponse, chunks: AsyncIterator[bytes], gzipped: bool) -> None:
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP) if gzipped else None
    async for chunk in chunks:
        await _write(response, packer.compress(chunk) if packer else chunk)
        await asyncio.sleep(0)  # other requests have their turn
    if packer:
        await _write(response, packer.flush())


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(STALLED):
        await response.write(data)


def _reset(request: web.Request) -> None:
    """End a connection at once and with RST: where an answer just ends at the connection's end, FIN would look whole."""
    if request.transport:
        client = request.transport.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
