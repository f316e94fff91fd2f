"""Catalogues: which there are, and cones in the order of their positions (tests/crossmatch has the rest)."""

import math

import pytest

from kowalski.alerts.coordinates import position
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
