"""Documents as a CSV file, which any spreadsheet opens and none runs."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.errors import TableError
from kowalski.lab.query.flat import flat, harmless, row_of, spelt

CSV = "text/csv; charset=utf-8"
#: bytes of a piece of the file, about
PIECE = 256_000
#: columns that a file may have; spreadsheets take 16384
MOST = 16_000
#: cells that it may have, empty ones included
CELLS = 200_000_000


class CsvExport:
    """Takes documents, then gives the file piece by piece: its columns are all that any of them has. Memory stays flat."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115  # it is closed by `close`
        self._columns: dict[str, int] = {}
        self._rows = 0
        self.size = 0

    def take(self, documents: Iterable[dict[str, Any]]) -> None:
        """Keep some documents.

        Raises
        ------
        TableError : there is no room for them
        BadRequest : they have too many fields
        """
        try:
            for document in documents:
                row = {self._number(name): spelt(value) for name, value in _row(document).items()}
                self.size += self._file.write(json.dumps(row) + "\n")
                self._rows += 1
            if self._rows * len(self._columns) > CELLS:
                raise BadRequest(f"export: {self._rows} rows of {len(self._columns)} columns are too much for a table: take Parquet, or a projection")  # fmt: skip
        except OSError as error:
            raise TableError(f"export: {error}", retriable=True) from error

    def pieces(self) -> Iterator[bytes]:
        """The file of all documents, UTF-8 with the mark by which spreadsheets know it."""
        self._file.seek(0)
        text = io.StringIO()
        text.write("\ufeff")
        writer = csv.writer(text)
        writer.writerow([harmless(name) for name in self._columns])
        for line in self._file:
            row = json.loads(line)
            writer.writerow([row.get(str(number), "") for number in range(len(self._columns))])
            if text.tell() > PIECE:
                yield _taken(text)
        yield _taken(text)

    def close(self) -> None:
        """Nothing is kept any more."""
        self._file.close()

    def _number(self, name: str) -> int:
        number = self._columns.setdefault(name, len(self._columns))
        if number >= MOST:
            raise BadRequest(
                f"export: the documents have more than {MOST} fields, name those that you want by a projection"
            )
        return number


def _row(document: dict[str, Any]) -> dict[str, Any]:
    """A document flat; a row of a search in several catalogues as the table shows it."""
    if document.keys() == {"catalog", "key", "document"} and isinstance(document["document"], dict):
        return row_of(document["catalog"], document["key"], document["document"])
    return flat(document)


def _taken(text: io.StringIO) -> bytes:
    piece = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return piece
