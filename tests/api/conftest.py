"""An API for the tests of its routes, over a database with a few documents."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from accounts_harness import OWN, MakeUser, call, message
from api_harness import EXPORTED, Api, start_api
from rights_harness import SEEN, Archive, open_archive

from kowalski.alerts.coordinates import position
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

#: rows of the catalogue around (150, 2): their distances from there in arcsec, north of it
NORTH = [50.0, 10.0, 30.0, 1.0, 500.0]


@pytest.fixture(scope="session")
def api_settings(fresh_database: Callable[[], Database]) -> Database:
    """Settings of the database that all tests of routes share, with documents that they don't change."""
    return fresh_database()


@pytest.fixture(scope="session")
def stored(api_settings: Database) -> Iterator[MongoDatabase]:
    """The documents: ``Stars`` near (150, 2), ``Pole``, ``ZTF_alerts`` and the closed collections."""
    database = connect(api_settings)
    database["Stars"].create_index([("coordinates.radec_geojson", "2dsphere")], name="radec")
    database["Stars"].insert_many(
        {"_id": number, "mag": 20 - number, "coordinates": position(150.0, 2.0 + arcsec / 3600)}
        for number, arcsec in enumerate(NORTH)
    )
    database["Pole"].insert_one({"_id": "polaris", "coordinates": position(0.0, 89.9999)})
    database["ZTF_alerts"].create_index([("candid", -1)], name="candid", unique=True)
    database["ZTF_alerts"].insert_many(_alert(number) for number in range(5))
    database["outbox"].insert_one({"secret": True})
    yield database
    database.client.close()


def _alert(number: int) -> dict[str, Any]:
    candid = 2_475_433_850_315_015_008 + number
    return {
        "objectId": f"ZTF23aaaaaa{'abcde'[number]}",
        "candid": candid,
        "candidate": {"candid": candid, "jd": 2460000.5 + number, "magpsf": 18.0 - number, "programid": 1},
        "classifications": {"braai": number / 4},
    }


@pytest.fixture(scope="session")
def api(stored: MongoDatabase, api_settings: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over these documents, with two workers."""
    running = start_api(tmp_path_factory.mktemp("api"), api_settings, tables={"export_bytes": EXPORTED}, processes=2)
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        yield running
    finally:
        running.stop()


@pytest.fixture
def another_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Api]]:
    """A function that starts another API (arguments as `start_api` after the folder), stopped at the end."""
    started: list[Api] = []

    def start(*arguments: Any, **settings: Any) -> Api:
        started.append(start_api(tmp_path_factory.mktemp("api"), *arguments, **settings))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def archive(
    test_data: Path, fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Archive]:
    """An API over alerts of all programmes, with users who may see some of them."""
    with open_archive(test_data, fresh_database(), tmp_path_factory.mktemp("rights")) as archive:
        yield archive


@pytest.fixture(params=list(SEEN))
def who(request: pytest.FixtureRequest) -> str:
    """Each of the archive's users."""
    return str(request.param)


@pytest.fixture
def make_user(api: Api, stored: MongoDatabase) -> Iterator[MakeUser]:
    """A function that makes a user (arguments: name, fields of the body) and gives his token; removed at the end."""
    made = []

    def make(username: str, **fields: Any) -> str:
        body = {"username": username, "password": OWN} | fields
        assert message(call(api, "POST", "/api/users", body)) == f"added user {username}"
        made.append(username)
        token: str = api.log_in(username, body["password"]).json()["token"]
        return token

    yield make
    for username in made:
        call(api, "DELETE", f"/api/users/{quote(username, safe='')}")
    stored["logins"].delete_many({})
