"""What every format gives: rows as columns, each with what is missing in it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kowalski.errors import IngestError

#: texts that stand for no value, whatever the column
NO_VALUE = ("", "null", "NULL", "nan", "NaN", "NAN", "N/A", "n/a", "\\N", "--", "None")


@dataclass(frozen=True)
class Layout:
    """What a file doesn't say of itself.

    Attributes
    ----------
    names : of the columns, where there is no header
    nulls : values that stand for no value, in columns of numbers
    comment : what lines begin with that are none of the table
    text : columns that are texts, though they may look like numbers
    needed : columns that a file must have
    unit : the extension, group or dataset, where there are several
    """

    names: tuple[str, ...] = ()
    nulls: tuple[float, ...] = ()
    comment: str | None = None
    text: frozenset[str] = frozenset()
    needed: tuple[str, ...] = ()
    unit: str | None = None


class Wrong(NamedTuple):
    """A value that is none of its column's type: in which row of the block, and what it is."""

    row: int
    what: str


class Column(NamedTuple):
    """Values of N rows, shape (N,) or (N, ...), and where there is none, shape (N,), bool."""

    values: np.ndarray
    missing: np.ndarray


@dataclass
class Block:
    """Some rows of a table, from row ``first`` on.

    Attributes
    ----------
    units : of the columns that the file names one for
    wrong : values that can't be read
    """

    first: int
    columns: dict[str, Column]
    wrong: list[Wrong] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())).values) if self.columns else 0


class Table(ABC):
    """A table in a file; a context that closes it.

    Attributes
    ----------
    rows : None where that is known only when all is read
    seekable : whether reading from a row on costs no reading of those before
    """

    path: Path
    names: Sequence[str]
    rows: int | None = None
    seekable = True
    #: units of columns, as the file says
    units: Mapping[str, str] = {}

    @abstractmethod
    def blocks(self, first: int, last: int | None, size: int) -> Iterator[Block]:
        """Rows from ``first`` to before ``last``, ``size`` at a time."""

    @abstractmethod
    def close(self) -> None:
        """The file is closed."""

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def must_have(self, needed: Sequence[str]) -> None:
        """Nothing, where a table has some columns.

        Raises
        ------
        IngestError : it lacks some, which are named, with those that there are
        """
        lacking = [name for name in needed if name not in self.names]
        if lacking:
            there = ", ".join(self.names[:40]) + (" ..." if len(self.names) > 40 else "")
            raise IngestError(f"{self.path.name}: no column {', '.join(lacking)}; there are {there}")


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Raise what readers raise of broken files as `IngestError`, which names the file."""
    try:
        yield
    except IngestError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # of five libraries, each with errors of its own for what is broken
        raise IngestError(f"{path.name} can't be read, it is broken or not whole: {error}") from error


def column_of(values: np.ndarray, nulls: Sequence[float] = (), missing: np.ndarray | None = None) -> Column:
    """Values with what is missing: what is not a finite number, a null, or an empty text."""
    values = np.asarray(values)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if missing is None:
        missing = np.zeros(len(values), bool)
    if values.dtype.kind in "SU":
        values = _texts(values)
        missing = missing | (values == "") if values.ndim == 1 else missing
    elif values.dtype.kind in "iuf" and values.ndim == 1:
        if values.dtype.kind == "f":
            missing = missing | ~np.isfinite(values)
        for null in nulls:
            missing = missing | (values == null)
    return Column(values, missing)


def _texts(values: np.ndarray) -> np.ndarray:
    """Texts without blanks around them; bytes are read as UTF-8."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    return np.char.strip(values, " \t\r\n\0")


def python_values(column: Column) -> list[Any]:
    """One value of Python for each row, None where there is none; numbers in arrays that are not finite are None."""
    values = column.values
    if values.ndim > 1 and values.dtype.kind == "f" and not np.isfinite(values).all():
        held = values.astype(object)
        held[~np.isfinite(values)] = None
        values = held
    listed = values.tolist()
    if column.missing.any():
        return [None if gone else value for value, gone in zip(listed, column.missing.tolist(), strict=True)]
    return list(listed)
