"""Which rows a night's files have already, so that what is read again is not written again."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from kowalski.archive.tables.columns import Table
from kowalski.archive.tables.store import Partition, Store

Hashes = np.ndarray


class Known:
    """The rows of partitions as hashes of what tells them apart, 8 bytes each; learnt from the files, also when others changed these."""

    def __init__(self, store: Store):
        self._store = store
        self._partitions: dict[Partition, tuple[frozenset[str], Hashes]] = {}
        self._used: set[Partition] = set()

    def new(self, partition: Partition, table: Table, rows: pa.Table) -> pa.Table:
        """Those of some rows that the partition has not, each once."""
        hashes, known = hashes_of(rows, table), self._known(partition, table)
        _, first = np.unique(hashes, return_index=True)
        fresh = np.zeros(len(hashes), bool)
        fresh[first] = True
        fresh &= ~np.isin(hashes, known)
        return rows.filter(pa.array(fresh))

    def add(self, partition: Partition, table: Table, name: str, rows: pa.Table) -> None:
        """A file with these rows, which were new, was added to the partition."""
        files, known = self._partitions[partition]
        self._partitions[partition] = files | {name}, np.union1d(known, hashes_of(rows, table))

    def forget(self) -> None:
        """Let go of partitions that were not asked for since this was called last."""
        self._partitions = {each: known for each, known in self._partitions.items() if each in self._used}
        self._used = set()

    def _known(self, partition: Partition, table: Table) -> Hashes:
        paths = {path.rpartition("/")[2]: path for path in self._store.files(partition)}
        self._used.add(partition)
        files, known = self._partitions.get(partition, (frozenset[str](), np.empty(0, np.int64)))
        if paths.keys() != files:  # at the start, and after the night was made whole
            found = [hashes_of(rows, table) for path in paths.values() for rows in self._store.batches(path, list(table.key))]  # fmt: skip
            files, known = frozenset(paths), np.unique(np.concatenate([np.empty(0, np.int64), *found]))
        self._partitions[partition] = files, known
        return known


def hashes_of(rows: pa.Table, table: Table) -> Hashes:
    """What tells rows apart, in 64 bits; the same within one process."""
    columns: Iterable[list[object]] = (rows[name].to_pylist() for name in table.key)
    return np.array([hash(key) for key in zip(*columns, strict=True)], np.int64)
