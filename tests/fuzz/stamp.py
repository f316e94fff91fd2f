"""Stamps: pixels as astropy reads them, or `PacketError`; what can be read can be scored and drawn."""

import gzip
import io
import warnings
import zlib
from collections.abc import Iterator
from random import Random

import numpy as np
from astropy.io import fits

from kowalski.alerts.cutouts import MAX_STAMP_BYTES, read_stamp, readable_triplets
from kowalski.alerts.pictures import INTERVALS, STRETCHES, picture
from kowalski.errors import PacketError

CARD, BLOCK = 80, 2880
KEYS = (
    b"SIMPLE", b"XTENSION", b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2", b"NAXIS3", b"BSCALE", b"BZERO", b"BLANK", b"EXTEND", b"PCOUNT", b"GCOUNT",
    b"GROUPS", b"TFIELDS", b"TFORM1", b"ZIMAGE", b"ZCMPTYPE", b"ZBITPIX", b"ZNAXIS", b"ZNAXIS1", b"ZTILE1", b"END", b"CONTINUE", b"HIERARCH", b"COMMENT", b"",
)  # fmt: skip
VALUES = (
    b"T", b"F", b"0", b"1", b"2", b"3", b"7", b"8", b"16", b"-32", b"-64", b"64", b"5", b"-1", b"99999999999", b"1E400", b"NaN", b"1_0", b"'IMAGE   '",
    b"'BINTABLE'", b"'RICE_1'", b"'GZIP_1'", b"'HCOMPRESS_1'", b"'", b"", b"+2", b"2.0", b"\xff",
)  # fmt: skip

warnings.simplefilter("ignore")


def seeds() -> Iterator[tuple[str, bytes]]:
    """Small images of every kind, as files and gzipped."""
    pixels = np.arange(30).reshape(5, 6)
    units = {
        "float": fits.HDUList([fits.PrimaryHDU(pixels.astype(np.float32))]),
        "double": fits.HDUList([fits.PrimaryHDU(np.where(pixels == 3, np.nan, pixels))]),
        "unsigned": fits.HDUList([fits.PrimaryHDU(pixels.astype(np.uint16))]),
        "bytes": fits.HDUList([fits.PrimaryHDU(pixels.astype(np.uint8))]),
        "cube": fits.HDUList([fits.PrimaryHDU(np.zeros((1, 5, 6), np.float32))]),
        "extension": fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels.astype(np.int32))]),
        "compressed": fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels.astype(np.int16))]),
        "table": fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(np.rec.array([(1,)], names="a"))]),
    }
    for name, unit in units.items():
        file = io.BytesIO()
        unit.writeto(file)
        yield name, file.getvalue()
    twice = _card(b"NAXIS\xa9", b"1") * 2  # no letters: found by fuzzing
    yield "twice", file.getvalue()[:BLOCK].replace(_card(b"END", b""), b"")[: 3 * CARD] + twice + b"END".ljust(BLOCK)
    yield "gzipped", gzip.compress(file.getvalue(), mtime=0)
    yield "bomb", gzip.compress(gzip.compress(bytes(1 << 24), mtime=0), mtime=0)


def mutated(data: bytes, chance: Random) -> bytes | None:
    """Cards of the header changed, moved or added; gzipped again where it was."""
    plain = data
    if data[:2] == b"\x1f\x8b":
        try:
            plain = gzip.decompress(data)[: 1 << 16]
        except (OSError, EOFError, ValueError, zlib.error):
            return None
    if len(plain) < CARD:
        return None
    cards = [plain[at : at + CARD] for at in range(0, len(plain), CARD)]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(min(len(cards), 80))
        match chance.randrange(6):
            case 0:
                cards[at] = _card(chance.choice(KEYS), chance.choice(VALUES))
            case 1:
                cards[at] = _card(cards[at][:8].strip(), chance.choice(VALUES))
            case 2:
                cards.insert(at, _card(chance.choice(KEYS), chance.choice(VALUES)))
            case 3:
                del cards[at]
            case 4:
                cards[at] = cards[chance.randrange(len(cards))]
            case _:
                del cards[chance.randrange(1, len(cards) + 1) :]
        if not cards:
            return None
    whole = b"".join(cards)
    return gzip.compress(whole, 1, mtime=0) if plain is not data or chance.random() < 0.2 else whole


def _card(key: bytes, value: bytes) -> bytes:
    return (key.ljust(8)[:8] + b"= " + value.rjust(20)).ljust(CARD)[:CARD]


def run(data: bytes) -> None:
    """Read a stamp, compare it with what astropy reads, and take it through the networks' and the thumbnails' steps."""
    try:
        image = read_stamp(data)
    except PacketError:
        return
    assert image.ndim == 2
    assert image.dtype == np.float32
    assert 0 < image.nbytes <= 4 * MAX_STAMP_BYTES  # of bytes, which are kept as float32
    expected = _by_astropy(data)
    if expected is not None:
        np.testing.assert_allclose(image, expected, rtol=1e-6)
    planes, problems = readable_triplets([[data] * 3])
    assert np.isfinite(planes).all()
    assert not problems or max(image.shape) > planes.shape[1]
    if max(image.shape) <= 200:
        picture(image, STRETCHES[len(data) % 4], INTERVALS[len(data) // 4 % 4])


def _by_astropy(data: bytes) -> np.ndarray | None:
    """The first image; None where astropy can't read one."""
    try:
        plain = zlib.decompressobj(wbits=31).decompress(data) if data[:2] == b"\x1f\x8b" else data
        with (
            fits.open(io.BytesIO(plain), memmap=False, disable_image_compression=True) as units,
            np.errstate(all="ignore"),
        ):
            unit = next(unit for unit in units if unit.is_image and unit.shape)
            if unit.header.get("BLANK") == 0:  # it takes 0 for none
                return None
            return np.asarray(unit.data).astype(np.float32)
    except Exception:  # it fails over damaged files in many ways; what it can't tell it can't tell
        return None
