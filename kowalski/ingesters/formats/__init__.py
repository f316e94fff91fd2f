"""Tables of any format: a file is opened by its name, and gives its rows as columns."""

import fnmatch
from collections.abc import Callable
from pathlib import Path

from kowalski.errors import IngestError
from kowalski.ingesters.formats.csv import CsvTable
from kowalski.ingesters.formats.fits import FitsTable
from kowalski.ingesters.formats.hdf5 import Hdf5Table
from kowalski.ingesters.formats.parquet import ParquetTable
from kowalski.ingesters.formats.pytables import PyTable
from kowalski.ingesters.formats.table import Layout, Table

#: how a format's files end, and what opens them
FORMATS: dict[tuple[str, ...], Callable[[Path, Layout], Table]] = {
    ("*.fits", "*.fits.gz", "*.fit", "*.fit.gz", "*.fits.fz"): FitsTable,
    ("*.csv", "*.csv.gz", "*.csv.bz2", "*.tsv", "*.tsv.gz", "*.txt", "*.gz"): CsvTable,
    ("*.parquet",): ParquetTable,
    ("*.h5", "*.hdf5"): Hdf5Table,
    ("*.pytable",): PyTable,
}
#: endings of files that hold a table
ENDINGS = tuple(ending for endings in FORMATS for ending in endings if ending != "*.gz")


def open_table(path: Path, layout: Layout) -> Table:
    """The table in a file; close it.

    Raises
    ------
    IngestError : its name tells of no format, or it is not whole, or not what its name says
    """
    for endings, opener in FORMATS.items():
        if any(fnmatch.fnmatchcase(path.name.lower(), ending) for ending in endings):
            return opener(path, layout)
    raise IngestError(f"{path.name}: no format is known by this name: {', '.join(ENDINGS)}")
