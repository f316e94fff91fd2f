"""Stamps as pixels and triplets: against astropy, on real packets, and on every kind of broken file."""

import gzip
import io
import os
import random
import zlib
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits

from kowalski.alerts.cutouts import MAX_STAMP_BYTES, read_stamp, readable_triplets, triplets
from kowalski.errors import PacketError

CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def stamp(pixels: np.ndarray, *, compress: bool = True, header: dict | None = None) -> bytes:
    unit = fits.PrimaryHDU(pixels, fits.Header(header or {}))
    return packed(fits.HDUList([unit]), compress=compress)


def packed(units: fits.HDUList, *, compress: bool = True) -> bytes:
    buffer = io.BytesIO()
    units.writeto(buffer)
    return gzip.compress(buffer.getvalue()) if compress else buffer.getvalue()


def image(ny: int = 63, nx: int = 63, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, (ny, nx)).astype(np.float32)


def expected_triplet(stamps: list[bytes]) -> np.ndarray:
    """The reference's recipe, one alert and one stamp at a time, by astropy."""
    planes = []
    for data in stamps:
        with fits.open(io.BytesIO(gzip.decompress(data)), ignore_missing_simple=True) as units:
            pixels = np.nan_to_num(units[0].data)
        with np.errstate(over="ignore"):
            pixels = pixels / np.linalg.norm(pixels)
        ny, nx = pixels.shape
        planes.append(np.pad(pixels, [(0, 63 - ny), (0, 63 - nx)], constant_values=1e-9))
    return np.stack(planes, axis=-1)


@pytest.fixture(scope="module")
def real_stamps() -> list[list[bytes]]:
    folder = os.environ.get("KOWALSKI_TEST_DATA")
    if not folder:
        pytest.skip("needs real packets: KOWALSKI_TEST_DATA is unset")
    stamps = []
    for path in sorted(Path(folder, "ztf_alerts").rglob("*.avro")):
        with path.open("rb") as file:
            alert: Any = next(iter(fastavro.reader(file)))
        stamps.append([alert[cutout]["stampData"] for cutout in CUTOUTS])
    return stamps


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")  # ZTF's SIMPLE card isn't fixed format
def test_real_triplets_equal_the_reference_recipe(real_stamps: list[list[bytes]]) -> None:
    result = triplets(real_stamps)
    assert result.shape == (len(real_stamps), 63, 63, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [expected_triplet(stamps) for stamps in real_stamps], rtol=1e-6, atol=1e-12)
    assert (~result.any(axis=(1, 2))).sum() == 2, "two templates have saturated pixels, whose norm overflows"


def test_real_triplets_do_not_depend_on_the_batch(real_stamps: list[list[bytes]]) -> None:
    together = triplets(real_stamps[:5])
    np.testing.assert_array_equal(together, np.concatenate([triplets([stamps]) for stamps in real_stamps[:5]]))


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compress", [True, False])
def test_every_pixel_type_reads_as_float32(dtype: str, compress: bool) -> None:
    pixels = image(5, 7).astype(dtype)
    result = read_stamp(stamp(pixels, compress=compress))
    assert result.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(result, pixels.astype(np.float32))


def test_scaled_integers_and_blanks() -> None:
    unsigned = np.arange(60000, 60012, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(read_stamp(stamp(unsigned)), unsigned.astype(np.float32))
    unit = fits.PrimaryHDU(np.array([[1, 2], [-9, 4]], dtype=np.int16))
    unit.header["BLANK"] = -9
    np.testing.assert_array_equal(read_stamp(packed(fits.HDUList([unit]))), [[1, 2], [np.nan, 4]])


def test_image_in_an_extension() -> None:
    pixels = np.arange(200, dtype=np.int32).reshape(10, 20)
    table = fits.BinTableHDU(np.rec.array([(1, "x"), (2, "y")], names="a,b"))
    units = fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(pixels)])
    np.testing.assert_array_equal(read_stamp(packed(units)), pixels.astype(np.float32))


def test_compressed_images_are_none() -> None:
    units = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.arange(200, dtype=np.int32).reshape(10, 20))])
    with pytest.raises(PacketError, match="no image"):
        read_stamp(packed(units))


def test_long_headers() -> None:
    pixels = image(4, 4)
    header = {f"CARD{number}": number for number in range(100)}
    np.testing.assert_array_equal(read_stamp(stamp(pixels, header=header)), pixels)


GOOD = stamp(image())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b",
        b"not a stamp at all",
        GOOD[: len(GOOD) // 2],
        GOOD[:200] + bytes(200) + GOOD[400:],
        gzip.compress(b"SIMPLE  =                    T"),
        gzip.compress(gzip.decompress(GOOD)[:10000]),
        stamp(np.zeros(5, np.float32)),
        stamp(np.zeros((2, 5, 5), np.float32)),
        packed(fits.HDUList([fits.PrimaryHDU()])),
    ],
    ids=["empty", "magic", "text", "cut", "damaged", "no-end", "few-pixels", "1-D", "3-D", "no-image"],
)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_broken_stamp_is_a_packet_error(data: bytes) -> None:
    with pytest.raises(PacketError) as caught:
        read_stamp(data)
    assert caught.value.reason == "cutout"


def test_decompression_bombs_are_refused() -> None:
    with pytest.raises(PacketError, match="larger than"):
        read_stamp(gzip.compress(bytes(MAX_STAMP_BYTES + 1)))
    with pytest.raises(PacketError, match="at most"):
        read_stamp(stamp(np.zeros((2000, 2000), np.float32), compress=False))


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
@pytest.mark.filterwarnings("ignore::astropy.io.fits.card.VerifyWarning")
def test_no_damage_raises_anything_else() -> None:
    chance = random.Random(1)
    raw = gzip.decompress(GOOD)
    for _ in range(150):
        damaged = bytearray(raw[: chance.randrange(len(raw))] if chance.random() < 0.3 else raw)
        for _ in range(chance.randrange(1, 6)):
            if damaged:
                damaged[chance.randrange(min(len(damaged), 400))] = chance.randrange(256)
        for data in (bytes(damaged), zlib.compress(damaged, wbits=31)):
            try:
                assert read_stamp(data).ndim == 2
            except PacketError:
                continue


def test_small_stamps_are_normalised_first_and_padded_second() -> None:
    pixels = image(60, 50)
    result = triplets([[stamp(pixels)] * 3])[0, :, :, 0]
    np.testing.assert_allclose(result[:60, :50], pixels / np.linalg.norm(pixels), rtol=1e-6)
    assert (result[60:] == np.float32(1e-9)).all()
    assert (result[:, 50:] == np.float32(1e-9)).all()


def test_triplets_are_always_finite() -> None:
    gaps = image()
    gaps[3, 4], gaps[5, 6] = np.nan, -np.inf
    faint = np.full((63, 63), 1e-30, np.float32)
    with np.errstate(over="ignore"):
        bright = np.full((63, 63), 1e300)
    result = triplets([[stamp(np.zeros((63, 63), np.float32)), stamp(gaps), stamp(faint)], [stamp(bright)] * 3])
    assert np.isfinite(result).all()
    assert not result[0, :, :, 0].any(), "a stamp of zeros stays zeros"
    assert not result[0, :, :, 1].any(), "a clipped infinity overflows the norm"
    assert not result[1].any()


def test_nan_pixels_become_zero() -> None:
    pixels = image()
    pixels[3, 4] = np.nan
    result = triplets([[stamp(pixels)] * 3])
    assert result[0, 3, 4, 0] == 0
    np.testing.assert_allclose(np.linalg.norm(result[0, :, :, 0]), 1, rtol=1e-5)


def test_bad_triplets_leave_the_others_alone() -> None:
    good: list[bytes | None] = [GOOD] * 3
    large: list[bytes | None] = [GOOD, stamp(image(64, 63)), GOOD]
    batch: list[list[bytes | None]] = [good, [GOOD, None, GOOD], large, [GOOD, b"x", GOOD], [], good]
    result, problems = readable_triplets(batch)
    assert sorted(problems) == [1, 2, 3, 4]
    assert "missing" in problems[1].detail
    assert "(64, 63)" in problems[2].detail
    np.testing.assert_array_equal(result[[0, 5]], triplets([good, good]))
    assert not result[1:5].any()
    with pytest.raises(PacketError, match="missing"):
        triplets(batch)


def test_empty_batch() -> None:
    assert triplets([]).shape == (0, 63, 63, 3)
