"""Maps with small-scale noise, which have thousands of islands and holes: still valid, bounded, and right."""

from typing import Any

import bson
import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix, level_ipix_to_uniq

from kowalski.database.client import MongoDatabase
from kowalski.skymaps.contours import MAX_CORNERS, contours
from kowalski.skymaps.localization import Localization

ORDER = 7
LEVELS = [50.0, 90.0]


def whole_sky(order: int, density: Any) -> Localization:
    index = np.arange(12 * 4**order)
    return Localization("sky", np.asarray(level_ipix_to_uniq(order, index), np.int64), density(index))


def noise(index: np.ndarray) -> np.ndarray:
    return np.asarray(np.random.default_rng(3).random(len(index)) ** 4)


def checkered(index: np.ndarray) -> np.ndarray:
    """Cells that touch each other at corners only."""
    return np.isin(index % 4, [0, 3]) + 1e-6


def most_of_the_sky(index: np.ndarray) -> np.ndarray:
    """All but a hole of some degrees."""
    mesh = HEALPix(nside=2**ORDER, order="nested")
    hole = mesh.cone_search_lonlat(120 * units.deg, 40 * units.deg, 6 * units.deg)
    return np.where(np.isin(index, hole), 0.0, 1.0)


@pytest.mark.parametrize("density", [noise, checkered, most_of_the_sky])
def test_mongodb_agrees_on_random_positions(mongo: MongoDatabase, density: Any) -> None:
    localization = whole_sky(ORDER, density)
    made = contours(localization, LEVELS)
    random = np.random.default_rng(11)
    ra, dec = random.uniform(0, 360, 4000), np.degrees(np.arcsin(random.uniform(-1, 1, 4000)))
    mongo["points"].insert_many(
        {"_id": n, "at": {"type": "Point", "coordinates": [a - 180, d]}}
        for n, (a, d) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    )
    mongo["points"].create_index([("at", "2dsphere")])
    cells = HEALPix(nside=2**ORDER, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    for level in LEVELS:
        contour = made[f"contour{level:g}"]
        mongo["maps"].insert_one({"of": contour})
        corners = sum(len(ring) - 1 for polygon in contour["coordinates"] for ring in polygon)
        assert corners <= MAX_CORNERS
        geometry = {"type": "MultiPolygon", "coordinates": contour["coordinates"]}
        found = [row["_id"] for row in mongo["points"].find({"at": {"$geoWithin": {"$geometry": geometry}}})]
        covered = len(found) / len(ra)
        weight = localization.probability
        held = weight[cells[found]].sum() / weight[cells].sum()
        # what the region should cover, cell by cell, and on the coarsest of meshes, where noise has no contrast left
        least = (np.cumsum(np.sort(weight)[::-1]) < level / 100).mean()
        assert least - 0.03 <= covered <= level / 100 + 0.03
        assert held >= level / 100 - 0.05
    mongo["maps"].create_index([("of", "2dsphere")])  # refuses what is not valid


def test_twenty_contours_fit_one_document() -> None:
    made = contours(whole_sky(5, noise), [5.0 * n - 2.5 for n in range(1, 21)])
    assert len(bson.encode(made)) < 15_000_000
    corners = [
        sum(len(ring) for polygon in contour["coordinates"] for ring in polygon)
        for key, contour in made.items()
        if key != "center"
    ]
    assert max(corners) > 0.5 * MAX_CORNERS, "these are not among the larger ones"


def test_a_hole_in_most_of_the_sky_stays_empty(mongo: MongoDatabase) -> None:
    contour = contours(whole_sky(ORDER, most_of_the_sky), [99.9])["contour99.9"]
    geometry = {"type": "MultiPolygon", "coordinates": contour["coordinates"]}
    mongo["points"].insert_many(
        {"_id": distance, "at": {"type": "Point", "coordinates": [120 - 180, 40 + distance]}}
        for distance in (-20, -7, -5, 0, 5, 7, 20)
    )
    found = {row["_id"] for row in mongo["points"].find({"at": {"$geoWithin": {"$geometry": geometry}}})}
    assert found == {-20, -7, 7, 20}


@pytest.mark.parametrize("others", [0, 8, 60, 300])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_wedges_at_the_poles_are_valid(mongo: MongoDatabase, order: int, others: int) -> None:
    """Their sides along the meridians have many corners in a line; ``others`` are cells that make the mesh coarser."""
    mesh = HEALPix(nside=2**order, order="nested")
    ra = np.array([45, 135, 225, 315] * 2)
    dec = np.repeat([-89.9, 89.9], 4)
    wedges = mesh.lonlat_to_healpix(ra * units.deg, dec * units.deg)
    spread = np.linspace(0, mesh.npix - 1, min(others, mesh.npix // 4)).astype(int)
    cells = np.union1d(wedges, spread)
    contour = contours(whole_sky(order, lambda index: np.where(np.isin(index, cells), 1.0, 0.0)), [99.9])["contour99.9"]
    mongo["maps"].create_index([("of", "2dsphere")])
    mongo["maps"].insert_one({"of": contour})
    for lon, lat in zip(ra - 180, dec, strict=True):
        inside = {"type": "Point", "coordinates": [int(lon), float(lat)]}
        assert mongo["maps"].count_documents({"of": {"$geoIntersects": {"$geometry": inside}}}) == 1
