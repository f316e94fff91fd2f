"""Tables of Parquet files, by pyarrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kowalski.ingesters.formats.table import Block, Column, Layout, Table, column_of, told_of

#: a column that pandas keeps for itself
INDEX = "__index_level_"


class ParquetTable(Table):
    """A Parquet file; lists in its cells stay lists."""

    def __init__(self, path: Path, layout: Layout):
        from pyarrow import parquet

        self.path = path
        self._layout = layout
        with told_of(path):
            self._file = parquet.ParquetFile(path)
            self.names = [name for name in self._file.schema_arrow.names if not name.startswith(INDEX)]
            self.rows = self._file.metadata.num_rows

    def blocks(self, first: int, last: int | None, size: int) -> Iterator[Block]:
        start, groups = 0, []
        metadata = self._file.metadata
        end = metadata.num_rows if last is None else min(last, metadata.num_rows)
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if start + rows > first and start < end:
                groups.append((group, start))
            start += rows
        for group, start in groups:
            with told_of(self.path):
                table = self._file.read_row_group(group, columns=self.names)
            low, high = max(first - start, 0), min(end - start, table.num_rows)
            for place in range(low, high, size):
                rows = table.slice(place, min(size, high - place))
                yield Block(start + place, {name: self._column(rows.column(name)) for name in self.names})

    def _column(self, values: Any) -> Column:
        return arrow_column(values, self._layout.nulls)

    def close(self) -> None:
        self._file.close()


def arrow_column(values: Any, nulls: tuple[float, ...] = ()) -> Column:
    """A column of Arrow as ours."""
    from pyarrow import types

    missing = np.asarray(values.is_null().to_numpy(zero_copy_only=False) if hasattr(values, "num_chunks") else values.is_null().to_numpy(False), bool)  # fmt: skip
    kind = values.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        filled = values.fill_null(False if types.is_boolean(kind) else 0) if missing.any() else values
        return column_of(filled.to_numpy(zero_copy_only=False) if hasattr(filled, "num_chunks") else filled.to_numpy(False), nulls, missing)  # fmt: skip
    held = np.empty(len(values), object)
    held[:] = values.to_pylist()
    if types.is_string(kind) or types.is_large_string(kind):
        held = np.array([value.strip() if value else None for value in held], object)
        missing = np.array([not value for value in held], bool)
    return Column(held, missing)
