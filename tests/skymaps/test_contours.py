"""Contours: valid for MongoDB, and around the cells that hold the probability."""

import gzip
import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy_healpix import HEALPix, level_ipix_to_uniq

from kowalski.database.client import MongoDatabase
from kowalski.errors import SkymapError
from kowalski.skymaps.contours import contours
from kowalski.skymaps.files import decode_content, from_fits
from kowalski.skymaps.localization import (
    Localization,
    from_cells,
    from_cone,
    from_ellipse,
    from_polygon,
)

RNG = np.random.default_rng(7)


def separation(ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float) -> np.ndarray:
    ra, dec, a, d = np.radians(ra), np.radians(dec), np.radians(ra0), np.radians(dec0)
    cosine = np.sin(dec) * np.sin(d) + np.cos(dec) * np.cos(d) * np.cos(ra - a)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def blobs(order: int = 6) -> Localization:
    """A banana with a hole and an island: everything that a real map has."""
    mesh = HEALPix(nside=2**order, order="nested")
    lon, lat = (each.deg for each in mesh.healpix_to_lonlat(np.arange(mesh.npix)))
    ring = np.exp(-0.5 * ((separation(lon, lat, 10, 60) - 35) / 6) ** 2)
    island = 2 * np.exp(-0.5 * (separation(lon, lat, 200, -40) / 8) ** 2)
    return Localization("blobs", np.asarray(level_ipix_to_uniq(order, np.arange(mesh.npix)), np.int64), ring + island)


SHAPES = {
    "cone": from_cone(90, 30, 10),
    "cone at ra 0": from_cone(0.01, -20, 3),
    "cone at the pole": from_cone(10, 89.5, 3),
    "wide cone": from_cone(180, 0, 40),
    "tiny cone": from_cone(211.2, 54.3, 0.01),
    "ellipse": from_ellipse("ellipse", 359.9, 10, 20, 4, 30),
    "polygon": from_polygon("polygon", [(350, -5), (10, -5), (10, 5), (350, 5)]),
    "blobs": blobs(),
}


def truth(localization: Localization, level: float, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Which positions lie in a cell of the credible region, cell by cell."""
    order, ipix = localization.levels
    densest = np.argsort(-localization.density, kind="stable")
    kept = densest[: int(np.searchsorted(np.cumsum(localization.probability[densest]), level / 100 - 1e-12)) + 1]
    mesh = HEALPix(nside=2 ** int(order[0]), order="nested")
    from astropy import units

    return np.isin(mesh.lonlat_to_healpix(ra * units.deg, dec * units.deg), ipix[kept])


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("level", [50.0, 90.0])
def test_mongodb_finds_what_lies_within(mongo: MongoDatabase, name: str, level: float) -> None:
    localization = SHAPES[name]
    made = contours(localization, [level])
    ra0, dec0 = made["center"]["coordinates"][0] + 180, made["center"]["coordinates"][1]
    narrow = {"tiny cone": 0.05, "cone": 40, "cone at ra 0": 12, "cone at the pole": 12, "wide cone": 180, "blobs": 180}
    spread = narrow.get(name, 60)
    north = np.clip(dec0 + RNG.uniform(-spread, spread, 4000), -89.999, 89.999)
    east = (ra0 + RNG.uniform(-spread, spread, 4000) / np.maximum(np.cos(np.radians(north)), 0.02)) % 360
    mongo["points"].insert_many(
        {"_id": n, "at": {"type": "Point", "coordinates": [ra - 180, dec]}}
        for n, (ra, dec) in enumerate(zip(east.tolist(), north.tolist(), strict=True))
    )
    mongo["points"].create_index([("at", "2dsphere")])
    key = f"contour{level:g}"
    mongo["skymaps"].create_index([(key, "2dsphere")])  # refuses what is not valid
    mongo["skymaps"].insert_one({"_id": 1, **made})
    geometry = {"type": "MultiPolygon", "coordinates": made[key]["coordinates"]}
    found = {row["_id"] for row in mongo["points"].find({"at": {"$geoWithin": {"$geometry": geometry}}})}
    inside = truth(localization, level, east, north)
    wrong = sum((n in found) != bool(is_in) for n, is_in in enumerate(inside))
    assert inside.sum() > 20
    assert wrong <= 0.01 * len(inside), f"{wrong} of {len(inside)} on the wrong side"
    assert made[key]["properties"] == {"credible_level": level}


def test_a_hole_is_a_hole() -> None:
    made = contours(blobs(), [80.0])["contour80"]
    assert any(len(polygon) > 1 for polygon in made["coordinates"]) or len(made["coordinates"]) > 3
    assert all(ring[0] == ring[-1] and len(ring) >= 4 for polygon in made["coordinates"] for ring in polygon)
    assert all(
        len({tuple(corner) for corner in ring}) == len(ring) - 1 for polygon in made["coordinates"] for ring in polygon
    )


def test_a_gaussian_holds_what_it_should() -> None:
    localization = from_cone(90, 30, 5)
    for level, radius in ((50.0, 1.1774), (90.0, 2.1460)):  # of a two-dimensional Gaussian, in standard deviations
        points = np.array(
            [c for p in contours(localization, [level])[f"contour{level:g}"]["coordinates"] for c in p[0]]
        )
        edge = separation(points[:, 0] + 180, points[:, 1], 90, 30).max()
        assert edge == pytest.approx(radius * 5, rel=0.03)


def table(**columns: np.ndarray) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, "K" if v.dtype.kind == "i" else "D", array=v) for name, v in columns.items()]
    )


@pytest.mark.parametrize("kind", ["moc", "nested", "ring", "gzipped"])
def test_files_of_all_kinds(kind: str) -> None:
    order = 5
    mesh = HEALPix(nside=2**order, order="ring" if kind == "ring" else "nested")
    lon, lat = (each.deg for each in mesh.healpix_to_lonlat(np.arange(mesh.npix)))
    density = np.exp(-0.5 * (separation(lon, lat, 120, 20) / 10) ** 2)
    if kind == "moc":
        hdu = table(UNIQ=np.asarray(level_ipix_to_uniq(order, np.arange(mesh.npix)), np.int64), PROBDENSITY=density)
    else:
        hdu = table(PROB=density)
        hdu.header["ORDERING"] = "RING" if kind == "ring" else "NESTED"
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    content = gzip.compress(file.getvalue()) if kind == "gzipped" else file.getvalue()
    center = contours(from_fits("x", content), [90])["center"]["coordinates"]
    assert separation(np.array([center[0] + 180]), np.array([center[1]]), 120, 20)[0] < 2


@pytest.mark.parametrize(
    "bad",
    [
        lambda: from_fits("x", b"not fits"),
        lambda: from_fits("x", gzip.compress(b"x" * 100)),
        lambda: from_fits("x", b"\x1f\x8bnot gzip"),
        lambda: from_cells("x", [1], [1.0]),
        lambda: from_cells("x", [4**31], [1.0]),
        lambda: from_cells("x", [17, 18], [1.0]),
        lambda: from_cells("x", "abc", {"a": 1}),
        lambda: from_cone(1, 1, 0),
        lambda: from_cone(1, 1, 100),
        lambda: from_ellipse("x", 1, 1, 1, 2, 0),
        lambda: from_polygon("x", [(1, 1), (2, 2)]),
        lambda: from_polygon("x", [(0, 0), (180, 0), (90, 90)]),
        lambda: contours(from_cone(1, 1, 1), [0.0]),
        lambda: contours(from_cone(1, 1, 1), [100.0]),
        lambda: contours(from_cells("x", [16, 17], [0.0, float("nan")]), [90.0]),
        lambda: decode_content("***"),
    ],
)
def test_what_is_no_sky_map_is_refused(bad: Any) -> None:
    with pytest.raises(SkymapError):
        bad()
