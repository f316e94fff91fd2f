"""Image cutouts: gzipped FITS stamps as pixels, and the triplets that the neural networks take."""

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError

from kowalski.errors import PacketError

MAX_STAMP_BYTES = 4 << 20
STAMP_SIZE = 63
PADDING = np.float32(1e-9)

Stamps = Sequence[bytes | None]
"""What one alert brings: its science, template and difference stamps."""

_BLOCK, _CARD = 2880, 80
_END = b"END".ljust(_CARD)
_DTYPES = {b"8": ">u1", b"16": ">i2", b"32": ">i4", b"-32": ">f4", b"-64": ">f8"}


class _Layout(NamedTuple):
    """How the pixels of an image lie in its file."""

    dtype: str
    shape: tuple[int, int]
    scale: float
    zero: float
    blank: int | None


def read_stamp(data: bytes, max_bytes: int = MAX_STAMP_BYTES) -> np.ndarray:
    """The pixels of one stamp, shape (ny, nx), float32, native byte order, rows as in the FITS array (no flip).

    Parameters
    ----------
    data : a FITS file, gzipped or not; the image is that of the first HDU that has one
    max_bytes : largest size accepted after decompression

    Raises
    ------
    PacketError : reason ``"cutout"``: not gzip or FITS, truncated, not a 2-D image, or too large
    """
    with np.errstate(over="ignore"):
        return _pixels(_inflate(data, max_bytes)).astype(np.float32)


def triplets(stamps: Sequence[Stamps], size: int = STAMP_SIZE) -> np.ndarray:
    """What the neural networks see of N alerts, shape (N, size, size, 3), float32, always finite.

    The last axis is science, template, difference. Each stamp has its NaNs set to zero and infinities clipped, is
    divided by its own L2 norm, and only then padded at the bottom and right with 1e-9 up to ``size`` pixels. The norm
    is taken in float32, as the published scores were: pixels of 3.4e38 overflow it and leave zeros. A stamp of norm
    zero (all pixels zero) stays as it is.

    Raises
    ------
    PacketError : as `read_stamp`; also when a stamp is missing or larger than ``size``, which no network was trained on
    """
    images, problems = readable_triplets(stamps, size)
    for problem in problems.values():
        raise problem
    return images


def readable_triplets(stamps: Sequence[Stamps], size: int = STAMP_SIZE) -> tuple[np.ndarray, dict[int, PacketError]]:
    """`triplets` with one alert's bad stamp never touching the others.

    Returns
    -------
    the array, of the same shape, with zeros for an alert that has no readable triplet, and the errors of these alerts
    by their place in ``stamps``. In memory the array lies channel by channel, as ONNX Runtime's kernels want it
    """
    planes = np.zeros((len(stamps), 3, size, size), np.float32)
    smaller: list[tuple[int, int, int, int]] = []
    problems: dict[int, PacketError] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for alert, triplet in enumerate(stamps):
            try:
                images = _read_triplet(triplet, size)
            except PacketError as error:
                problems[alert] = error
                continue
            for channel, image in enumerate(images):
                ny, nx = image.shape
                planes[alert, channel, :ny, :nx] = image
                if (ny, nx) != (size, size):
                    smaller.append((alert, channel, ny, nx))
        planes /= _norms(planes.reshape(-1, size * size)).reshape(-1, 3, 1, 1)
    for alert, channel, ny, nx in smaller:
        planes[alert, channel, ny:] = PADDING
        planes[alert, channel, :, nx:] = PADDING
    return planes.transpose(0, 2, 3, 1), problems


def _read_triplet(triplet: Stamps, size: int) -> list[np.ndarray]:
    if len(triplet) != 3 or not all(triplet):
        raise PacketError("cutout", "a stamp of the triplet is missing")
    images = [_pixels(_inflate(data, MAX_STAMP_BYTES)) for data in triplet if data]
    for image in images:
        if max(image.shape) > size:
            raise PacketError("cutout", f"stamp of {image.shape} pixels, at most {size} x {size} expected")
    return images


def _norms(rows: np.ndarray) -> np.ndarray:
    """The L2 norm of each row in float32, 1 where it is zero; the rows' NaNs and infinities are replaced in place."""
    squares = np.vecdot(rows, rows)
    # Only a row with such pixels, or one that overflows anyway, has a sum that isn't finite: the others need no pass.
    for row in np.flatnonzero(~np.isfinite(squares)):
        np.nan_to_num(rows[row], copy=False)
        squares[row] = np.vecdot(rows[row], rows[row])
    norms = np.sqrt(squares)
    norms[norms == 0] = 1
    return norms


def _inflate(data: bytes, max_bytes: int) -> bytes:
    """The FITS file inside ``data``, decompressed if need be, never beyond ``max_bytes``."""
    if data[:2] != b"\x1f\x8b":
        if len(data) > max_bytes:
            raise PacketError("cutout", f"stamp of {len(data)} bytes, at most {max_bytes} expected")
        return data
    decoder = isal_zlib.decompressobj(isal_zlib.MAX_WBITS | 16)
    try:
        raw = decoder.decompress(data, max_bytes)
    except IsalError as error:  # type: ignore[misc]  # its stub declares an instance
        raise PacketError("cutout", f"gzip: {error}") from error
    if not decoder.eof:
        fault = f"larger than {max_bytes} bytes" if len(raw) == max_bytes else "truncated"
        raise PacketError("cutout", f"gzip: {fault}")
    return raw


def _pixels(raw: bytes) -> np.ndarray:
    """The first image of a FITS file, shape (ny, nx): a view of ``raw`` (big-endian, read-only) where it can be one."""
    end = raw.find(_END, 0, 16 * _BLOCK)
    layout = _layout(raw[: end + _CARD]) if end % _CARD == 0 else None
    if layout is None:
        return _pixels_by_astropy(raw)
    ny, nx = layout.shape
    start = -(-(end + _CARD) // _BLOCK) * _BLOCK
    if len(raw) < start + ny * nx * np.dtype(layout.dtype).itemsize:
        raise PacketError("cutout", f"FITS: {len(raw)} bytes are too few for {ny} x {nx} pixels")
    stored = np.frombuffer(raw, layout.dtype, ny * nx, start).reshape(layout.shape)
    if (layout.scale, layout.zero, layout.blank) == (1.0, 0.0, None):
        return stored
    image = stored * layout.scale + layout.zero
    if layout.blank is not None:
        image[stored == layout.blank] = np.nan
    return image


@lru_cache(maxsize=64)
def _layout(header: bytes) -> _Layout | None:
    """The layout that a primary header announces; None if it isn't a plain 2-D image and takes a full reader."""
    values = {}
    for at in range(0, len(header) - _CARD, _CARD):
        if header[at + 8 : at + 10] == b"= ":
            values[header[at : at + 8].rstrip()] = header[at + 10 : at + _CARD].partition(b"/")[0].strip()
    dtype = _DTYPES.get(values.get(b"BITPIX", b""))
    if values.get(b"SIMPLE") != b"T" or values.get(b"NAXIS") != b"2" or dtype is None:
        return None
    try:
        nx, ny = int(values[b"NAXIS1"]), int(values[b"NAXIS2"])
        scale, zero = float(values.get(b"BSCALE", b"1")), float(values.get(b"BZERO", b"0"))
        blank = int(values[b"BLANK"]) if b"BLANK" in values and "f" not in dtype else None
    except (KeyError, ValueError):
        return None
    return _Layout(dtype, (ny, nx), scale, zero, blank) if nx > 0 and ny > 0 else None


def _pixels_by_astropy(raw: bytes) -> np.ndarray:
    """The first image of any FITS file, compressed ones and those in extensions included."""
    from astropy.io import fits  # 0.4 s and 40 MB that a worker whose stamps are all plain images needn't spend

    try:
        with fits.open(io.BytesIO(raw), memmap=False) as units:
            for unit in units:
                if unit.is_image and unit.shape:
                    if len(unit.shape) != 2 or 8 * math.prod(unit.shape) > MAX_STAMP_BYTES:
                        raise PacketError("cutout", f"FITS: image of {unit.shape} pixels")
                    return np.asarray(unit.data)
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise PacketError("cutout", f"FITS: {error}") from error
    raise PacketError("cutout", "FITS: no image")
