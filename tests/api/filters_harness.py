"""An API of which a test may change the filters, over the real alerts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from api_harness import ADMIN, Api, start_api
from bson import json_util
from packets import real_packets

from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import get_survey
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

ZTF = get_survey("ZTF")
MATCH = {"$match": {"candidate.drb": {"$gt": 0.5}}}
PROJECT = {"$project": {"annotations": {"points": {"$size": "$prv_candidates"}, "magpsf": "$candidate.magpsf"}}}
POST = {"filter_id": 1, "group_id": 1, "catalog": "ZTF_alerts", "permissions": [1, 2], "pipeline": [MATCH, PROJECT]}


class Room:
    """An API of which a test may change the filters."""

    def __init__(self, api: Api, database: MongoDatabase, settings: Database):
        self.api, self.database, self.settings = api, database, settings
        self.tokens = {ADMIN: api.token}

    def call(self, method: str, path: str, body: Any = None, who: str = ADMIN) -> requests.Response:
        headers = {"Authorization": self.tokens[who]}
        return requests.request(method, self.api.url + path, json=body, headers=headers, timeout=60)

    def good(self, method: str, path: str, body: Any = None, who: str = ADMIN) -> dict[str, Any]:
        answer = self.call(method, path, body, who)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = json_util.loads(answer.text)
        assert content["status"] == "success"
        return content

    def refused(self, method: str, path: str, body: Any = None, who: str = ADMIN) -> str:
        answer = self.call(method, path, body, who)
        assert (answer.status_code, answer.json()["status"]) == (400, "error"), answer.text
        return str(answer.json()["message"])


@pytest.fixture(scope="module")
def running(fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    settings = fresh_database()
    database = connect(settings)
    api = start_api(tmp_path_factory.mktemp("filters"), settings, processes=2)
    try:
        api.wait_ready()
        api.token = api.log_in().json()["token"]
        room = Room(api, database, settings)
        for name, fields in {"member": {"groups": [1], "permissions": {"ZTF": [1, 2]}}, "public": {"groups": [1]}, "other": {"groups": [2]}}.items():  # fmt: skip
            room.good("POST", "/api/users", {"username": name, "password": "x", **fields})
            room.tokens[name] = api.log_in(name, "x").json()["token"]
        yield room
    finally:
        api.stop()
        database.client.close()


@pytest.fixture
def room(running: Room) -> Room:
    """Without filters and alerts."""
    for name in ("filters", "filter_checks", "filter_runs", "ZTF_alerts", "ZTF_alerts_aux", "ZTF_alerts_aux_older"):
        running.database[name].delete_many({})
    return running


@pytest.fixture
def alerts(room: Room, test_data: Path) -> list[Alert]:
    """The real alerts with their objects."""
    found, _ = read_batch(real_packets(test_data), ZTF)
    room.database["ZTF_alerts"].insert_many([dict(alert.document) for alert in found])
    for object_id in {alert.object_id for alert in found}:
        own = [arrival(alert, ZTF) for alert in found if alert.object_id == object_id]
        room.database["ZTF_alerts_aux"].insert_one({"_id": object_id, **merged({}, own, ZTF), "cross_matches": {}})
    return found
