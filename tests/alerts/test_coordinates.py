"""Coordinates against astropy, at random positions and at the edges of the sky."""

import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import Angle, SkyCoord

from kowalski.alerts.coordinates import coordinates, position, radec_str, separation

RANDOM = np.random.default_rng(20260728)
N = 400
RA = np.concatenate([RANDOM.uniform(0, 360, N), [0.0, 1e-9, 359.9999999, 180.0, 10.0, 10.0]])
DEC = np.concatenate([np.degrees(np.arcsin(RANDOM.uniform(-1, 1, N))), [0.0, -1e-9, -0.5, 45.0, 90.0, -90.0]])
SKY = SkyCoord(RA * units.deg, DEC * units.deg)
PLACES = coordinates(RA, DEC)


def values(*path: str) -> np.ndarray:
    found = PLACES
    for name in path:
        found = [place[name] for place in found]
    return np.array(found)


def test_galactic_coordinates_are_those_of_astropy() -> None:
    """Murray's matrix, with nine digits, and astropy's differ by some milliarcseconds (frame bias of FK5 and ICRS)."""
    ours = SkyCoord(values("l") * units.deg, values("b") * units.deg, frame="galactic")
    assert SKY.galactic.separation(ours).arcsec.max() < 0.05
    assert values("l").min() > -180
    assert values("l").max() <= 180


def test_galactic_coordinates_are_the_references_rotation() -> None:
    matrix = [
        (-0.054875539, -0.873437105, -0.483834992),
        (0.494109454, -0.444829594, 0.746982249),
        (-0.867666136, -0.198076390, 0.455983795),
    ]
    for ra, dec, l_, b in zip(RA, DEC, values("l"), values("b"), strict=True):
        lon, lat = math.radians(ra), math.radians(dec)
        vector = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
        x, y, z = (sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix)
        assert (l_, b) == pytest.approx((math.degrees(math.atan2(y, x)), math.degrees(math.asin(z))), abs=1e-6)


def test_ecliptic_coordinates_are_those_of_a_rotation_about_the_equinox() -> None:
    lam, beta = values("geocentricmeanecliptic", "lambda"), values("geocentricmeanecliptic", "beta")
    assert lam.min() >= 0
    assert lam.max() < 360
    ours = SkyCoord(lam * units.deg, beta * units.deg, frame="barycentricmeanecliptic")
    assert SKY.transform_to("barycentricmeanecliptic").separation(ours).arcsec.max() < 0.1


def test_the_ecliptic_longitude_stays_below_360() -> None:
    for ra, dec in ((1e-15, 0.0), (359.9999999999999, 0.0), (1e-14, -1e-14), (1e-17, -1e-17), (0.0, -1e-17)):
        (place,) = coordinates(np.array([ra]), np.array([dec]))
        assert 0 <= place["geocentricmeanecliptic"]["lambda"] < 360


def test_text_is_that_of_astropy() -> None:
    right = SKY.ra.to_string(unit=units.hourangle, sep=":", precision=4, pad=True)
    declination = SKY.dec.to_string(unit=units.deg, sep=":", precision=3, pad=True)
    for place, ra, dec in zip(PLACES, right, declination, strict=True):
        assert place["radec_str"] == ["00:00:00.0000" if ra.startswith("24:") else ra, dec]


def test_text_read_back_is_the_position() -> None:
    for ra, dec, (right, declination) in zip(RA, DEC, values("radec_str"), strict=True):
        assert abs((Angle(right, "hourangle").deg - ra + 180) % 360 - 180) <= 1.0001 * 360 / 864_000_000 / 2
        assert abs(Angle(declination, "deg").deg - dec) <= 1.0001 * 0.5e-3 / 3600


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (59.99999 / 240, 0.0, ["00:01:00.0000", None]),
        (59.99999999 / 240, 0.0, ["00:01:00.0000", None]),
        (15 - 1e-9, 0.0, ["01:00:00.0000", None]),
        (360 - 1e-9, 0.0, ["00:00:00.0000", None]),
        (0.0, 59.9999 / 3600, [None, "00:01:00.000"]),
        (0.0, -59.9999 / 3600, [None, "-00:01:00.000"]),
        (0.0, 1 - 1e-9, [None, "01:00:00.000"]),
        (0.0, -1 + 1e-9, [None, "-01:00:00.000"]),
        (0.0, 90.0, [None, "90:00:00.000"]),
        (0.0, -90.0, [None, "-90:00:00.000"]),
        (0.0, -0.5, [None, "-00:30:00.000"]),
        (0.0, 0.5, [None, "00:30:00.000"]),
        (0.0, -0.0, [None, "00:00:00.000"]),
    ],
)
def test_seconds_carry(ra: float, dec: float, text: list[str | None]) -> None:
    for ours, expected in zip(radec_str(ra, dec), text, strict=True):
        assert expected is None or ours == expected


def test_geojson_longitude_is_ra_minus_180() -> None:
    for place, ra, dec in zip(PLACES, RA, DEC, strict=True):
        point = place["radec_geojson"]
        assert point == {"type": "Point", "coordinates": [ra - 180.0, dec]}
        assert -180 <= point["coordinates"][0] < 180


def test_all_values_are_plain_numbers() -> None:
    """BSON knows no numpy numbers."""
    place = PLACES[0]
    numbers = [
        place["l"],
        place["b"],
        *place["geocentricmeanecliptic"].values(),
        *place["radec_geojson"]["coordinates"],
    ]
    assert {type(number) for number in numbers} == {float}


def test_catalogue_rows_have_text_and_geojson_only() -> None:
    (place,) = coordinates(np.array([10.0]), np.array([20.0]))
    assert position(10.0, 20.0) == {key: place[key] for key in ("radec_str", "radec_geojson")}


def test_separations_are_those_of_astropy() -> None:
    for ra, dec in ((0.0, 0.0), (359.9999, 89.9999), (123.4, -56.7)):
        expected = SkyCoord(ra * units.deg, dec * units.deg).separation(SKY).deg
        assert separation(ra, dec, RA, DEC) == pytest.approx(expected, abs=1e-12, rel=1e-9)


def test_small_separations_are_exact() -> None:
    assert separation(10.0, 60.0, np.array([10.0]), np.array([60.0 + 1e-9]))[0] == pytest.approx(1e-9, rel=1e-5)
    assert separation(0.0, 0.0, np.array([360 - 1e-9]), np.array([0.0]))[0] == pytest.approx(1e-9, rel=1e-4)
    assert separation(10.0, 5.0, np.array([190.0]), np.array([-5.0]))[0] == pytest.approx(180.0)
