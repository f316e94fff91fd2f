"""Tables of PyTables' files, by tables."""

from collections.abc import Iterator
from pathlib import Path

import tables

from kowalski.errors import IngestError
from kowalski.ingesters.formats.table import Block, Column, Layout, Table, column_of, told_of


class PyTable(Table):
    """The one table of a file, or the one at the layout's ``unit``."""

    def __init__(self, path: Path, layout: Layout):
        self.path = path
        self._layout = layout
        with told_of(path):
            self._file = tables.open_file(str(path))
            try:
                self._table = self._found()
            except BaseException:
                self._file.close()
                raise
        self.names = list(self._table.colnames)
        self.rows = int(self._table.nrows)

    def _found(self) -> tables.Table:
        if self._layout.unit:
            return self._file.get_node(self._layout.unit, classname="Table")
        found = list(self._file.walk_nodes("/", "Table"))
        if len(found) != 1:
            raise IngestError(f"{self.path.name}: it has {len(found)} tables, and one is expected")
        return found[0]

    def blocks(self, first: int, last: int | None, size: int) -> Iterator[Block]:
        end = min(self.rows or 0, last if last is not None else self.rows or 0)
        for start in range(first, end, size):
            with told_of(self.path):
                rows = self._table.read(start, min(start + size, end))
            yield Block(start, columns_of(rows, self._layout.nulls))

    def close(self) -> None:
        self._file.close()


def columns_of(rows: "tables.Table", nulls: tuple[float, ...] = ()) -> dict[str, Column]:
    """The columns of records."""
    return {name: column_of(rows[name], nulls) for name in rows.dtype.names}
