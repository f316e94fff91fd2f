"""Catalogues: which there are, and cones in the order of their positions (tests/crossmatch has the rest)."""

import math
from typing import Any

import numpy as np
import pytest

from kowalski.alerts.coordinates import position
from kowalski.crossmatch.pixels import GRIDS, Grid, grid_for, with_pixels
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.errors import DatabaseError

ARCSEC = math.radians(1 / 3600)


def test_which_catalogues_there_are(mongo: MongoDatabase) -> None:
    mongo["Gaia_EDR3"].insert_one({})
    assert Catalogs(mongo).present() == {"Gaia_EDR3"}


def test_rows_stand_with_the_position_they_are_near(mongo: MongoDatabase) -> None:
    places = [(10.0, 5.0), (359.9999, -5.0), (10.0, 5.0), (77.0, 0.0)]
    mongo["cat"].insert_many([{"_id": n, "coordinates": position(*place)} for n, place in enumerate(places[:2])])
    rows = Catalogs(mongo).cones("cat", places, 2 * ARCSEC, {}, {})
    assert [[row["_id"] for row in found] for found in rows] == [[0], [1], [0], []]
    assert rows[0][0] == {"_id": 0, "coordinates": position(10.0, 5.0)}, "and nothing is added to them"


def test_no_positions(mongo: MongoDatabase) -> None:
    assert Catalogs(mongo).cones("cat", [], 2 * ARCSEC, {}, {}) == []


def test_a_condition_that_is_none(mongo: MongoDatabase) -> None:
    mongo["cat"].insert_one({})
    with pytest.raises(DatabaseError, match="cones in cat"):
        Catalogs(mongo).cones("cat", [(1.0, 1.0)], ARCSEC, {"$no": 1}, {})


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("projection", [{}, {"_id": 1}, {"number": 1, "_id": 0}, {"coordinates.radec_geojson": 0}])
@pytest.mark.parametrize(
    "place", [(120.0, 35.0), (0.0, 0.0), (45.0, 41.8103), (200.0, 89.9999), (0.0, -90.0), (315.0, -67.0)]
)
def test_pixels_give_what_the_geographic_index_gives(
    mongo: MongoDatabase, place: tuple[float, float], projection: dict[str, int], grid: Grid
) -> None:
    """The same rows in the same order, also at the poles, where right ascension begins, and where pixels have odd shapes."""
    random = np.random.default_rng(3)
    (ra0, dec0), apart = place, 1.7 * math.degrees(grid.widest)
    dec = dec0 + random.uniform(-apart, apart, 1500)
    dec = np.where(abs(dec) > 90, np.copysign(180, dec) - dec, dec)
    ra = (ra0 + random.uniform(-apart, apart, 1500) / np.maximum(np.cos(np.radians(dec)), 1e-6)) % 360
    rows = [{"_id": n, "number": n, "odd": n % 2, "coordinates": position(*each)} for n, each in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))]  # fmt: skip
    catalogs = Catalogs(mongo)
    catalogs.replace("with", rows)
    mongo["without"].insert_many(rows)
    mongo["without"].create_index([("coordinates.radec_geojson", "2dsphere")])
    places = [place, *list(zip(ra.tolist(), dec.tolist(), strict=True))[:40]]
    for radius in (max(grid.widest / 80, grid.narrowest), grid.widest / 10, grid.widest / 3, grid.widest):
        found, expected = (catalogs.cones(name, places, radius, {"odd": 1}, projection) for name in ("with", "without"))
        found = [[without_pixel(row) for row in each] for each in found]
        assert found == expected
        assert any(found)
        assert grid_for(radius) is grid


def without_pixel(row: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.get("coordinates", {}).items() if not key.startswith("healpix")}
    return {**row, "coordinates": kept} if "coordinates" in row else row


def test_rows_without_pixels_are_found_all_the_same(mongo: MongoDatabase, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody adds rows to a catalogue by hand, or makes it anew without the index, while it is known to have pixels."""
    catalogs, place = Catalogs(mongo), (10.0, 5.0)
    catalogs.replace("cat", [{"_id": 1, "coordinates": position(*place)}])
    mongo["cat"].insert_one({"_id": 2, "coordinates": position(10.0, 5.0001)})

    def ids() -> list[int]:
        return [row["_id"] for row in catalogs.cones("cat", [place], 2 * ARCSEC, {}, {})[0]]

    assert ids() == [1, 2]
    assert "cat has rows without pixels" in caplog.text
    mongo["cat"].drop()
    catalogs.replace("cat", [{"_id": 3, "coordinates": position(*place)}])
    catalogs = Catalogs(mongo)
    assert ids() == [3]
    mongo["cat"].drop_index(GRIDS[0].name)
    caplog.clear()
    assert ids() == [3]
    assert "searched by its geographic index" in caplog.text
    caplog.clear()
    assert ids() == [3]
    assert not caplog.text, "it is not tried again at once"


def test_rows_that_are_no_points_are_found_where_mongodb_finds_them(mongo: MongoDatabase) -> None:
    line = {"type": "LineString", "coordinates": [[-170.0, 5.0], [-170.0, 5.0001]]}
    mongo["cat"].insert_one({"_id": 1, "coordinates": {"radec_geojson": line}})
    assert Catalogs(mongo).cones("cat", [(10.0, 5.0)], 2 * ARCSEC, {}, {"_id": 1}) == [[{"_id": 1}]]


def test_no_rows_have_no_pixels() -> None:
    assert with_pixels([]) == []
