"""Tables of FITS files, by astropy."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from kowalski.errors import IngestError
from kowalski.ingesters.formats.table import Block, Layout, Table, column_of, told_of


class FitsTable(Table):
    """The first table of a FITS file, or the one of a name; ``TNULL`` values are missing."""

    def __init__(self, path: Path, layout: Layout):
        self.path = path
        self._layout = layout
        with told_of(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            self.seekable = not _is_compressed(path)
            self._file = fits.open(path, memmap=self.seekable)
            try:
                self._open()
            except BaseException:
                self._file.close()
                raise

    def _open(self) -> None:
        unit = self._layout.unit
        tables = [each for each in self._file if isinstance(each, fits.BinTableHDU | fits.TableHDU)]
        chosen = [each for each in tables if unit is None or each.name == unit.upper()]
        if not chosen:
            raise IngestError(f"{self.path.name}: there is no table" + (f" {unit}" if unit else ""))
        table = chosen[0]
        self._columns = table.columns
        self.names = list(table.columns.names)
        self.units = {each.name: each.unit for each in table.columns if each.unit}
        self._nulls = {each.name: each.null for each in table.columns if isinstance(each.null, int)}
        wanted = table.header["NAXIS1"] * table.header["NAXIS2"]
        if self.seekable and self.path.stat().st_size < table.fileinfo()["datLoc"] + wanted:
            raise IngestError(f"{self.path.name} is not whole: {table.header['NAXIS2']} rows are announced, and it ends before")  # fmt: skip
        self._data = table.data
        self.rows = int(table.header["NAXIS2"])

    def blocks(self, first: int, last: int | None, size: int) -> Iterator[Block]:
        end = min(self.rows or 0, last if last is not None else self.rows or 0)
        for start in range(first, end, size):
            with told_of(self.path):
                rows = self._data[start : min(start + size, end)]
                columns = {}
                for name in self.names:
                    values = np.asarray(rows[name])
                    null = self._nulls.get(name)
                    missing = values == null if null is not None and values.ndim == 1 else None
                    columns[name] = column_of(values, self._layout.nulls, missing)
            yield Block(start, columns)

    def close(self) -> None:
        self._data = None
        self._file.close()


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
