"""Documents that come one after the other as one Parquet file: kept in a file until the types that all of them fit are known."""

import io
import struct
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import bson
import pyarrow as pa
import pyarrow.parquet as pq

from kowalski.archive.tables.documents import Documents
from kowalski.errors import TableError

#: bytes of documents that are written together
WRITTEN = 16 << 20
LENGTH = struct.Struct("<i")

Document = dict[str, Any]


class Export:
    """Takes documents, then gives the file piece by piece; memory stays flat."""

    def __init__(self) -> None:
        self._documents = Documents()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed by `close`
        self.size = 0

    def take(self, documents: Iterable[Document]) -> None:
        """Keep some documents.

        Raises
        ------
        TableError : there is no room for them
        """
        listed = list(documents)
        self._documents.see(listed)
        try:
            self.size += self._file.write(b"".join([bson.encode(document) for document in listed]))
        except OSError as error:
            raise TableError(f"export: {error}", retriable=True) from error

    def pieces(self) -> Iterator[bytes]:
        """The Parquet file of all documents."""
        self._file.seek(0)
        sink = _Sink()
        with pq.ParquetWriter(pa.PythonFile(sink, "w"), self._documents.schema, compression="zstd") as writer:
            for batch in self._batches():
                writer.write_table(self._documents.table(batch))
                yield sink.taken()
        yield sink.taken()

    def close(self) -> None:
        """Nothing is kept any more."""
        self._file.close()

    def _batches(self) -> Iterator[list[Document]]:
        """The documents, some `WRITTEN` bytes at a time."""
        held: list[Document] = []
        size = 0
        while head := self._file.read(LENGTH.size):
            document = head + self._file.read(LENGTH.unpack(head)[0] - LENGTH.size)
            held.append(bson.decode(document))
            size += len(document)
            if size >= WRITTEN:
                yield held
                held, size = [], 0
        if held:
            yield held


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
