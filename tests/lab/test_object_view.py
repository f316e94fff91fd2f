"""What an object's page is made of: surroundings, scores, moments, links."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import astropy.units as u
import pytest
from astropy.coordinates import SkyCoord

from kowalski.alerts.coordinates import position
from kowalski.lab.addresses import elsewhere, galactic_of, object_address
from kowalski.lab.alert_story import moments_of, scores_of
from kowalski.lab.sky import catalogs_of, offset, pictures_of

CENTRE = (10.0, 60.0)


def row(east: float, north: float, **said: Any) -> dict[str, Any]:
    """A catalogue's row so many arcsec from the centre, as the cross-match stores it."""
    place = position(CENTRE[0] + east / 3600 / 0.5, CENTRE[1] + north / 3600)
    distance = round((east**2 + north**2) ** 0.5, 2)
    return {"_id": 1, "coordinates": {"radec_str": place["radec_str"], "distance_arcsec": distance}} | said


def test_north_is_up_and_east_is_left() -> None:
    assert offset(CENTRE, (10.0 + 2 / 3600, 60.0 + 1 / 3600)) == pytest.approx((1.0, 1.0), abs=1e-4)
    assert offset((359.9999, 0.0), (0.0001, 0.0))[0] == pytest.approx(0.72)


@pytest.mark.parametrize("dec", [-90.0, 89.999, 90.0, 0.0])
def test_places_are_as_far_apart_as_on_the_sky_near_the_poles_too(dec: float) -> None:
    here = SkyCoord(120.0, dec, unit="deg")
    for angle in (10.0, 100.0, 200.0, 300.0):
        there = here.directional_offset_by(angle * u.deg, 30 * u.arcsec)
        east, north = offset((120.0, dec), (float(there.ra.deg), float(there.dec.deg)))
        assert math.hypot(east, north) == pytest.approx(30.0, abs=1e-3)
        if abs(dec) < 90:
            assert (east, north) == pytest.approx((30 * math.sin(math.radians(angle)), 30 * math.cos(math.radians(angle))), abs=1e-3)  # fmt: skip
    catalogs = catalogs_of({"Gaia": [row(1.0, 0.5)]}, CENTRE)
    (sky,) = pictures_of(catalogs, [CENTRE], CENTRE)
    assert (sky.reach, sky.bar, sky.alerts) == (2.0, 1.0, [(0.0, 0.0)])
    assert (sky.marks[0].x, sky.marks[0].y) == pytest.approx((-50.0, -25.0), abs=0.2)


def test_what_is_far_away_has_a_picture_of_its_own() -> None:
    catalogs = catalogs_of({"CLU": [row(200.0, 0.0, name="far")], "Gaia": [row(0.3, 0.0)], "empty": []}, CENTRE)
    assert [(each.name, each.sign) for each in catalogs] == [("Gaia", 0), ("CLU", 1)]
    assert [(sky.reach, len(sky.marks)) for sky in pictures_of(catalogs, [], CENTRE)] == [(2.0, 1), (300.0, 2)]


def test_rows_of_all_kinds_are_listed_the_nearest_first() -> None:
    rows = [row(3.0, 0.0, name="b", z=0.1), {"name": "no place"}, row(1.0, 0.0, name="a"), "nonsense"]
    (catalog,) = catalogs_of({"NED": rows}, CENTRE)
    assert [(each.name, each.distance) for each in catalog.matches] == [("a", 1.0), ("b", 3.0), ("no place", None)]
    assert catalog.matches[1].values == {"z": 0.1}
    (many,) = catalogs_of({"NED": [row(1.0, 0.0)] * 25}, CENTRE)
    assert (len(many.matches), many.more) == (20, 5)


def test_scores_have_a_course_and_a_version() -> None:
    alerts = [
        {"candid": number, "candidate": {"jd": 10.0 + number}, "classifications": {"braai": number / 10, "braai_version": "d6"}}
        for number in (1, 2, 3)
    ]  # fmt: skip
    (score,) = scores_of(alerts, 2)
    assert (score.model, score.score, score.version, score.lowest, score.highest, score.number) == ("braai", 0.2, "d6", 0.1, 0.3, 3)  # fmt: skip
    assert score.here == (60.0, 17.4)
    assert score.line == "3.0,19.2 60.0,17.4 117.0,15.6"
    assert scores_of(alerts, 4) == scores_of([], None) == []


def test_moments_in_their_order_and_others_behind() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC).replace(tzinfo=None)  # as MongoDB gives it
    trace = {"stored": noon, "exposure": noon - timedelta(seconds=86.4), "own": noon.replace(hour=13)}
    found = moments_of({"trace": trace})
    assert [each.name for each in found] == ["exposure", "stored", "own"]
    assert found[1].time == noon.replace(tzinfo=UTC)
    assert (found[0].since, found[1].since, found[2].since) == (None, 86.4, 3600.0)
    assert moments_of({}) == moments_of({"trace": None}) == []


def test_links_lead_to_the_place_and_to_skyportal_where_that_is_known() -> None:
    found = elsewhere("a/b&c", 155.94, -12.5, "https://marshal.example.org")
    assert found["SkyPortal"] == "https://marshal.example.org/source/a%2Fb%26c"
    assert found["TNS"].endswith("?ra=155.940000&decl=-12.500000&radius=5&coords_unit=arcsec")
    assert "SkyPortal" not in elsewhere("a", 1.0, 2.0, None)
    assert len(found) == 6


def test_addresses_hold_any_id() -> None:
    assert object_address("ZTF", "<script>/?#", 5) == "/lab/objects/ztf/%3Cscript%3E%2F%3F%23?candid=5"


def test_the_galactic_centre_is_where_it_is() -> None:
    l, b = galactic_of(266.40499, -28.93617)  # noqa: E741 - the field's own name
    assert min(l, 360 - l) == pytest.approx(0.0, abs=1e-3)
    assert b == pytest.approx(0.0, abs=1e-3)
