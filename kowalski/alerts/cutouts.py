"""Image cutouts: gzipped FITS stamps as pixels, and the triplets that the neural networks take."""

import math
import re
from collections.abc import Mapping, Sequence
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

#: bytes of a header, 2300 cards
MAX_HEADER = 64 * 2880

_BLOCK, _CARD = 2880, 80
_BEGINNINGS = (b"SIMPLE  =", b"XTENSION=")
_END = b"END".ljust(_CARD)
_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_ONCE = (b"SIMPLE", b"XTENSION", b"BITPIX", b"NAXIS", b"BSCALE", b"BZERO", b"BLANK", b"PCOUNT", b"GCOUNT")
_WHOLE = re.compile(rb"[+-]?[0-9]{1,19}")
_REAL = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([ED][+-]?[0-9]+)?")
_SIGNED = (b"BITPIX", b"BLANK")


class _Layout(NamedTuple):
    """How the pixels of an image lie in its file."""

    dtype: str
    shape: tuple[int, int]
    scale: float
    zero: float
    blank: int | None


class _Header(NamedTuple):
    """What a header announces: the layout of an image, or bytes of something else."""

    layout: _Layout | None
    size: int = 0


def read_stamp(data: bytes, max_bytes: int = MAX_STAMP_BYTES) -> np.ndarray:
    """The pixels of one stamp, shape (ny, nx), float32, native byte order, rows as in the FITS array (no flip).

    Parameters
    ----------
    data : a FITS file, gzipped or not; the image is that of the first HDU that has one. Compressed images, which lie in
        tables, are none: no survey has them in stamps, and a few bytes of them may stand for any number of pixels
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
    start = 0
    while True:
        end = _header_end(raw, start)
        header = _read_header(raw[start:end])
        data = start + _padded(end - start)
        if header.layout is not None:
            return _scaled(raw, data, header.layout)
        start = data + _padded(header.size)
        if start >= len(raw):
            raise PacketError("cutout", "FITS: no image")


def _header_end(raw: bytes, start: int) -> int:
    """Where the header that begins at ``start`` ends, its END included."""
    if not raw.startswith(_BEGINNINGS, start):
        raise PacketError("cutout", f"FITS: {raw[start : start + 10]!r} where a header should begin")
    place = start
    while (place := raw.find(_END, place, start + MAX_HEADER)) >= 0:
        if (place - start) % _CARD == 0:
            return place + _CARD
        place += 1
    raise PacketError("cutout", f"FITS: a header without an end, {MAX_HEADER} bytes allowed")


def _padded(size: int) -> int:
    """Bytes of the blocks that so many bytes take."""
    return -(-size // _BLOCK) * _BLOCK


def _scaled(raw: bytes, start: int, layout: _Layout) -> np.ndarray:
    """The pixels that lie at ``start``."""
    ny, nx = layout.shape
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
def _read_header(header: bytes) -> _Header:
    """What a header announces.

    Raises
    ------
    PacketError : an image that isn't 2-D, or what makes no sense
    """
    values: dict[bytes, bytes] = {}
    for at in range(0, len(header) - _CARD, _CARD):
        key = header[at : at + 8].rstrip()
        if key == b"END" or (key in values and key.startswith(_ONCE)):  # readers differ in what they make of it
            raise PacketError("cutout", f"FITS: a second {key.decode(errors='replace')}")
        if header[at + 8 : at + 10] == b"= ":
            values[key] = header[at + 10 : at + _CARD].partition(b"/")[0].strip()
    bits = _whole(values, b"BITPIX")
    axes = [_whole(values, b"NAXIS%d" % axis) for axis in range(1, 1 + _whole(values, b"NAXIS", most=999))]
    image = values.get(b"SIMPLE") == b"T" or values.get(b"XTENSION", b"").strip(b"' ") == b"IMAGE"
    if not (image and axes):
        pixels = math.prod(axes) + _whole(values, b"PCOUNT", 0) if axes else 0
        return _Header(None, abs(bits) // 8 * _whole(values, b"GCOUNT", 1) * pixels)
    dtype = _DTYPES.get(bits)
    if dtype is None or len(axes) != 2 or min(axes) < 1:
        raise PacketError("cutout", f"FITS: image of {tuple(reversed(axes))[:9]} pixels of {bits} bits")
    blank = _whole(values, b"BLANK") if b"BLANK" in values and "f" not in dtype else None
    return _Header(
        _Layout(dtype, (axes[1], axes[0]), _real(values, b"BSCALE", 1.0), _real(values, b"BZERO", 0.0), blank)
    )


def _whole(values: Mapping[bytes, bytes], key: bytes, default: int | None = None, most: int = 2**63) -> int:
    if key not in values and default is not None:
        return default
    text = values.get(key, b"")
    least = -most if key in _SIGNED else 0
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise PacketError("cutout", f"FITS: {key.decode()} is {text[:30]!r}")
    return int(text)


def _real(values: Mapping[bytes, bytes], key: bytes, default: float) -> float:
    if key not in values:
        return default
    if not _REAL.fullmatch(values[key]):
        raise PacketError("cutout", f"FITS: {key.decode()} is {values[key][:30]!r}")
    return float(values[key].replace(b"D", b"E"))
