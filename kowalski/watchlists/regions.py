"""Regions of the sky as MOCs: read from what is uploaded, stored as ranges of cells, and made of these again.

mocpy and astropy are imported where they are used, for they take 60 MB of each process that has them.
"""

import io
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kowalski.errors import WatchlistError

#: bytes of a region's file at most, and of its ranges in one document
MAX_BYTES, PART = 64 << 20, 8 << 20
#: cells of the finest order, 29
CELLS = 12 * 4**29
ASCII = re.compile(rb"\s*\d+/")


def is_region(beginning: bytes) -> bool:
    """Whether a file that is no FITS file begins as a MOC does, in JSON or as text."""
    return beginning.lstrip().startswith(b"{") or ASCII.match(beginning) is not None


def read_region(data: bytes) -> Any:
    """The MOC in a file: FITS, JSON, or text such as ``5/12-14 6/99``.

    Raises
    ------
    WatchlistError : it is none, is broken, or is empty
    """
    from mocpy import MOC

    try:
        if data.startswith(b"SIMPLE"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "moc.fits")
                path.write_bytes(data)
                moc = MOC.load(path, "fits")
        else:
            moc = MOC.from_string(data.decode(), "json" if data.lstrip().startswith(b"{") else "ascii")
    except Exception as error:  # what a broken file makes its reader raise is not known in advance
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WatchlistError(f"the MOC can't be read ({said}): save it anew, e.g. with mocpy's MOC.save") from None
    if moc.empty():
        raise WatchlistError("the MOC is empty: no alert is ever in it")
    ranges = np.asarray(moc.to_depth29_ranges, np.uint64)
    if ranges.max() > CELLS or (ranges[:, 1] <= ranges[:, 0]).any():
        raise WatchlistError("the MOC has cells that there are not: save it anew, e.g. with mocpy's MOC.save")
    return moc


def parts_of(moc: Any) -> Iterator[bytes]:
    """A MOC as ranges of cells, in parts that documents can hold."""
    stored = io.BytesIO(np.ascontiguousarray(moc.to_depth29_ranges, "<u8").tobytes())
    while part := stored.read(PART):
        yield part


def region_of(parts: Iterable[bytes], order: int) -> Any:
    """The MOC of stored parts."""
    from mocpy import MOC

    ranges = np.frombuffer(b"".join(parts), "<u8").reshape(-1, 2).astype(np.uint64)
    return MOC.from_depth29_ranges(order, ranges)
