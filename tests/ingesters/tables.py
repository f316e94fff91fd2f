"""Simulated catalogues, written in each format."""

from pathlib import Path
from typing import Any

import numpy as np

Columns = dict[str, np.ndarray]


def simulated(number: int, columns: int = 0, seed: int = 1) -> Columns:
    """A catalogue of positions all over the sky, with identifiers, names, magnitudes of which some are missing, and more columns."""
    rng = np.random.default_rng(seed)
    mag = rng.normal(18, 2, number)
    mag[rng.random(number) < 0.1] = np.nan
    return {
        "id": np.arange(number, dtype=np.int64) + 3_000_000_000_000_000_000,
        "ra": rng.uniform(0, 360, number),
        "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, number))),
        "name": np.array([f"SIM J{index:07d}" for index in range(number)]),
        "mag": mag,
        "n": rng.integers(0, 100, number).astype(np.int32),
        **{f"c{index:02d}": rng.normal(size=number) for index in range(columns)},
    }


def write(path: Path, columns: Columns) -> Path:
    """The catalogue as a file of the format that its name tells."""
    {"fits": _fits, "csv": _csv, "parquet": _parquet, "h5": _h5, "pytable": _pytable}[path.suffix[1:]](path, columns)
    return path


def _fits(path: Path, columns: Columns) -> None:
    from astropy.table import Table

    Table(columns).write(path, overwrite=True)


def _csv(path: Path, columns: Columns) -> None:
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    lines = [",".join("" if value != value else str(value) for value in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")


def _parquet(path: Path, columns: Columns) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=700)


def _records(columns: Columns) -> np.ndarray:
    kinds: list[Any] = [(name, "S20" if values.dtype.kind == "U" else values.dtype) for name, values in columns.items()]
    records = np.zeros(len(columns["ra"]), kinds)
    for name, values in columns.items():
        records[name] = values
    return records


def _h5(path: Path, columns: Columns) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["catalogue"] = _records(columns)


def _pytable(path: Path, columns: Columns) -> None:
    import tables

    with tables.open_file(str(path), "w") as file:
        file.create_table("/", "catalogue", _records(columns))
