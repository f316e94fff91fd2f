"""Flat catalogues: a row of the table is a document, with its coordinates."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from bson import ObjectId

from kowalski.alerts.coordinates import position
from kowalski.crossmatch.pixels import with_pixels
from kowalski.database.catalogs import catalog_indexes
from kowalski.database.indexes import Index
from kowalski.database.neighbours import Neighbours
from kowalski.errors import IngestError
from kowalski.ingesters.cuts import Cut
from kowalski.ingesters.formats import ENDINGS, open_table
from kowalski.ingesters.formats.table import Block, Column, Layout, Table, python_values
from kowalski.ingesters.recipe import PIECE, STRETCH, Document, Piece, Recipe, Rejected, ranges

#: names of the columns of a position, in any case, the first ones that a table has
POSITIONS = (
    ("ra", "dec"),
    ("ra", "decl"),
    ("objra", "objdec"),
    ("ra_icrs", "de_icrs"),
    ("raj2000", "dej2000"),
    ("_raj2000", "_dej2000"),
    ("ramean", "decmean"),
    ("ra_deg", "dec_deg"),
    ("ra_obs", "dec_obs"),
)
#: the largest integer that MongoDB holds
LARGEST = 2**63 - 1


def table_files(*stems: str) -> tuple[str, ...]:
    """Patterns of the files of a catalogue in any format."""
    return tuple(stem + ending for stem in stems for ending in ENDINGS)


@dataclass(frozen=True)
class Catalog(Recipe):
    """A catalogue, declared.

    Attributes
    ----------
    position : columns of right ascension and declination; None: found by their names
    id : the column that identifies a row; None: an ObjectId made of the file's name and the row, the same each time
    id_is_text : the identifier is kept as text
    columns : the columns to keep; None: all
    renamed : column -> field
    converted : column -> (unit in the file, unit of the field), as astropy names them
    keep : conditions that rows must meet, such as ``Quality_flag == 0``
    layout : what the files don't say of themselves
    more : indexes beside those of positions
    placed_by : the catalogue whose rows have the positions instead, and the column that has their ``_id``
    """

    name: str
    about: str
    collection: str
    files: tuple[str, ...]
    position: tuple[str, str] | None = None
    id: str | None = None
    id_is_text: bool = False
    columns: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    converted: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    layout: Layout = Layout()
    more: tuple[Index, ...] = ()
    placed_by: tuple[str, str] | None = None

    @property
    def parts(self) -> Mapping[str, str]:  # type: ignore[override]
        """One collection."""
        return {"rows": self.collection}

    @property
    def options(self) -> dict[str, Any]:
        told = {"position": self.position, "id": self.id, "keep": self.keep, "placed_by": self.placed_by}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items() if value}

    def indexes(self, part: str) -> list[Index]:
        return [*catalog_indexes(), *self.more]

    @cached_property
    def _cuts(self) -> list[Cut]:
        return [Cut.parse(text) for text in self.keep]

    @cached_property
    def _layout(self) -> Layout:
        needed = {*(self.columns or ()), *(cut.column for cut in self._cuts), *([self.id] if self.id else [])}
        needed |= {self.placed_by[1]} if self.placed_by else set()
        texts = {*self.layout.text, *([self.id] if self.id and self.id_is_text else [])}
        return Layout(**{**vars(self.layout), "needed": tuple(sorted(needed)), "text": frozenset(texts)})

    def open(self, path: Path) -> Table:
        """The table, with all columns that the recipe needs.

        Raises
        ------
        IngestError : it is broken, or lacks some
        """
        table = open_table(path, self._layout)
        try:
            table.must_have([*self._layout.needed, *self._place(table)])
            for own in map(self._field, self.columns or table.names):
                if not own or own.startswith("$") or "." in own or own in ("_id", "coordinates"):
                    raise IngestError(f"{path.name}: a document can't have a field {own!r}: rename the column")
        except BaseException:
            table.close()
            raise
        return table

    def stretches(self, path: Path) -> list[tuple[int, int | None]]:
        with self.open(path) as table:
            if table.seekable and table.rows is not None:
                return list(ranges(table.rows, STRETCH))
        return [(0, None)]

    def rows(self, path: Path) -> int | None:
        with self.open(path) as table:
            return table.rows

    def pieces(self, path: Path, first: int, last: int | None) -> Iterator[Piece]:
        with self.open(path) as table:
            place = self._place(table)
            for block in table.blocks(first, last, PIECE):
                yield self._piece(path, table, place, block)

    def _piece(self, path: Path, table: Table, place: Sequence[str], block: Block) -> Piece:
        fault: dict[int, str] = {wrong.row: wrong.what for wrong in reversed(block.wrong)}
        kept = np.ones(block.rows, bool)
        for cut in self._cuts:
            kept &= cut.holds(block.columns[cut.column])
        coordinates: list[Any] = [None] * block.rows
        if place:
            coordinates, misplaced = _coordinates(table, block, place)
            fault = misplaced | fault
        names = self.columns or table.names
        for name in names:
            for row, value in _too_large(block.columns[name]):
                fault.setdefault(row, f"{name}: {value} takes more than 64 bits")
        ids = self._ids(path, block)
        for row, identifier in enumerate(ids):
            if identifier is None:
                fault.setdefault(row, "no identifier")
        chosen = [row for row in np.flatnonzero(kept).tolist() if row not in fault]
        values = [python_values(_converted(block.columns[name], self.converted.get(name), name)) for name in names]
        fields, rows = [self._field(name) for name in names], list(zip(*values, strict=True))
        documents = [
            {
                "_id": ids[row],
                **{name: value for name, value in zip(fields, rows[row], strict=True) if value is not None},
                **({"coordinates": coordinates[row]} if place else {}),
            }
            for row in chosen
        ]
        rejected = [Rejected(block.first + row, fault[row]) for row in sorted(fault) if kept[row]]
        cut_rows = int(block.rows - kept.sum())
        return Piece(
            block.first + block.rows,
            block.rows,
            {"rows": with_pixels(documents) if place else documents},
            cut_rows,
            rejected,
        )

    def enrich(self, part: str, documents: list[Document], neighbours: Neighbours) -> Mapping[int, str]:
        """The positions that another catalogue has."""
        if self.placed_by is None:
            return {}
        catalog, column = self.placed_by
        keys = [document.get(self._field(column)) for document in documents]
        places = neighbours.places(catalog, [key for key in keys if key is not None])
        for document, key in zip(documents, keys, strict=True):
            document |= {name: value for name, value in places.get(key, {}).items() if name not in document}
        with_pixels([document for document in documents if "coordinates" in document])
        return {
            place: f"no position: {catalog} has no row {key!r}" for place, key in enumerate(keys) if key not in places
        }

    def _place(self, table: Table) -> tuple[str, ...]:
        """The columns of the position, if it is one of the table's."""
        return () if self.placed_by else _place_columns(self.position, table)

    def _field(self, column: str) -> str:
        return self.renamed.get(column, column).strip()

    def _ids(self, path: Path, block: Block) -> list[Any]:
        if self.id is not None:
            values = python_values(block.columns[self.id])
            return [None if value is None else str(value) for value in values] if self.id_is_text else values
        return [row_id(path.name, block.first + row) for row in range(block.rows)]


def row_id(file: str, row: int) -> ObjectId:
    """The ObjectId of a row that has no identifier: the same whenever the file is read."""
    return ObjectId(hashlib.blake2b(f"{file}:{row}".encode(), digest_size=12).digest())


def _place_columns(given: tuple[str, str] | None, table: Table) -> tuple[str, str]:
    """The columns of the position.

    Raises
    ------
    IngestError : they are none of those that are known
    """
    if given is not None:
        return given
    lower = {name.lower(): name for name in reversed(table.names)}
    for ra, dec in POSITIONS:
        if ra in lower and dec in lower:
            return lower[ra], lower[dec]
    raise IngestError(
        f"{table.path.name}: no columns of right ascension and declination are found: name them (--ra, --dec); there are {', '.join(table.names[:40])}"
    )


def _degrees(column: Column, unit: str | None) -> np.ndarray:
    """Angles in deg, shape (N,); NaN where there is none."""
    if column.values.dtype.kind not in "iuf":
        return np.array([_number(value) for value in python_values(column)])
    values = np.where(column.missing, np.nan, column.values.astype(float))
    if unit and unit.strip().lower() not in ("deg", "degree", "degrees"):
        from astropy import units

        try:
            return np.asarray((values * units.Unit(unit)).to_value(units.deg))
        except (ValueError, TypeError, units.UnitConversionError):
            return values
    return values


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _coordinates(table: Table, block: Block, place: Sequence[str]) -> tuple[list[Any], dict[int, str]]:
    """What documents have of each row's position, and why some rows have none."""
    ra, dec = (_degrees(block.columns[name], table.units.get(name)) for name in place)
    ra = np.where(ra == 360.0, 0.0, ra)
    there = (ra >= 0) & (ra < 360) & (np.abs(dec) <= 90)
    faults = {row: _misplaced(place, ra[row], dec[row]) for row in np.flatnonzero(~there).tolist()}
    places = zip(ra.tolist(), dec.tolist(), there.tolist(), strict=True)
    return [position(*each) if good else None for *each, good in places], faults


def _misplaced(place: Sequence[str], ra: float, dec: float) -> str:
    if math.isnan(ra) or math.isnan(dec):
        return f"no position: {place[0]} or {place[1]} is missing or no number"
    return f"no position on the sky: {place[0]} {ra:g}, {place[1]} {dec:g} deg"


def _converted(column: Column, how: tuple[str, str] | None, name: str) -> Column:
    """A column in other units."""
    if how is None or column.values.dtype.kind not in "iuf":
        return column
    from astropy import units

    try:
        return Column((column.values * units.Unit(how[0])).to_value(units.Unit(how[1])), column.missing)
    except units.UnitsError as error:
        raise IngestError(f"{name} can't be converted: {error}") from None


def _too_large(column: Column) -> list[tuple[int, int]]:
    """The rows of integers that MongoDB can't hold, and these."""
    if column.values.dtype != np.uint64 or column.values.ndim > 1:
        return []
    rows = np.flatnonzero(column.values > LARGEST).tolist()
    return [(row, int(column.values[row])) for row in rows]
