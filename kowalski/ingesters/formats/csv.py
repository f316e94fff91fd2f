"""Tables of CSV files and their like, by pyarrow: commas, bars or tabs between values, plain or compressed."""

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from kowalski.errors import IngestError
from kowalski.ingesters.formats.parquet import arrow_column
from kowalski.ingesters.formats.table import NO_VALUE, Block, Column, Layout, Table, Wrong, told_of

#: bytes that are read at a time, and those by which a file is judged
READ, LOOK = 1 << 22, 1 << 20
#: what may stand between values, the likeliest first
BETWEEN = ",|\t;"
QUOTE = '"'
#: whole numbers, numbers, truth values
FORMS = (
    r"^[+-]?\d+$",
    r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$",
    r"^(?i:true|false)$",
)


class CsvTable(Table):
    """Texts between separators; the type of a column is that of most of its first values, and what is no such value is wrong."""

    seekable = False

    def __init__(self, path: Path, layout: Layout):
        self.path = path
        self._layout = layout
        with told_of(path):
            start = self._start()
        lines = start.splitlines()
        if not lines:
            raise IngestError(f"{path.name} is empty")
        self._between = max(BETWEEN, key=lambda sign: (lines[0].count(sign), -BETWEEN.index(sign)))
        header = [name.strip().strip(QUOTE) for name in lines[0].split(self._between)]
        self._headless = bool(layout.names) and not set(layout.needed) <= set(header)
        if self._headless and len(header) != len(layout.names):
            raise IngestError(f"{path.name}: its lines have {len(header)} values, and {len(layout.names)} are expected")
        self.names = list(layout.names) if self._headless else header
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise IngestError(f"{path.name}: columns of the same name: {', '.join(twice)}")
        self._kinds: dict[str, Any] = {}

    def _start(self) -> str:
        """The first lines that are of the table."""
        with _opened(self.path) as file:
            text = file.read(LOOK).decode("utf-8", "replace")
        comment = self._layout.comment
        return "\n".join(line for line in text.splitlines() if line.strip() and not (comment and line.startswith(comment)))  # fmt: skip

    def blocks(self, first: int, last: int | None, size: int) -> Iterator[Block]:
        done = 0
        with told_of(self.path):
            for read in self._batches():
                for place in range(0, read.num_rows, size):
                    rows = read.slice(place, size)
                    if last is not None and done >= last:
                        return
                    low, high = max(first - done, 0), min(rows.num_rows, (last or done + rows.num_rows) - done)
                    if low < high:
                        yield self._block(done + low, rows.slice(low, high - low))
                    done += rows.num_rows

    def _batches(self) -> Iterator[Any]:
        """Batches of texts."""
        import pyarrow
        from pyarrow import csv

        comment = self._layout.comment
        with _opened(self.path) as file:
            stream = pyarrow.PythonFile(_Uncommented(file, comment.encode()) if comment else file, "r")
            reading = csv.ReadOptions(block_size=READ, column_names=self.names, skip_rows=0 if self._headless else 1)
            parsing = csv.ParseOptions(delimiter=self._between, newlines_in_values=False)
            texts = csv.ConvertOptions(column_types=dict.fromkeys(self.names, pyarrow.string()), strings_can_be_null=False)  # fmt: skip
            with csv.open_csv(stream, reading, parsing, texts) as reader:
                yield from reader

    def _block(self, first: int, rows: Any) -> Block:
        block = Block(first, {})
        for name in self.names:
            texts = rows.column(name)
            kind = self._kinds.get(name) or self._kinds.setdefault(name, self._kind(name, texts))
            block.columns[name] = self._typed(name, texts, kind, block.wrong)
        return block

    def _kind(self, name: str, texts: Any) -> Any:
        """The narrowest type that more than half of a column's first values have; None: it is not known yet."""
        import pyarrow
        from pyarrow import compute

        if name in self._layout.text:
            return pyarrow.string()
        trimmed = compute.utf8_trim_whitespace(texts)
        there = trimmed.filter(compute.invert(compute.is_in(trimmed, pyarrow.array(NO_VALUE))))
        if len(there) == 0:
            return None
        whole, number, truth = (compute.sum(compute.match_substring_regex(there, form)).as_py() or 0 for form in FORMS)
        if 2 * truth > len(there):
            return pyarrow.bool_()
        if 2 * number <= len(there):
            return pyarrow.string()
        return pyarrow.int64() if whole == number else pyarrow.float64()

    def _typed(self, name: str, texts: Any, kind: Any, wrong: list[Wrong]) -> Column:
        import pyarrow
        from pyarrow import compute

        trimmed = compute.utf8_trim_whitespace(texts)
        gone = compute.is_in(trimmed, pyarrow.array(NO_VALUE))
        if kind is None:
            return Column(np.full(len(texts), None, object), np.ones(len(texts), bool))
        if kind == pyarrow.string():
            return arrow_column(compute.if_else(gone, pyarrow.scalar(None, pyarrow.string()), trimmed))
        values = compute.if_else(gone, pyarrow.scalar(None, pyarrow.string()), trimmed)
        try:
            return arrow_column(compute.cast(values, kind), self._layout.nulls)
        except pyarrow.ArrowInvalid:
            pass
        if kind == pyarrow.int64():  # the first values happened to be whole
            self._kinds[name] = kind = pyarrow.float64()
            try:
                return arrow_column(compute.cast(values, kind), self._layout.nulls)
            except pyarrow.ArrowInvalid:
                pass
        return _one_by_one(name, values.to_pylist(), kind, wrong, self._layout.nulls)

    def close(self) -> None:
        """Each reading opens and closes the file."""


def _one_by_one(name: str, texts: list[str | None], kind: Any, wrong: list[Wrong], nulls: tuple[float, ...]) -> Column:
    """A column with values that are none of its type, which are named."""
    import pyarrow

    values: list[Any] = []
    for row, text in enumerate(texts):
        try:
            values.append(None if text is None else pyarrow.scalar(text).cast(kind).as_py())
        except pyarrow.ArrowInvalid:
            values.append(None)
            wrong.append(Wrong(row, f"{name}: {str(text)[:100]!r} is no {'number' if kind != pyarrow.bool_() else 'truth value'}"))  # fmt: skip
    return arrow_column(pyarrow.array(values, kind), nulls)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(3)
    if start[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return bz2.open(path, "rb") if start == b"BZh" else path.open("rb")


class _Uncommented:
    """A file without the lines that begin with something."""

    closed = False

    def __init__(self, file: IO[bytes], comment: bytes):
        self._lines = (line for line in file if not line.startswith(comment))
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Up to some bytes."""
        parts, length = [self._rest], len(self._rest)
        while length < size and (line := next(self._lines, b"")):
            parts.append(line)
            length += len(line)
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]

    def close(self) -> None:
        """Who opened the file closes it."""
