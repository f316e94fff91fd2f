"""Thumbnails: what matplotlib would draw, without it."""

import base64
import gzip
import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from astropy.io import fits
from astropy.visualization import AsymmetricPercentileInterval, ImageNormalize, LinearStretch, LogStretch
from matplotlib.figure import Figure
from PIL import Image

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import decode
from kowalski.alerts.pictures import SIZE, bone, resample
from kowalski.errors import PacketError
from kowalski.skyportal.thumbnails import THUMBNAILS, make_thumbnail


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def picture(image: np.ndarray, role: str = "science") -> np.ndarray:
    file = io.BytesIO()
    fits.PrimaryHDU(image.astype(np.float32)).writeto(file)
    return pixels(base64.b64decode(make_thumbnail(gzip.compress(file.getvalue()), role, SURVEY)))


def drawn(stamp: bytes, role: str) -> np.ndarray:
    """The figure that thumbnails used to be."""
    image = np.flipud(read_stamp(stamp).astype(float))
    image = np.where(np.abs(image) <= 1e20, image, np.nan)
    image = np.nan_to_num(image, nan=np.nanmean(image))
    shades = ImageNormalize(image, stretch=LinearStretch() if role == "difference" else LogStretch())(image)
    low, high = AsymmetricPercentileInterval(1, 100).get_limits(shades)
    return figure(shades, low, high)


def figure(shades: np.ndarray, low: float, high: float) -> np.ndarray:
    canvas = Figure(figsize=(4, 4), dpi=42)
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(shades, cmap="bone", origin="lower", vmin=low, vmax=high)
    file = io.BytesIO()
    canvas.savefig(file, dpi=42)
    return pixels(file.getvalue())


def test_real_cutouts_look_as_they_used_to(test_data: Path) -> None:
    for path in sorted(test_data.glob("ztf_alerts/*/*.avro"))[::4]:
        (record,) = decode(path.read_bytes())
        for role in THUMBNAILS:
            stamp = SURVEY.stamp(record, role)
            ours, theirs = pixels(base64.b64decode(make_thumbnail(stamp, role, SURVEY))), drawn(stamp, role)
            assert ours.shape == theirs.shape == (SIZE, SIZE, 3)
            assert np.abs(ours - theirs).mean() < 2  # of 255


def test_the_colour_map_is_bone() -> None:
    theirs = matplotlib.colormaps["bone"](np.arange(256))[:, :3] * 255
    assert np.abs(bone() - theirs).max() <= 1.01


@pytest.mark.parametrize("side", [30, 61, 63, 81, 84, 168, 200])
def test_stamps_of_any_size_are_resampled_as_matplotlib_does(side: int) -> None:
    image = np.random.default_rng(side).random((side, side))  # noise is the worst case
    theirs = figure(image, 0, 1)[::-1]
    assert np.abs(bone()[np.clip(resample(image) * 256, 0, 255).astype(int)] - theirs).mean() < 4


def test_the_first_row_of_the_cutout_is_above_for_ztf() -> None:
    image = np.zeros((63, 63))
    image[:20] = 1
    shown = picture(image, "difference")
    assert shown[:30].mean() > 200
    assert shown[-30:].mean() < 50


def test_pixels_that_are_no_measurements_do_not_spoil_the_others() -> None:
    image = np.tile(np.linspace(0, 1, 63), (63, 1))
    spoiled = image.copy()
    spoiled[5, 5], spoiled[6, 6], spoiled[7, 7] = np.nan, 3e38, -np.inf
    difference = np.abs(picture(image, "difference") - picture(spoiled, "difference"))
    assert np.median(difference) <= 1
    assert difference.mean() < 2


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_an_image_without_contrast_is_black(value: float) -> None:
    assert (picture(np.full((63, 63), value)) == 0).all()


def test_cutouts_at_the_border_of_a_chip_keep_their_shape() -> None:
    shown = picture(np.random.default_rng(1).random((63, 31)))
    assert (shown[:, :30] == 255).all()
    assert shown[:, 60:100].mean() < 250


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(PacketError):
        make_thumbnail(b"no image", "science", SURVEY)
