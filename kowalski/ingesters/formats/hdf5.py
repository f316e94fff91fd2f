"""Tables of HDF5 files, by h5py: a dataset of records, or datasets of one length, each a column."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from kowalski.errors import IngestError
from kowalski.ingesters.formats.table import Block, Layout, Table, column_of, told_of


class Hdf5Table(Table):
    """A dataset of records; or, in one group, a dataset for each column; or a matrix whose columns the layout names."""

    def __init__(self, path: Path, layout: Layout):
        self.path = path
        self._layout = layout
        with told_of(path):
            self._file = h5py.File(path)
            try:
                self._columns = self._found()
            except BaseException:
                self._file.close()
                raise
        self.names = list(self._columns)
        self.rows = len(next(iter(self._columns.values()))[0])

    def _found(self) -> dict[str, tuple[h5py.Dataset, str | int | None]]:
        """The columns: in which dataset, and which part of its rows."""
        node = self._file[self._layout.unit] if self._layout.unit else self._file
        while isinstance(node, h5py.Group) and len(node) == 1:
            node = next(iter(node.values()))
        if isinstance(node, h5py.Group):
            columns = {name: each for name, each in node.items() if isinstance(each, h5py.Dataset)}
            if not columns or len({len(each) for each in columns.values()}) != 1:
                raise IngestError(
                    f"{self.path.name}: {node.name} holds no datasets of one length, but {', '.join(node)}"
                )
            return {name: (each, None) for name, each in columns.items()}
        if node.dtype.names:
            return {name: (node, name) for name in node.dtype.names}
        if node.ndim == 2 and node.shape[1] == len(self._layout.names):
            return {name: (node, place) for place, name in enumerate(self._layout.names)}
        raise IngestError(f"{self.path.name}: {node.name} of shape {node.shape} is no table")

    def blocks(self, first: int, last: int | None, size: int) -> Iterator[Block]:
        end = min(self.rows or 0, last if last is not None else self.rows or 0)
        for start in range(first, end, size):
            with told_of(self.path):
                read = {node: node[start : min(start + size, end)] for node, _ in self._columns.values()}
                columns = {name: column_of(_part(read[node], part), self._layout.nulls) for name, (node, part) in self._columns.items()}  # fmt: skip
            yield Block(start, columns)

    def close(self) -> None:
        self._file.close()


def _part(rows: np.ndarray, part: str | int | None) -> np.ndarray:
    chosen = rows if part is None else rows[:, part] if isinstance(part, int) else rows[part]
    return chosen.astype("S") if chosen.dtype.kind == "O" else chosen
