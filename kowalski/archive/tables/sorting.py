"""One sorted Parquet file of any number of rows in any order, within bounded memory: sorted runs are written, then merged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: rows and bytes of a run, which are held in memory, and of a group in the file, at most
RUN, RUN_BYTES = 100_000, 256 << 20
GROUP, GROUP_BYTES = 20_000, 64 << 20


class Sorter:
    """Takes rows; writes them in the order of some columns, the first one first.

    Parameters
    ----------
    folder : where runs are kept meanwhile; it is this sorter's own
    """

    def __init__(self, schema: pa.Schema, order: list[str], folder: Path, run: int = RUN, group: int = GROUP):
        self.schema, self.order, self.folder = schema, order, folder
        self.rows = 0
        self._run, self._group = run, group
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = self._bytes = 0
        self._runs: list[Path] = []
        folder.mkdir(parents=True)

    def add(self, table: pa.Table) -> None:
        """Take rows whose columns are the sorter's, or some of them."""
        if not table.num_rows:
            return
        self._held.append(pa.concat_tables([self.schema.empty_table(), table], promote_options="permissive"))
        self.rows += table.num_rows
        self._bytes += table.nbytes
        self._held_rows += table.num_rows
        self._held_bytes += table.nbytes
        if self._held_rows >= self._run or self._held_bytes >= RUN_BYTES:
            self._runs.append(self.folder / f"{len(self._runs)}.parquet")
            pq.write_table(self._sorted(), self._runs[-1], row_group_size=self._grouped, compression="lz4")
            self._held, self._held_rows, self._held_bytes = [], 0, 0

    def write(self, path: Path) -> None:
        """All rows are in a file."""
        with pq.ParquetWriter(path, self.schema, compression="zstd") as writer:
            for table in self._merged() if self._runs else [self._sorted()]:
                writer.write_table(table, row_group_size=self._grouped)

    @property
    def _grouped(self) -> int:
        """Rows of a group."""
        return max(1, min(self._group, GROUP_BYTES * self.rows // max(self._bytes, 1)))

    def _sorted(self) -> pa.Table:
        table = pa.concat_tables([self.schema.empty_table(), *self._held])
        return table.sort_by([(name, "ascending") for name in self.order])

    def _merged(self) -> Iterator[pa.Table]:
        """The rows of all runs in order, a group at a time: a run's rows are taken one after the other."""
        last, size = self._sorted(), self._grouped
        files = [pq.ParquetFile(path) for path in self._runs]
        runs = [*(_Run(file, self.schema, size) for file in files), _Run(last, self.schema, size)]
        keys = pa.concat_tables([*(file.read(self.order) for file in files), last.select(self.order)])
        order = pc.sort_indices(keys, [(name, "ascending") for name in self.order]).to_numpy()
        sources = np.repeat(np.arange(len(runs)), [run.rows for run in runs])[order]
        for first in range(0, len(sources), size):
            yield _group(sources[first : first + size], runs)
        for file in files:
            file.close()


class _Run:
    """Sorted rows that are taken from the first to the last."""

    def __init__(self, source: pq.ParquetFile | pa.Table, schema: pa.Schema, size: int):
        if isinstance(source, pa.Table):
            self.rows, self._batches = source.num_rows, iter([source])
        else:
            self.rows = source.metadata.num_rows
            self._batches = (pa.Table.from_batches([batch], schema) for batch in source.iter_batches(size))
        self._left = schema.empty_table()

    def take(self, number: int) -> pa.Table:
        """So many further rows."""
        while self._left.num_rows < number:
            self._left = pa.concat_tables([self._left, next(self._batches)])
        taken, self._left = self._left.slice(0, number), self._left.slice(number)
        return taken


def _group(sources: np.ndarray, runs: list[_Run]) -> pa.Table:
    """The next rows of runs, ``sources`` telling the run of each."""
    counts = np.bincount(sources, minlength=len(runs))
    taken = pa.concat_tables([run.take(int(count)) for run, count in zip(runs, counts, strict=True)])
    places = np.empty(len(sources), np.int64)
    places[np.argsort(sources, kind="stable")] = np.arange(len(sources))
    return taken.take(places)
