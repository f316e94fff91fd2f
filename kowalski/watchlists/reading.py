"""Uploads read in a process of their own: files of strangers are read there, with bounded time and memory, and as they come.

The process (``python -m kowalski.watchlists.reading``) gets the file on its standard input, and writes what is to be stored on
its standard output: parts of documents one behind the other, each part after its length (4 bytes), and after an empty part a JSON document
of what the list is to say of its rows, or ``{"error"}``.
"""

import gzip
import io
import json
import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from kowalski.errors import WatchlistError
from kowalski.watchlists.regions import MAX_BYTES, is_region, read_region
from kowalski.watchlists.rows import Rows, Wanted, is_numeric
from kowalski.watchlists.tables import FITS_BLOCK, csv_blocks, fits_blocks, fits_header

#: s of computing and bytes that reading may take
SECONDS, MEMORY = 1200, 2 << 30
#: bytes of documents that are written at once
PART = 1 << 20
LENGTH = struct.Struct("<I")
#: what the headers of MOCs have
MOC_KEYWORDS = ("MOCORDER", "MOCORD_S", "MOCVERS", "MOC")


def documents(stream: io.RawIOBase | io.BytesIO, rows: Rows) -> Iterator[bytes]:
    """The documents of what is uploaded, encoded.

    Raises
    ------
    WatchlistError : it can't be read; the text says what to do
    """
    buffered: Any = io.BufferedReader(stream, 1 << 20)
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        buffered = io.BufferedReader(gzip.GzipFile(fileobj=buffered), 1 << 20)
    try:
        yield from _documents(buffered, rows)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise WatchlistError(f"after row {rows.rows} the gzipped file is broken: it is not whole, send it again") from None  # fmt: skip


def _documents(stream: Any, rows: Rows) -> Iterator[bytes]:
    beginning = stream.peek(FITS_BLOCK)
    if beginning[:6] == b"SIMPLE":
        kept = _Kept(stream)
        header = fits_header(kept)  # type: ignore[arg-type]
        if any(keyword in header for keyword in MOC_KEYWORDS) or rows.wanted.kind == "region":
            data = _bounded(stream, kept.data)
            if len(data) - len(kept.data) < header.get("NAXIS1", 0) * header.get("NAXIS2", 0):
                raise WatchlistError("the MOC's FITS file ends early: it is not whole, send it again")
            yield from rows.of_region(read_region(data))
        else:
            yield from rows.of_table(fits_blocks(stream, header))
    elif rows.wanted.kind == "region" or is_region(beginning):
        yield from rows.of_region(read_region(_bounded(stream)))
    else:
        yield from rows.of_table(csv_blocks(stream, is_numeric))


class _Kept:
    """A stream that keeps what is read of it."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.data = stream, b""

    def read(self, size: int) -> bytes:
        """As a file's."""
        data = self.stream.read(size)
        self.data += data
        return data


def _bounded(stream: BinaryIO, before: bytes = b"") -> bytes:
    """All of a file of which some was read before."""
    data = before + stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise WatchlistError(f"the MOC has more than {MAX_BYTES >> 20} MB: degrade it to a lower order")
    return data


def main() -> None:
    """Read from the standard input, write to the standard output."""
    wanted = Wanted(**json.loads(sys.argv[1]))
    rows, out, part = Rows(wanted), sys.stdout.buffer, bytearray()
    try:
        for document in documents(io.FileIO(sys.stdin.fileno(), closefd=False), rows):
            part += document
            if len(part) > PART:
                out.write(LENGTH.pack(len(part)) + part)
                part.clear()
        if part:
            out.write(LENGTH.pack(len(part)) + part)
        told = rows.told
    except WatchlistError as error:
        told = {"error": str(error)}
    except MemoryError:
        told = {"error": "the file takes too much memory to read: make its rows smaller, or several lists of it"}
    except Exception as error:  # what a broken file makes its reader raise is not known in advance
        told = {"error": f"after row {rows.rows} the file can't be read ({type(error).__name__}): is it whole?"}
    out.write(LENGTH.pack(0) + json.dumps(told).encode())
    out.flush()


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere programs reserve more than that
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    _limit()
    main()
