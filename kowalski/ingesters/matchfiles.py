"""Matchfiles of ZTF and PTF: sources with the light curves that were matched to them, and the exposures.

Sources that were never seen are left out. Times, magnitudes and flags are kept as published (Masci et al. 2019, PASP 131, 018003).
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tables

from kowalski.alerts.coordinates import position
from kowalski.crossmatch.pixels import with_pixels
from kowalski.database.catalogs import catalog_indexes
from kowalski.database.indexes import Index
from kowalski.errors import IngestError
from kowalski.ingesters.formats.pytables import columns_of
from kowalski.ingesters.formats.table import python_values, told_of
from kowalski.ingesters.recipe import Document, Piece, Recipe, Rejected

#: sources that are read with their light curves at once
SOURCES = 200
#: Cartesian unit vectors, which the position says
VECTOR = ("x", "y", "z")


class Matchfile(Recipe):
    """A matchfile: tables of sources, of their measurements, and of exposures, in one group.

    Attributes
    ----------
    match : the column that says which source a measurement is of
    """

    match: str
    #: columns of measurements that are not kept
    left_out: tuple[str, ...] = ()

    def indexes(self, part: str) -> list[Index]:
        return catalog_indexes() if part == "sources" else []

    def rows(self, path: Path) -> int | None:
        with _group(path) as group:
            return int(group.sources.nrows)

    @abstractmethod
    def of_file(self, group: Any) -> Document:
        """What all sources of a file have in common."""

    @abstractmethod
    def source_id(self, common: Document, match: int) -> int:
        """The identifier of a source."""

    @abstractmethod
    def exposure(self, common: Document, exposure: Document) -> Document:
        """An exposure, with its identifier."""

    @abstractmethod
    def finished(self, common: Document, source: Document, points: list[Document]) -> Document:
        """A source with what follows from it and its points."""

    def pieces(self, path: Path, first: int, last: int | None) -> Iterator[Piece]:
        with _group(path) as group, told_of(path):
            common = self.of_file(group)
            number = group.sources.nrows
            matches = group.sourcedata.col(self.match)
            order = np.argsort(matches, kind="stable")
            sorted_matches = matches[order]
            exposures = [self.exposure(common, each) for each in _documents(group.exposures.read())] if first == 0 else []  # fmt: skip
            for start in range(first, min(last or number, number), SOURCES):
                sources = group.sources.read(start, min(start + SOURCES, number))
                low = np.searchsorted(sorted_matches, sources[_same(sources, self.match)], "left")
                high = np.searchsorted(sorted_matches, sources[_same(sources, self.match)], "right")
                points = self._points(group, [order[a:b] for a, b in zip(low, high, strict=True)])
                yield self._piece(common, start, sources, points, exposures)
                exposures = []

    def _points(self, group: Any, rows: list[np.ndarray]) -> list[list[Document]]:
        """The measurements of each source, read in the order in which they lie in the file."""
        wanted = np.sort(np.concatenate(rows)) if rows else np.zeros(0, int)
        read = _documents(group.sourcedata.read_coordinates(wanted), (self.match, *VECTOR, *self.left_out)) if len(wanted) else []  # fmt: skip
        places = {row: place for place, row in enumerate(wanted.tolist())}
        return [[read[places[row]] for row in own.tolist()] for own in rows]

    def _piece(
        self, common: Document, start: int, sources: np.ndarray, points: list[list[Document]], exposures: list[Document]
    ) -> Piece:
        piece = Piece(start + len(sources), len(sources), {"sources": [], "exposures": exposures})
        made = []
        for row, (source, own) in enumerate(zip(_documents(sources, VECTOR), points, strict=True)):
            if not source.get("nobs"):
                piece.cut += 1
                continue
            ra, dec = source.get("ra"), source.get("dec")
            if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
                piece.rejected.append(Rejected(start + row, f"no position on the sky: ra {ra}, dec {dec} deg"))
                continue
            match = source[_same(sources, self.match)]
            document = {"_id": self.source_id(common, match), **source, **common}
            document |= {"coordinates": position(ra % 360.0, dec)}
            made.append(self.finished(common, document, own))
        piece.documents["sources"] = with_pixels(made)
        return piece


def _same(rows: np.ndarray, name: str) -> str:
    if name not in (rows.dtype.names or ()):
        raise IngestError(f"no column {name} among the sources")
    return name


def _documents(rows: np.ndarray, without: tuple[str, ...] = ()) -> list[Document]:
    """Records as documents, without what is missing in them."""
    columns = {name: python_values(column) for name, column in columns_of(rows).items() if name not in without}
    return [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]


@contextmanager
def _group(path: Path) -> Iterator[Any]:
    """The group that has a matchfile's tables.

    Raises
    ------
    IngestError : the file is broken, or has none
    """
    with told_of(path):
        file = tables.open_file(str(path))
    try:
        found = [each for each in file.walk_groups() if {"sources", "sourcedata", "exposures"} <= set(each._v_children)]
        if len(found) != 1:
            raise IngestError(f"{path.name} is no matchfile: it has {len(found)} groups with the tables sources, sourcedata and exposures")  # fmt: skip
        yield found[0]
    finally:
        file.close()


class ZtfMatchfiles(Matchfile):
    """ZTF's matchfiles, of a release."""

    name = "ztf_matchfiles"
    about = "ZTF matchfiles (Masci et al. 2019, PASP 131, 018003)"
    files = ("ztf_*_match.pytable",)
    parts = {"sources": "ZTF_sources_{tag}", "exposures": "ZTF_exposures_{tag}"}
    tag = "20210401"
    match = "matchid"
    left_out = ("mjd", "psfflux", "psffluxerr", "magerrmodel", "xpos", "ypos")

    def of_file(self, group: Any) -> Document:
        rc = int(group._v_attrs["rcID"])
        return {
            "filter": int(group._v_attrs["filterID"]),
            "field": int(group._v_attrs["fieldID"]),
            "ccd": rc // 4 + 1,
            "quad": rc % 4 + 1,
            "rc": rc,
        }

    def source_id(self, common: Document, match: int) -> int:
        return int(10**13 + common["field"] * 10**9 + common["rc"] * 10**7 + common["filter"] * 10**6 + match)

    def exposure(self, common: Document, exposure: Document) -> Document:
        return {"_id": _exposure_id(common, exposure["expid"]), **exposure, **common}

    def finished(self, common: Document, source: Document, points: list[Document]) -> Document:
        percentiles = source.get("percentiles", [])
        if len(percentiles) == 12:  # 5, 10, 17.5, 25, 32.5, 40, 60, 67.5, 75, 82.5, 90, 95 %
            source["iqr"] = percentiles[8] - percentiles[3]
        data = [{**point, "uexpid": _exposure_id(common, point["expid"])} for point in points]
        return {**source, "data": sorted(data, key=lambda point: point.get("hjd", 0.0))}


def _exposure_id(common: Document, exposure: int) -> int:
    return int(10**16 + common["field"] * 10**12 + common["rc"] * 10**10 + common["filter"] * 10**9 + exposure)


class PtfMatchfiles(Matchfile):
    """PTF's matchfiles."""

    name = "ptf_matchfiles"
    about = "PTF matchfiles (Law et al. 2009, PASP 121, 1395)"
    files = ("PTF_*.pytable",)
    parts = {"sources": "PTF_sources", "exposures": "PTF_exposures"}
    match = "matchedSourceID"

    def of_file(self, group: Any) -> Document:
        names = {"filter": "filterID", "field": "fieldID", "ccd": "chipID"}
        return {name: int(group._v_attrs[attribute]) for name, attribute in names.items()}

    def source_id(self, common: Document, match: int) -> int:
        return int(common["field"] * 10**11 + common["ccd"] * 10**9 + common["filter"] * 10**8 + match)

    def exposure(self, common: Document, exposure: Document) -> Document:
        return {"_id": exposure["pid"], **exposure, **common}

    def finished(self, common: Document, source: Document, points: list[Document]) -> Document:
        return {**source, "data": sorted(points, key=lambda point: point.get("mjd", 0.0))}
