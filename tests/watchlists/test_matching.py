"""Rows of watchlists near alerts, compared with a plain computation of all separations."""

from typing import Any

import numpy as np
import pytest
from mocpy import MOC
from stored_watchlists import Seeker, csv_of, put

from kowalski.alerts.coordinates import unit_vectors
from kowalski.database.client import MongoDatabase
from kowalski.database.watchlists import ROWS, Watchlists
from kowalski.watchlists import matching
from kowalski.watchlists.matching import INSIDE, MOST, ListKey, Place

MINE, OTHERS = ListKey(1, "mine"), ListKey(2, "mine")


def plain_separations(places: list[Place], ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """arcsec between each place and each row, shape (places, rows), by the vectors' cross and dot products."""
    of_places = unit_vectors(*np.array([(place.ra, place.dec) for place in places]).T)[:, :, None]
    of_rows = unit_vectors(ra, dec)[:, None, :]
    cross = np.linalg.norm(np.cross(of_places, of_rows, axis=0), axis=0)
    return 3600 * np.degrees(np.arctan2(cross, (of_places * of_rows).sum(axis=0)))


def crowded_sky(rng: np.random.Generator, number: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions (deg) around both poles, RA 0, and all over the sky, so close together that many match."""
    ra, dec = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    part = number // 4
    dec[:part] = 90 - np.abs(rng.normal(0, spread, part))
    dec[part : 2 * part] = -90 + np.abs(rng.normal(0, spread, part))
    ra[2 * part : 3 * part] = rng.normal(0, spread, part) % 360
    dec[2 * part : 3 * part] = rng.normal(0, spread, part)
    dec[0], dec[part] = 90.0, -90.0
    ra[2 * part], dec[2 * part] = 0.0, 0.0
    return ra, dec


@pytest.mark.parametrize("radius", [0.5, 2.0, 8.0, 8.1, 60.0, 500.0, 3600.0])
def test_the_rows_are_those_that_a_plain_computation_finds(mongo: MongoDatabase, radius: float) -> None:
    rng = np.random.default_rng(int(radius * 10))
    ra, dec = crowded_sky(rng, 2000, 4 * radius / 3600)
    put(mongo, MINE, csv_of("ra,dec,number", list(zip(ra, dec, range(len(ra)), strict=True))), radius=radius)
    places = [Place("x", float(a), float(d)) for a, d in zip(*crowded_sky(rng, 80, 4 * radius / 3600), strict=True)]
    places += [
        Place("pole", 123.0, 90.0),
        Place("pole", 5.0, -90.0),
        Place("west", 359.99999, 0.0),
        Place("east", 0.0, 0.0),
    ]
    found = Seeker(mongo).find([MINE], places)[MINE]
    expected = plain_separations(places, ra, dec)
    assert (expected <= radius).sum() > len(places)
    for rows, distances in zip(found, expected, strict=True):
        order = [number for number in np.argsort(distances).tolist() if distances[number] <= radius][:MOST]
        assert [row["number"] for row in rows] == order
        assert [row["distance_arcsec"] for row in rows] == pytest.approx(distances[order], abs=1e-6)
        assert [row["ra"] for row in rows] == pytest.approx(ra[order], abs=1e-9)


def test_rows_may_have_radii_of_their_own(mongo: MongoDatabase) -> None:
    rng = np.random.default_rng(5)
    ra, dec = crowded_sky(rng, 2000, 0.1)
    radii = 10 ** rng.uniform(-1, np.log10(3600), len(ra))
    put(mongo, MINE, csv_of("ra,dec,radius_arcsec,number", list(zip(ra, dec, radii, range(len(ra)), strict=True))))
    places = [Place("x", float(a), float(d)) for a, d in zip(*crowded_sky(rng, 40, 0.1), strict=True)]
    found = Seeker(mongo).find([MINE], places)[MINE]
    expected = plain_separations(places, ra, dec)
    for rows, distances in zip(found, expected, strict=True):
        order = [number for number in np.argsort(distances).tolist() if distances[number] <= radii[number]][:MOST]
        assert [row["number"] for row in rows] == order


def test_objects_are_found_by_their_ids(mongo: MongoDatabase) -> None:
    put(mongo, MINE, csv_of("z,objectId", [(0.1, "ZTF1"), ("", "123"), (0.3, "ZTF3")]))
    places = [Place("ZTF3", 0, 0), Place("123", 0, 0), Place("ZTF4", 0, 0), Place("ZTF3", 1, 1)]
    third = {"objectId": "ZTF3", "z": 0.3}
    assert Seeker(mongo).find([MINE], places)[MINE] == [[third], [{"objectId": "123"}], [], [third]]


def test_regions_hold_what_lies_in_them(mongo: MongoDatabase) -> None:
    ranges = np.random.default_rng(2).choice(12 * 4**6, 20_000, replace=False)
    moc = MOC.from_healpix_cells(ranges.astype(np.uint64), np.full(20_000, 6, np.uint8), 6)
    put(mongo, MINE, moc.to_string("json").encode())
    rng = np.random.default_rng(3)
    places = [Place("x", float(a), float(d)) for a, d in zip(*crowded_sky(rng, 400, 3.0), strict=True)]
    seeker = Seeker(mongo)
    found = seeker.find([MINE], places)[MINE]
    from astropy.coordinates import Latitude, Longitude

    inside = moc.contains_lonlat(
        Longitude([each.ra for each in places], "deg"), Latitude([each.dec for each in places], "deg")
    )
    assert found == [[INSIDE] if each else [] for each in inside]
    assert 50 < inside.sum() < 350
    region = seeker.known[MINE].region
    seeker.find([MINE], places)
    assert seeker.known[MINE].region is region, "it is made once per version"


def test_a_batch_with_very_many_rows_is_halved(mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    ra, dec = crowded_sky(rng, 1000, 0.01)
    put(mongo, MINE, csv_of("ra,dec,number", list(zip(ra, dec, range(1000), strict=True))), radius=30)
    places = [Place("x", float(a), float(d)) for a, d in zip(*crowded_sky(rng, 60, 0.01), strict=True)]
    seeker = Seeker(mongo)
    whole = seeker.find([MINE], places)
    assert sum(map(len, whole[MINE])) > 200
    monkeypatch.setattr(matching, "MOST_AT_ONCE", 20)
    assert seeker.find([MINE], places) == whole
    assert len(seeker.questions) > 10


def test_all_lists_are_looked_at_in_one_round_trip(mongo: MongoDatabase) -> None:
    names = ("a", "b", "c", "d")
    files = [csv_of("objectId", [("x",)]), csv_of("ra,dec", [(10, 10)]), csv_of("ra,dec", [(10, 10.1)]), b"3/0-767"]
    for name, file, radius in zip(names, files, (2, 2, 1000, 2), strict=True):
        put(mongo, ListKey(1, name), file, radius=radius)
    keys, places, seeker = [ListKey(1, name) for name in names], [Place("x", 10.0, 10.0)], Seeker(mongo)
    first = seeker.find(keys, places)
    assert len(seeker.questions) == 3  # which lists there are, the region, the rows
    assert seeker.find(keys, places) == first
    assert len(seeker.questions) == 1
    assert [len(first[key][0]) for key in keys] == [1, 1, 1, 1]
    assert first[keys[2]][0][0]["distance_arcsec"] == pytest.approx(360)


def test_a_new_version_counts_from_the_next_look(mongo: MongoDatabase) -> None:
    seeker, places = Seeker(mongo), [Place("x", 10.0, 10.0)]
    assert seeker.find([MINE], places) == {}
    put(mongo, MINE, csv_of("objectId,n", [("x", 1)]))
    assert seeker.find([MINE], places) == {MINE: [[{"objectId": "x", "n": 1}]]}
    put(mongo, MINE, csv_of("ra,dec,n", [(10, 10, 2)]))
    assert seeker.find([MINE], places)[MINE][0][0]["n"] == 2
    put(mongo, MINE, b"3/0-767")
    assert seeker.find([MINE], places) == {MINE: [[INSIDE]]}
    mongo["watchlists"].delete_many({})
    assert seeker.find([MINE], places) == {}


def test_rows_that_go_while_they_are_looked_for_are_looked_for_again(mongo: MongoDatabase) -> None:
    """A new version comes, and the old one's rows go, after it was read which version there is."""
    put(mongo, MINE, csv_of("objectId,n", [("x", 1)]))
    places, watchlists, changed = [Place("x", 0, 0)], Watchlists(mongo), []
    seeker = Seeker(mongo)
    seeker.find([MINE], places)

    def answer(question: Any) -> Any:
        if question.collection == ROWS and not changed:
            changed.append(put(mongo, MINE, csv_of("objectId,n", [("x", 2)])))
        return watchlists.answer(question)

    seeker.watchlists.answer = answer  # type: ignore[method-assign]
    assert seeker.find([MINE], places) == {MINE: [[{"objectId": "x", "n": 2}]]}
    assert changed
    assert len(seeker.questions) == 2


def test_groups_have_lists_of_the_same_name(mongo: MongoDatabase) -> None:
    put(mongo, MINE, csv_of("objectId", [("x",)]))
    put(mongo, OTHERS, csv_of("objectId", [("y",)]))
    found = Seeker(mongo).find([MINE, OTHERS], [Place("x", 0, 0), Place("y", 0, 0)])
    assert found == {MINE: [[{"objectId": "x"}], []], OTHERS: [[], [{"objectId": "y"}]]}


def test_the_rows_are_found_by_their_indexes(mongo: MongoDatabase) -> None:
    rng = np.random.default_rng(8)
    put(mongo, MINE, csv_of("ra,dec,id", list(zip(*crowded_sky(rng, 3000, 1.0), range(3000), strict=True))))
    put(mongo, OTHERS, csv_of("objectId", [(f"x{n}",) for n in range(3000)]))
    seeker = Seeker(mongo)
    seeker.find([MINE, OTHERS], [Place(f"x{n}", n / 10, n / 20) for n in range(50)])
    (match, *_), (positions, *_) = (
        seeker.questions[-1].pipeline,
        seeker.questions[-1].pipeline[1]["$unionWith"]["pipeline"],
    )
    for stage, index in ((match, "id_version"), (positions, "pixel_version")):
        told = mongo.command("explain", {"find": ROWS, "filter": stage["$match"]}, verbosity="executionStats")
        assert index in str(told["queryPlanner"]["winningPlan"])
        assert told["executionStats"]["totalDocsExamined"] < 100
