"""Galaxies by their distance: the reference's rules, and the outlines of M31 and M33."""

import logging
import math
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from kowalski.alerts.coordinates import position
from kowalski.config import build, settings_tree
from kowalski.crossmatch.galaxies import M31, M33, OUTLINES, inside, match_radius, near_galaxies
from kowalski.settings import Recipe

RECIPES = build(settings_tree([], {})).database.xmatch["ZTF"]
CLU, NED = RECIPES["CLU_20190625"], RECIPES["NED_BetaV3"]
WNTR_CLU = CLU.model_copy(update={"cm_low_distance": 5})
ARCSEC = 1 / 3600


def galaxy(ra: float = 200.0, dec: float = 10.0, **fields: Any) -> dict[str, Any]:
    return {"_id": 1, "ra": ra, "dec": dec, "coordinates": position(ra, dec), **fields}


@pytest.mark.parametrize(
    ("recipe", "fields", "arcsec"),
    [
        (CLU, {"z": 0.009999}, 300.0),
        (CLU, {"z": -0.001}, 300.0),
        (CLU, {"z": 0.0}, 300.0),
        (WNTR_CLU, {"z": 0.005}, 5.0),
        (CLU, {"z": 0.01}, 150.0),
        (CLU, {"z": 0.05}, 30.0),
        (CLU, {"z": 0.3}, 5.0),
        (NED, {"DistMpc": 39.99}, 300.0),
        (NED, {"DistMpc": 40.0}, math.degrees(math.atan(30 / 40_000)) * 3600),
        (NED, {"DistMpc": 200, "z": 0.001}, math.degrees(math.atan(30 / 200_000)) * 3600),
    ],
)
def test_the_radius_follows_from_the_distance(recipe: Recipe, fields: dict[str, Any], arcsec: float) -> None:
    assert match_radius(galaxy(**fields), recipe) == pytest.approx(arcsec * ARCSEC, rel=1e-12)


@pytest.mark.parametrize("method", ["redshift", "z"])
def test_a_redshift_under_another_name(method: str) -> None:
    recipe = CLU.model_copy(update={"distance_value": "zspec", "distance_method": method})
    assert match_radius(galaxy(zspec=0.05), recipe) == pytest.approx(30 * ARCSEC)


@pytest.mark.parametrize("value", [None, math.nan, "0.05", []])
def test_a_galaxy_without_distance_is_left_out_and_named(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert near_galaxies([galaxy(z=value)], 200.0, 10.0, CLU) == []
        assert near_galaxies([galaxy()], 200.0, 10.0, CLU) == []
    assert len(caplog.messages) == 2
    assert "galaxy 1 has no z" in caplog.text


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.99])
@pytest.mark.parametrize("angle", [0.0, 90.0, 213.0])
def test_matches_lie_within_the_radius(dec: float, angle: float) -> None:
    centre = SkyCoord(359.9999 * units.deg, dec * units.deg)
    row = galaxy(359.9999, dec, z=0.05)
    for arcsec, found in ((29.99, True), (30.01, False)):
        there = centre.directional_offset_by(angle * units.deg, arcsec * units.arcsec)
        matches = near_galaxies([row], there.ra.deg, there.dec.deg, CLU)
        assert bool(matches) is found
        if found:
            assert matches[0]["coordinates"]["distance_arcsec"] == 29.99


@pytest.mark.parametrize(
    ("fields", "kpc"),
    [
        ({"z": 0.02}, 20 * 0.02 / 0.05),
        ({"z": 0.0051}, 20 * 0.0051 / 0.05),
        ({"z": 0.005, "DistMpc": 20.0}, math.radians(20 * ARCSEC) * 20_000),
        ({"z": None, "DistMpc": 20.0}, math.radians(20 * ARCSEC) * 20_000),
        ({"z": 0.02, "DistMpc": 20.0}, 20 * 0.02 / 0.05),
        ({"z": 0.001}, -1.0),
        ({"z": 0.001, "DistMpc": 0.005}, -1.0),
    ],
)
def test_the_distance_from_the_galaxy(fields: dict[str, Any], kpc: float) -> None:
    recipe = CLU if fields["z"] is not None else NED
    (match,) = near_galaxies([galaxy(**fields)], 200.0, 10.0 + 20 * ARCSEC, recipe)
    assert match["coordinates"]["distance_arcsec"] == 20.0
    assert match["coordinates"]["distance_kpc"] == round(kpc, 2)


def test_the_row_itself_stays_as_it_was() -> None:
    row = galaxy(z=0.05, a=1.0)
    (match,) = near_galaxies([row], 200.0, 10.0, CLU)
    assert "distance_arcsec" not in row["coordinates"]
    assert match == row | {"coordinates": {**row["coordinates"], "distance_arcsec": 0.0, "distance_kpc": 0.0}}


def ellipse(galaxy: dict[str, Any], along: float, across: float) -> tuple[float, float]:
    """The position at some degrees along a galaxy's major axis and across it, each alone."""
    _, outline = OUTLINES[galaxy["_id"]]
    angle, distance = (outline.angle, along) if along else (outline.angle + 90, across)
    there = SkyCoord(galaxy["ra"] * units.deg, galaxy["dec"] * units.deg).directional_offset_by(
        angle * units.deg, distance * units.deg
    )
    return there.ra.deg, there.dec.deg


@pytest.mark.parametrize(("known", "semi_major", "ratio"), [(M31, 1.624875, 0.331283), (M33, 0.603694, 0.602964)])
def test_the_two_nearest_galaxies_are_ellipses(known: dict[str, Any], semi_major: float, ratio: float) -> None:
    for sign in (1, -1):
        for along, across, found in [
            (semi_major * 0.999, 0, True), (semi_major * 1.001, 0, False),
            (0, semi_major * ratio * 0.999, True), (0, semi_major * ratio * 1.001, False),
        ]:  # fmt: skip
            matches = near_galaxies([], *ellipse(known, sign * along, sign * across), CLU)
            assert [match["name"] for match in matches] == ([known["name"]] if found else [])


def test_ellipses_are_those_of_their_definition() -> None:
    """Against the angle and distance that astropy gives, on a grid around M31."""
    _, outline = OUTLINES[M31["_id"]]
    centre = SkyCoord(M31["ra"] * units.deg, M31["dec"] * units.deg)
    ra, dec = (axis.ravel() for axis in np.meshgrid(np.linspace(8.2, 13.2, 40), np.linspace(39.4, 43.2, 40)))
    places = SkyCoord(ra * units.deg, dec * units.deg)
    distance = centre.separation(places).deg
    angle = centre.position_angle(places).rad - math.radians(outline.angle)
    radius = outline.semi_major / np.hypot(np.cos(angle), np.sin(angle) / outline.ratio)
    clear = np.abs(distance - radius) > 1e-6
    ours = [inside(a, d, M31["ra"], M31["dec"], outline) for a, d in zip(ra, dec, strict=True)]
    assert np.array_equal(np.array(ours)[clear], (distance < radius)[clear])
    assert 0.02 < np.mean(ours) < 0.4


def test_the_opposite_side_of_the_sky_is_not_in_andromeda() -> None:
    assert near_galaxies([], (M31["ra"] + 180) % 360, -M31["dec"], CLU) == []
    assert near_galaxies([], M31["ra"], -M31["dec"], CLU) == []


def test_a_match_with_m31_looks_as_the_references() -> None:
    (match,) = near_galaxies([], M31["ra"], M31["dec"] + 0.5, CLU)
    assert {key: match[key] for key in M31} == M31
    assert match["coordinates"]["radec_geojson"]["coordinates"] == [M31["ra"] - 180, M31["dec"]]
    assert match["coordinates"]["distance_arcsec"] == pytest.approx(1800, abs=0.01)
    assert match["coordinates"]["distance_kpc"] == pytest.approx(math.radians(0.5) * 778, abs=0.01)


def test_m31_as_a_row_of_the_catalogue_is_not_matched_twice() -> None:
    row = M31 | {"coordinates": position(M31["ra"], M31["dec"])}
    assert len(near_galaxies([row], M31["ra"], M31["dec"], CLU)) == 1
    far = M31["ra"], M31["dec"] + 1.6
    assert near_galaxies([row], *far, CLU) == [], (
        "outside the ellipse, though the catalogue's row would take 300 arcsec"
    )
