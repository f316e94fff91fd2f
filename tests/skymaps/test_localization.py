"""Localizations: what shapes and files become, and what is refused."""

import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy_healpix import HEALPix, level_ipix_to_uniq

from kowalski.errors import SkymapError
from kowalski.skymaps.files import from_fits
from kowalski.skymaps.localization import (
    Localization,
    from_cells,
    from_cone,
    from_ellipse,
    from_polygon,
    without_earth,
)


def area(localization: Localization) -> float:
    """Square degrees of the cells."""
    order, _ = localization.levels
    return float((4.0 ** -order.astype(float)).sum() / 12 * 4 * np.pi * np.degrees(1) ** 2)


def file(columns: dict[str, np.ndarray], **header: Any) -> bytes:
    table = fits.BinTableHDU.from_columns([fits.Column(name, "D", array=values) for name, values in columns.items()])
    table.header.update(header)
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(content)
    return content.getvalue()


def test_shapes_have_their_areas() -> None:
    assert area(from_ellipse("x", 30, 60, 4, 1, 45)) == pytest.approx(np.pi * 4, rel=0.01)
    assert area(from_polygon("x", [(359, -1), (1, -1), (1, 1), (359, 1)])) == pytest.approx(4, rel=0.02)
    assert area(from_polygon("x", [(0, 0), (20, 0), (20, 0.2), (0, 0.2)])) == pytest.approx(4, rel=0.05)
    assert area(from_cone(10, -70, 0.5)) == pytest.approx(np.pi * 2**2, rel=0.02)


def test_a_position_known_to_less_than_an_arcsecond() -> None:
    assert 0 < area(from_cone(10, 10, 1e-9)) < 1e-4


def test_an_ellipse_lies_along_its_position_angle() -> None:
    order, ipix = from_ellipse("x", 100, 0, 10, 1, 90).levels
    lon, lat = HEALPix(nside=2 ** int(order[0]), order="nested").healpix_to_lonlat(ipix)
    assert np.ptp(lon.deg) == pytest.approx(20, rel=0.05)
    assert np.ptp(lat.deg) == pytest.approx(2, rel=0.1)


def test_what_the_earth_hid_has_no_probability() -> None:
    cone = from_cone(100, 0, 10)
    left = without_earth(cone, (100, 0, 15)).probability
    assert 0 < np.count_nonzero(left) < np.count_nonzero(cone.probability)
    assert left.sum() == pytest.approx(1)


@pytest.mark.parametrize(("header", "hidden"), [({}, 0), ({"GEO_RA": 10.0, "GEO_DEC": 20.0}, 67.5), ({"GEO_RA": 10, "GEO_DEC": 20, "GEO_RAD": 30.0}, 30)])  # fmt: skip
def test_the_earth_of_fermis_files(header: dict[str, float], hidden: float) -> None:
    found = from_fits("x", file({"PROBABILITY": np.ones(12 * 32**2)}, ORDERING="NESTED", **header))
    share = np.count_nonzero(found.density == 0) / found.density.size
    assert share == pytest.approx((1 - np.cos(np.radians(hidden))) / 2, abs=0.005)


def test_cells_of_several_sizes_weigh_by_their_area() -> None:
    large, small = int(level_ipix_to_uniq(1, 0)), int(level_ipix_to_uniq(2, 40))
    found = from_cells("x", [large, small], [1.0, 1.0]).probability
    assert found.tolist() == pytest.approx([0.8, 0.2])


def test_densities_of_all_magnitudes() -> None:
    assert from_cells("x", [16, 17], [1e308, 1e308]).probability.tolist() == [0.5, 0.5]
    assert from_cells("x", [16, 17, 18], [1.0, float("inf"), float("nan")]).probability.tolist() == [1]


@pytest.mark.parametrize(
    "bad",
    [
        lambda: from_cells("x", [4, 16], [1.0, 1.0]),
        lambda: from_cells("x", [16, 16], [1.0, 1.0]),
        lambda: from_polygon("x", [(0, 0), (1, 91), (2, 0)]),
        lambda: from_polygon("x", [(0, 0), (1, 1), (2, 2), (0, 0)][:1] * 4),
        lambda: from_polygon("x", [(n / 1000, 1) for n in range(2001)]),
        lambda: from_ellipse("x", 1, 1, 50, 1e-9, 0.3),
        lambda: from_fits("x", file({"PROB": np.ones(100)})),
        lambda: from_fits("x", file({"OTHER": np.ones(12)})),
        lambda: from_fits("x", file({"PROB": np.ones(12)})[:3000]),
    ],
)
def test_what_is_refused(bad: Any) -> None:
    with pytest.raises(SkymapError):
        bad()
