"""Thumbnails: what matplotlib would draw, without it."""

import base64
import gzip
import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from benchmarks.thumbnails import drawn, figure, stamps_in
from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.pictures import SIZE, bone, resample
from kowalski.errors import PacketError
from kowalski.skyportal.thumbnails import make_thumbnail


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def picture(image: np.ndarray, role: str = "science") -> np.ndarray:
    file = io.BytesIO()
    fits.PrimaryHDU(image.astype(np.float32)).writeto(file)
    return pixels(base64.b64decode(make_thumbnail(gzip.compress(file.getvalue()), role, SURVEY)))


def test_real_cutouts_look_as_they_used_to(test_data: Path) -> None:
    """Mean differences are of 255; pictures turned or stretched otherwise would differ by ten times as much."""
    otherwise: dict[str, list[float]] = {"upside down": [], "mirrored": [], "stretched": []}
    for role, stamp in stamps_in(test_data / "ztf_alerts")[::4]:
        shown, theirs = make_thumbnail(stamp, role, SURVEY), pixels(drawn(stamp, role))
        ours = pixels(base64.b64decode(shown))
        assert ours.shape == theirs.shape == (SIZE, SIZE, 3)
        assert np.abs(ours - theirs).mean() < 2
        stretched = pixels(drawn(stamp, "science" if role == "difference" else "difference"))
        for how, other in zip(otherwise, (theirs[::-1], theirs[:, ::-1], stretched), strict=True):
            otherwise[how].append(float(np.abs(ours - other).mean()))
    assert all(np.median(differences) > 10 for differences in otherwise.values()), otherwise


def test_the_colour_map_is_bone() -> None:
    theirs = matplotlib.colormaps["bone"](np.arange(256))[:, :3] * 255
    assert np.abs(bone() - theirs).max() <= 1.01


@pytest.mark.parametrize("side", [30, 61, 63, 81, 84, 168, 200])
def test_stamps_of_any_size_are_resampled_as_matplotlib_does(side: int) -> None:
    image = np.random.default_rng(side).random((side, side))  # noise is the worst case
    theirs = pixels(figure(image, 0, 1))[::-1]
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
