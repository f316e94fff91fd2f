"""Features of ZTF's sources, as van Roestel et al. 2021 (AJ 161, 267) define them, and what the database knows of the sources."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from kowalski.alerts.coordinates import position
from kowalski.crossmatch.pixels import with_pixels
from kowalski.database.catalogs import catalog_indexes
from kowalski.database.indexes import Index
from kowalski.database.neighbours import Neighbours
from kowalski.errors import IngestError
from kowalski.ingesters.dmdt import VERSION, dmdt
from kowalski.ingesters.formats.hdf5 import Hdf5Table
from kowalski.ingesters.formats.table import Layout, python_values
from kowalski.ingesters.recipe import Document, Piece, Recipe, Rejected
from kowalski.ingesters.ztf_classifications import ARCHITECTURES

STATS = (
    "_id", "ra", "dec", "n", "median", "wmean", "chi2red", "roms", "wstd", "norm_peak_to_peak_amp", "norm_excess_var", "median_abs_dev", "iqr",
    "i60r", "i70r", "i80r", "i90r", "skew", "smallkurt", "inv_vonneumannratio", "welch_i", "stetson_j", "stetson_k", "ad", "sw",
)  # fmt: skip
EAOV = (
    "_id", "period", "significance", "pdot", "f1_power", "f1_BIC", "f1_a", "f1_b", "f1_amp", "f1_phi0", "f1_relamp1", "f1_relphi1", "f1_relamp2",
    "f1_relphi2", "f1_relamp3", "f1_relphi3", "f1_relamp4", "f1_relphi4",
)  # fmt: skip
#: ``<field>_<ccd>_<quad>_<part>.h5``
FILE = re.compile(r"(\d+)_(\d+)_(\d+)_\d+\.h5")
#: arcsec within which alerts and rows of catalogues belong to a source
NEAR = 2.0
#: what the nearest row of each catalogue adds, as ``<catalogue>__<field>``
BESIDE = {
    "AllWISE": ("w1mpro", "w1sigmpro", "w2mpro", "w2sigmpro", "w3mpro", "w3sigmpro", "w4mpro", "w4sigmpro", "ph_qual"),
    "Gaia_EDR3": ("parallax", "parallax_error", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"),
    "PS1_DR1": tuple(f"{band}MeanPSFMag{error}" for band in "grizy" for error in ("", "Err")),
}
PIECE = 500


class ZtfFeatures(Recipe):
    """Two matrices, of statistics and of periods, joined row by row."""

    name = "ztf_source_features"
    about = "features of ZTF sources (van Roestel et al. 2021, AJ 161, 267)"
    files = ("[0-9]*_[0-9]*_[0-9]*_[0-9]*.h5",)
    parts = {"features": "ZTF_source_features_{tag}"}
    tag = "20201201"
    merges = True

    def __init__(self, light_curves: str = "ZTF_sources_20201201") -> None:
        self.light_curves = light_curves

    def takes(self, path: Path) -> bool:
        return super().takes(path) and not set(path.parts[-3:-2]) & set(ARCHITECTURES)

    def indexes(self, part: str) -> list[Index]:
        return catalog_indexes()

    def rows(self, path: Path) -> int | None:
        with Hdf5Table(path, Layout(STATS, unit="stats")) as table:
            return table.rows

    def pieces(self, path: Path, first: int, last: int | None) -> Iterator[Piece]:
        where = _of_name(path)
        with Hdf5Table(path, Layout(STATS, unit="stats")) as stats, Hdf5Table(path, Layout(EAOV, unit="stats_EAOV")) as eaov:  # fmt: skip
            if stats.rows != eaov.rows:
                raise IngestError(f"{path.name}: stats has {stats.rows} rows, and stats_EAOV {eaov.rows}")
            both = zip(stats.blocks(first, last, PIECE), eaov.blocks(first, last, PIECE), strict=True)
            for block, periods in both:
                columns = {name: python_values(column) for name, column in (*periods.columns.items(), *block.columns.items())}  # fmt: skip
                other = np.flatnonzero(block.columns["_id"].values != periods.columns["_id"].values)
                rejected = [Rejected(block.first + row, "stats and stats_EAOV are of different sources") for row in other.tolist()]  # fmt: skip
                documents = []
                for row, values in enumerate(zip(*columns.values(), strict=True)):
                    found = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
                    if row in other:
                        continue
                    if not {"_id", "ra", "dec"} <= found.keys() or not (0 <= found["ra"] <= 360 and -90 <= found["dec"] <= 90):  # fmt: skip
                        rejected.append(Rejected(block.first + row, "no identifier, or no position on the sky"))
                        continue
                    documents.append(_document(found, where))
                yield Piece(
                    block.first + block.rows, block.rows, {"features": with_pixels(documents)}, rejected=rejected
                )

    def enrich(self, part: str, documents: list[Document], neighbours: Neighbours) -> Mapping[int, str]:
        places = [(each["ra"], each["dec"]) for each in documents]
        for document, (number, braai) in zip(documents, neighbours.alerts("ZTF_alerts", places, NEAR), strict=True):
            document["n_ztf_alerts"] = number
            if braai is not None:
                document["mean_ztf_alert_braai"] = braai
        for catalog, fields in BESIDE.items():
            for document, row in zip(documents, neighbours.nearest(catalog, places, NEAR, fields), strict=True):
                document |= {f"{catalog}__{name}": row[name] for name in ("_id", *fields) if name in row}
        curves = neighbours.light_curves(self.light_curves, [each["_id"] for each in documents])
        for document in documents:
            points = [(each["hjd"], each["mag"]) for each in curves.get(document["_id"], []) if good(each)]
            if len(points) > 1:
                document["dmdt"] = {VERSION: dmdt(*np.array(points).T).tolist()}
        return {}


def good(point: Document) -> bool:
    """Whether a point of a matchfile is of good quality."""
    return point.get("catflags", 0) == 0 and "hjd" in point and "mag" in point


def _of_name(path: Path) -> Document:
    found = FILE.fullmatch(path.name)
    if not found:
        raise IngestError(f"{path.name}: the field, CCD and quadrant stand in such a file's name: FIELD_CCD_QUAD_PART.h5")  # fmt: skip
    return dict(zip(("field", "ccd", "quad"), map(int, found.groups()), strict=True))


def _document(found: Document, where: Document) -> Document:
    ra = found["ra"] % 360.0
    whole = {"_id": int(found["_id"]), "n": int(found.get("n", 0)), "ra": ra}
    return {**found, **whole, **where, "coordinates": position(ra, found["dec"])}
