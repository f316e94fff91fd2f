"""Sky maps' files: FITS with cells of one size or of several, with layers of distance, and coverage maps (MOC)."""

import base64
import binascii
import gzip
import io
import math
import struct
import zlib
from typing import Any

import numpy as np
from astropy.io import fits
from astropy_healpix import HEALPix, level_ipix_to_uniq, nside_to_level

from kowalski.errors import SkymapError
from kowalski.skymaps.coverage import from_moc_file
from kowalski.skymaps.localization import MAX_CELLS, Cap, Localization, above_0, from_cells, without_earth

#: bytes of a sky map's file, decompressed
MAX_BYTES = 1 << 29
#: radius of the Earth as seen from Fermi, deg, where a file tells its place only
EARTH = 67.5
#: names of the column of probability in files of cells of one size
PROBABILITY = ("PROB", "PROBABILITY", "PROBDENSITY", "T", "SIGNAL")
#: columns of what is known of the distance in each cell
DISTANCE = ("DISTMU", "DISTSIGMA", "DISTNORM")
#: keywords of Fermi GBM's files: where the Earth's centre was, and its radius, deg
SATELLITE = ("GEO_RA", "GEO_DEC", "GEO_RAD")
#: what broken files make their readers raise
UNREADABLE = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)


def from_fits(name: str, content: bytes) -> Localization:
    """The localization of a FITS file, gzipped or not: a sky map of cells of one size or of several, or a MOC, evenly filled.

    Raises
    ------
    SkymapError : it isn't one
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SkymapError(f"the sky map is larger than {MAX_BYTES} bytes")
        columns, header = _table(content)
    except (*UNREADABLE, fits.VerifyError) as error:
        raise SkymapError(f"the sky map can't be read: {error}") from None
    distance = _distance(columns)
    if "UNIQ" in columns and "PROBDENSITY" in columns:
        return without_earth(from_cells(name, columns["UNIQ"], columns["PROBDENSITY"], distance), _earth(header))
    if "RANGE" in columns or ("UNIQ" in columns and len(columns) == 1):
        return from_moc_file(name, content)
    found = next((columns[key] for key in PROBABILITY if key in columns), None)
    if found is None:
        raise SkymapError(f"the sky map has no column of probability: one of {', '.join(PROBABILITY)}")
    if found.dtype.kind not in "fiu" or not 0 < found.size <= MAX_CELLS:
        raise SkymapError(f"the sky map must have up to {MAX_CELLS} cells with a number each")
    nside = math.isqrt(found.size // 12)
    if 12 * nside * nside != found.size or nside & (nside - 1):
        raise SkymapError(f"{found.size} rows are no HEALPix map")
    index = np.arange(found.size)
    ring = str(header.get("ORDERING", "NESTED")).upper().startswith("RING")
    ipix = HEALPix(nside=nside, order="ring").ring_to_nested(index) if ring else index
    uniq = np.asarray(level_ipix_to_uniq(nside_to_level(nside), ipix), dtype=np.int64)
    some = above_0(found)
    layers = None if distance is None else distance[some]
    return without_earth(Localization(name, uniq[some], found[some].astype(float), layers), _earth(header))


def _distance(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """The layers of distance, shape (n, 3), where a file has all three."""
    if not columns.keys() >= set(DISTANCE):
        return None
    layers = [columns[key] for key in DISTANCE]
    if any(layer.dtype.kind not in "fiu" or layer.shape != layers[0].shape for layer in layers):
        raise SkymapError(f"{', '.join(DISTANCE)}: a number in each cell is expected")
    return np.stack(layers, axis=-1).astype(float)


def _table(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns of a FITS file's first table that matter, by their names in upper case, and the header's keywords."""
    with fits.open(io.BytesIO(content), memmap=False) as units:
        table = next((unit for unit in units if isinstance(unit, fits.BinTableHDU)), None)
        if table is None:
            raise SkymapError("the FITS file has no table")
        present = {column.upper() for column in table.columns.names}
        wanted = {"UNIQ", "PROBDENSITY", "RANGE", *PROBABILITY, *DISTANCE} & present
        if "UNIQ" not in wanted:
            wanted -= set(PROBABILITY) - {next((key for key in PROBABILITY if key in wanted), "")}
        columns = {
            column.upper(): np.asarray(table.data[column]).ravel()
            for column in table.columns.names
            if column.upper() in wanted
        }
        headers = (units[0].header, table.header)
        return columns, {key: each[key] for each in headers for key in ("ORDERING", *SATELLITE) if key in each}


def _earth(header: dict[str, Any]) -> Cap | None:
    """Where the Earth was, by the keywords of Fermi GBM's files."""
    ra, dec, radius = (header.get(key, default) for key, default in zip(SATELLITE, ("", "", EARTH), strict=True))
    try:
        return float(ra), float(dec), float(radius)
    except (TypeError, ValueError):
        return None


def decode_content(content: Any) -> bytes:
    """The bytes of a file that came as base64, or under MongoDB's ``$binary``.

    Raises
    ------
    SkymapError : they can't be read
    """
    if isinstance(content, dict):
        inner = content.get("$binary")
        content = inner.get("base64") if isinstance(inner, dict) else inner
    if isinstance(content, bytes):
        return content
    try:
        return base64.b64decode("".join(str(content).split(",")[-1].split()), validate=True)
    except (binascii.Error, ValueError):
        raise SkymapError("content: a FITS file in base64 is expected") from None
