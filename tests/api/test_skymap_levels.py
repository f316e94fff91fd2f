"""Queries for what lies within credible levels of a sky map: the same as by plain numpy."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import requests
from api_harness import Api, start_api
from mocpy import MOC
from sky_by_numpy import MEAN, Event

from kowalski.alerts.coordinates import position
from kowalski.api.services import within
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

DATE = "2023-05-18T12:59:08"
EVENT = Event(20.0, 60.0)  # its ring goes around the pole and over RA 0
ROWS = 4_000


class Rows:
    """Alerts all over the sky, most of them near the event."""

    def __init__(self) -> None:
        random = np.random.default_rng(8)
        sky = random.normal(size=(ROWS, 3))
        sky[: ROWS * 3 // 4] = sky[: ROWS * 3 // 4] * 0.25 + [0.47, 0.17, 0.87]
        sky /= np.linalg.norm(sky, axis=1)[:, None]
        self.ra, self.dec = np.degrees(np.arctan2(sky[:, 1], sky[:, 0])) % 360, np.degrees(np.arcsin(sky[:, 2]))
        self.distance = random.uniform(1, 300, ROWS)

    def documents(self) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            place = position(float(self.ra[number]), float(self.dec[number]))
            yield {
                "_id": number,
                "even": number % 2 == 0,
                "host": {"mpc": float(self.distance[number])},
                "coordinates": place,
            }


CATALOG = Rows()
#: the fifth row has no distance
CATALOG.distance[5] = np.nan


@pytest.fixture(scope="module")
def settings(fresh_database: Callable[[], Database]) -> Database:
    return fresh_database()


@pytest.fixture(scope="module")
def stored(settings: Database) -> Iterator[MongoDatabase]:
    database = connect(settings)
    documents = list(CATALOG.documents())
    del documents[5]["host"]
    database["Stars"].insert_many([*documents, {"_id": "nowhere"}])
    database["Stars"].create_index([("coordinates.radec_geojson", "2dsphere")])
    yield database
    database.client.close()


@pytest.fixture(scope="module")
def api(settings: Database, stored: MongoDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    running = start_api(tmp_path_factory.mktemp("levels"), settings, processes=1)
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        content = base64.b64encode(EVENT.file()).decode()
        assert put(running, {"localization_name": "event", "content": content}).status_code == 200
        yield running
    finally:
        running.stop()


def put(api: Api, skymap: dict[str, Any], **more: Any) -> requests.Response:
    body = {"dateobs": DATE, "contours": [90], "skymap": skymap, **more}
    return requests.put(f"{api.url}/api/skymap", json=body, headers={"Authorization": api.token}, timeout=120)


def asked(name: str = "event", **more: Any) -> dict[str, Any]:
    query = {"catalog": "Stars", "filter": {}, "projection": {"_id": 1}}
    skymap = {"localization_name": name, "dateobs": DATE} | {
        key: more.pop(key) for key in list(more) if key not in query
    }
    return query | more | {"skymap": skymap}


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["_id"] for row in rows]


@pytest.mark.parametrize("level", [5, 50, 90, 99, 99.999, 100])
def test_levels_on_the_sky(api: Api, level: float) -> None:
    levels = EVENT.levels(CATALOG.ra, CATALOG.dec)
    expected = np.flatnonzero(levels < level)
    assert expected.size > 20
    found = api.data("skymap", asked(credible_level=level))
    assert sorted(ids(found)) == expected.tolist()
    told = np.array([row["skymap"]["credible_level"] for row in found])
    np.testing.assert_allclose(told, levels[ids(found)], atol=1e-8)


def test_the_hole_of_a_ring_is_a_hole(api: Api) -> None:
    near = np.cos(np.radians(CATALOG.dec - 60)) - np.cos(np.radians(CATALOG.dec)) * 0.5 * (
        1 - np.cos(np.radians(CATALOG.ra - 20))
    )
    inside = set(np.flatnonzero(near > np.cos(np.radians(4))).tolist())
    assert len(inside) > 20
    assert not inside & set(ids(api.data("skymap", asked(credible_level=90))))
    assert not inside & set(ids(api.data("skymap", asked(contour=90))))


def test_the_most_probable_first(api: Api) -> None:
    levels = EVENT.levels(CATALOG.ra, CATALOG.dec)
    within_90 = np.flatnonzero(levels < 90)
    found = api.data("skymap", asked(credible_level=90, sort="probability"))
    assert sorted(ids(found)) == within_90.tolist()
    assert (np.diff(levels[ids(found)]) >= 0).all()
    told = [row["skymap"]["probdensity"] for row in found]
    assert told == sorted(told, reverse=True)
    part = api.data("skymap", asked(credible_level=90, sort="probability"), skip=3, limit=10)
    assert ids(part) == ids(found)[3:13]


@pytest.mark.parametrize("level", [30, 60, 90])
def test_levels_in_space(api: Api, level: float) -> None:
    volumes = EVENT.volumes(CATALOG.ra, CATALOG.dec, CATALOG.distance)
    expected = set(np.flatnonzero(volumes < level).tolist())
    unsure = set(np.flatnonzero(np.abs(volumes - level) < 0.05).tolist())  # by the voxels of plain numpy
    assert len(expected) > 10
    assert len(unsure) < 10
    found = api.data("skymap", asked(credible_volume=level, distance="host.mpc", sort="probability"))
    assert set(ids(found)) - unsure == expected - unsure
    assert 5 not in ids(found)
    densities = EVENT.densities(CATALOG.ra, CATALOG.dec, CATALOG.distance)[ids(found)]
    np.testing.assert_allclose([row["skymap"]["probdensity_volume"] for row in found], densities, rtol=1e-9)
    assert (np.diff(densities) <= 0).all()


def test_one_distance_for_all(api: Api) -> None:
    volumes = EVENT.volumes(CATALOG.ra, CATALOG.dec, np.full(ROWS, MEAN))
    found = api.data("skymap", asked(credible_volume=80, credible_level=95, distance=MEAN))
    both = (volumes < 80) & (EVENT.levels(CATALOG.ra, CATALOG.dec) < 95)
    unsure = set(np.flatnonzero(np.abs(volumes - 80) < 0.05).tolist())
    assert set(ids(found)) - unsure == set(np.flatnonzero(both).tolist()) - unsure


def test_filter_projection_and_order(api: Api) -> None:
    everything = sorted(ids(api.data("skymap", asked(credible_level=90))))
    even = [number for number in everything if number % 2 == 0]
    found = api.data("skymap", asked(credible_level=90, filter={"even": True}), sort=[["_id", -1]], skip=2, limit=7)
    assert ids(found) == even[::-1][2:9]
    (row,) = api.data("skymap", asked(credible_level=90, filter={"_id": even[0]}, projection={"_id": 0, "even": 1}))
    assert row.keys() == {"even", "skymap"}
    (row,) = api.data("skymap", asked(credible_level=90, filter={"_id": even[0]}, projection={"_id": 0}))
    assert row.keys() == {"even", "skymap", "host", "coordinates"}
    many = api.data("skymap", asked(credible_level=100, projection={}), sort=[["_id", 1]])
    assert ids(many) == list(range(ROWS))
    assert len(many) > within.READ


@pytest.mark.parametrize(
    ("skymap", "message"),
    [
        ({"credible_level": 101}, "less than or equal to 100"),
        ({"credible_level": 0}, "greater than 0"),
        ({"credible_volume": 50}, "distance is missing"),
        ({"sort": "probability"}, "credible_level or credible_volume is expected"),
        ({"credible_level": 50, "distance": "$where"}, "distance"),
        ({"credible_level": 50, "dateobs": "2001-01-01T00:00:00"}, "ValueError: Skymap not found"),
        ({"credible_level": 50, "filter": {"$where": "1"}}, "forbidden operators"),
        ({"credible_level": 50, "catalog": "outbox"}, "Skymap not found|Protected collection"),
    ],
)
def test_what_is_refused(api: Api, skymap: dict[str, Any], message: str) -> None:
    query = asked(**skymap)
    if skymap.get("catalog") == "outbox":
        query["skymap"]["localization_name"] = "none"
    assert any(part in api.refusal("skymap", query) for part in message.split("|"))


MOCS = {"ascii": "3/100-103 5/0 6/4-7", "json": '{"3": [100, 101, 102, 103], "5": [0], "6": [4, 5, 6, 7]}'}


@pytest.mark.parametrize("kind", ["ascii", "json", "object", "fits", "fits 1"])
def test_mocs(api: Api, kind: str, tmp_path: Any) -> None:
    moc = MOC.from_string("2/25 5/0-1")
    given: dict[str, Any] = {"moc": MOCS.get(kind) or {"2": [25], "5": [0, 1]}}
    if kind.startswith("fits"):
        moc.save(tmp_path / "moc.fits", "fits", v1_compatible=kind.endswith("1"))
        given = {"content": base64.b64encode((tmp_path / "moc.fits").read_bytes()).decode()}
    answer = put(api, {"localization_name": kind, **given})
    assert answer.status_code == 200, answer.text
    # pixels of 1.8 deg, NESTED, tell where it is: all of its cells are unions of such
    from astropy import units
    from astropy_healpix import HEALPix

    pixels = HEALPix(nside=32, order="nested").lonlat_to_healpix(CATALOG.ra * units.deg, CATALOG.dec * units.deg)
    expected = np.flatnonzero((pixels >> 6 == 25) | (pixels < 2))
    assert expected.size > 0
    for level in (1, 100):  # evenly filled: one level
        assert sorted(ids(api.data("skymap", asked(kind, credible_level=level)))) == expected.tolist()


@pytest.mark.parametrize("moc", ["nonsense", "30/1", "3/9999999", "", {"a": [1]}, {"3": "x"}, [1], "{", {"3": []}])
def test_what_is_no_moc(api: Api, moc: Any) -> None:
    answer = put(api, {"localization_name": "bad", "moc": moc})
    assert answer.status_code == 400, answer.text
    assert "moc: " in answer.json()["message"]


def test_a_map_of_an_older_version_gets_its_cells(api: Api, stored: MongoDatabase) -> None:
    cone = {"ra": 20.0, "dec": 60.0, "error": 3.0, "localization_name": "older"}
    assert put(api, cone).status_code == 200
    found = stored["skymaps"].find_one_and_update({"localization_name": "older"}, {"$unset": {"cells": ""}})
    assert found is not None
    stored["skymap_cells"].delete_many({"store": found["cells"]["store"]})
    assert "PUT it once more" in api.refusal("skymap", asked("older", credible_level=50))
    assert "to add its cells" in put(api, cone).json()["message"]
    assert api.data("skymap", asked("older", credible_level=50))
    assert put(api, cone).status_code == 409


def test_cells_go_with_their_map(api: Api, stored: MongoDatabase) -> None:
    assert put(api, {"ra": 1.0, "dec": 2.0, "error": 3.0, "localization_name": "gone"}).status_code == 200
    found = stored["skymaps"].find_one({"localization_name": "gone"})
    assert found is not None
    pieces = {"store": found["cells"]["store"]}
    assert stored["skymap_cells"].count_documents(pieces) == 1
    body = {"dateobs": DATE, "localization_name": "gone"}
    answer = requests.delete(f"{api.url}/api/skymap", json=body, headers={"Authorization": api.token}, timeout=30)
    assert answer.json()["message"] == "deleted 1 skymap"
    assert stored["skymap_cells"].count_documents(pieces) == 0


def test_ten_million_pixels_are_no_map(api: Api, stored: MongoDatabase) -> None:
    from io import BytesIO

    from astropy.io import fits

    content = BytesIO()
    column = fits.Column("PROB", "B", array=np.ones(10_000_000, np.uint8))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(content)
    answer = put(api, {"localization_name": "large", "content": base64.b64encode(content.getvalue()).decode()})
    assert (answer.status_code, answer.json()["message"]) == (400, "10000000 rows are no HEALPix map")
    assert stored["skymaps"].count_documents({"localization_name": "large"}) == 0
