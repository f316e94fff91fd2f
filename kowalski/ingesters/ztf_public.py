"""ZTF's public light curves: the Parquet files of the data releases, a row for each source and filter."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kowalski.alerts.coordinates import position
from kowalski.alerts.times import MJD_ZERO
from kowalski.crossmatch.pixels import with_pixels
from kowalski.database.catalogs import catalog_indexes
from kowalski.database.indexes import Index
from kowalski.ingesters.formats.parquet import ParquetTable
from kowalski.ingesters.formats.table import Block, Layout, python_values
from kowalski.ingesters.recipe import Document, Piece, Recipe, Rejected, ranges

#: column -> field
FIELDS = {
    "objectid": "_id",
    "filterid": "filter",
    "fieldid": "field",
    "rcid": "rc",
    "objra": "ra",
    "objdec": "dec",
    "nepochs": "nobs",
}
#: column -> field of each point
POINTS = {"hmjd": "hjd", "mag": "mag", "magerr": "magerr", "clrcoeff": "clrcoeffs", "catflags": "catflags"}
#: rows with their light curves at a time, and those that one process takes
PIECE, STRETCH = 500, 20_000


class ZtfPublic(Recipe):
    """The light curves of a data release."""

    name = "ztf_public"
    about = "ZTF public light curves (data releases; Bellm et al. 2019, PASP 131, 018002)"
    files = ("ztf_*.parquet",)
    parts = {"sources": "ZTF_public_sources_{tag}"}
    tag = "20210401"

    def indexes(self, part: str) -> list[Index]:
        return catalog_indexes()

    def rows(self, path: Path) -> int | None:
        with ParquetTable(path, Layout()) as table:
            return table.rows

    def stretches(self, path: Path) -> list[tuple[int, int | None]]:
        return list(ranges(self.rows(path) or 0, STRETCH))

    def pieces(self, path: Path, first: int, last: int | None) -> Iterator[Piece]:
        with ParquetTable(path, Layout()) as table:
            table.must_have([*FIELDS, *POINTS])
            for block in table.blocks(first, last, PIECE):
                yield _piece(block)


def _piece(block: Block) -> Piece:
    fields = [python_values(block.columns[name]) for name in FIELDS]
    points = [python_values(block.columns[name]) for name in POINTS]
    piece = Piece(block.first + block.rows, block.rows, {})
    documents = []
    for row, (values, curves) in enumerate(
        zip(zip(*fields, strict=True), zip(*points, strict=True), strict=True), block.first
    ):
        source = {name: value for name, value in zip(FIELDS.values(), values, strict=True) if value is not None}
        if (problem := _problem(source, curves)) is not None:
            piece.rejected.append(Rejected(row, problem))
            continue
        ra, dec = source["ra"] % 360.0, source["dec"]
        documents.append({**source, "ra": ra, "coordinates": position(ra, dec), "data": _points(curves)})
    piece.documents["sources"] = with_pixels(documents)
    return piece


def _problem(source: Document, curves: tuple[list[float] | None, ...]) -> str | None:
    """Why a source can't be stored; None: it can."""
    if "_id" not in source:
        return "no objectid"
    ra, dec = source.get("ra"), source.get("dec")
    if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
        return f"no position on the sky: objra {ra}, objdec {dec} deg"
    if len({len(curve or ()) for curve in curves}) != 1:
        return "the columns of its light curve differ in length"
    return None


def _points(curves: tuple[list[float] | None, ...]) -> list[Document]:
    """The points of a light curve, in time; the heliocentric date is a JD, as in matchfiles."""
    columns = [curve or [] for curve in curves]
    rows = [dict(zip(POINTS.values(), values, strict=True)) for values in zip(*columns, strict=True)]
    made = [{name: value for name, value in row.items() if value is not None and np.isfinite(value)} for row in rows]
    for point in made:
        if "hjd" in point:
            point["hjd"] += MJD_ZERO
    return sorted(made, key=lambda point: point.get("hjd", 0.0))
