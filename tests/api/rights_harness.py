"""An API over alerts of all programmes, and users who may see some of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from api_harness import Api, start_api
from archive import ZTF, store, store_real_alerts
from bson import json_util

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, read_batch
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database
from kowalski.simulation.night import simulate

USERS: dict[str, dict[str, Any]] = {
    "public": {},
    "partner": {"ZTF": [1, 2]},
    "caltech": {"ZTF": [2, 3]},  # the public data need no permission
    "infrared": {"PGIR": True, "WNTR": [2], "ZTF": False},  # and can't be taken away
}
#: ZTF's programids
SEEN = {"public": {1}, "partner": {1, 2}, "caltech": {1, 2, 3}, "infrared": {1}, "admin": {0, 1, 2, 3}}


class Archive:
    """An API, its database, the alerts in it, and its users' tokens."""

    def __init__(self, api: Api, database: MongoDatabase, alerts: list[Alert]):
        self.api, self.database, self.alerts = api, database, alerts
        self.tokens = {"admin": api.token}

    def ask(self, who: str, query_type: str, query: dict[str, Any], **kwargs: Any) -> requests.Response:
        return self.api.ask(query_type, query, token=self.tokens[who], **kwargs)

    def data(self, who: str, query_type: str, query: dict[str, Any], **kwargs: Any) -> Any:
        """The data of a query that works."""
        answer = self.ask(who, query_type, query, **kwargs)
        assert answer.status_code == 200, answer.text
        return json_util.loads(answer.text).get("data")

    def refusal(self, who: str, query_type: str, query: dict[str, Any], **kwargs: Any) -> str:
        """The message of a query that is refused."""
        answer = self.ask(who, query_type, query, **kwargs)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["message"])

    def rows(self, who: str, catalog: str, *stages: dict[str, Any]) -> list[dict[str, Any]]:
        """What an aggregate that works gives."""
        found: list[dict[str, Any]] = self.data(who, "aggregate", {"catalog": catalog, "pipeline": list(stages)})
        return found

    def visible(self, who: str) -> set[int]:
        """Candids that a user may see."""
        return {alert.candid for alert in self.alerts if alert.candidate["programid"] in SEEN[who]}

    def hidden(self, who: str) -> list[Alert]:
        return [alert for alert in self.alerts if alert.candidate["programid"] not in SEEN[who]]


@contextmanager
def open_archive(test_data: Path, settings: Database, folder: Path) -> Iterator[Archive]:
    """36 real packets and 60 simulated ones of all programmes, with their objects and the real indexes."""
    database = connect(settings)
    made, _ = read_batch([Packet(each.data, "rights", 0, number) for number, each in enumerate(simulate(60, 5))], ZTF)
    store(database, made)
    alerts = store_real_alerts(database, test_data) + made
    assert len(alerts) == 96
    database["ZTF_alerts_aux"].update_many({}, {"$set": {"matched": {"candid": alerts[0].candid}}})
    labels = [{"_id": alert.candid, "human_labels": {"SN": 1.0}} for alert in alerts]
    database["ZTF_alerts_classifications"].insert_many(labels)
    database["ZTF_alerts_of_old"].insert_many({"_id": alert.candid} for alert in alerts)
    database["PGIR_alerts"].insert_one({"candid": 5, "objectId": "PGIR1", "candidate": {"jd": 1.0}})
    database["LSST_alerts"].insert_one({"candid": 6, "objectId": "1", "candidate": {"jd": 1.0}})
    database["WNTR_alerts"].insert_many({"candid": number, "candidate": {"programid": number}} for number in (1, 2))
    database["Stars"].insert_many({"_id": alert.candid, "objectId": alert.object_id} for alert in alerts)
    api = start_api(folder, settings)
    try:
        api.wait_ready()
        api.token = api.log_in().json()["token"]
        archive = Archive(api, database, alerts)
        for name, permissions in USERS.items():
            api.post("/api/users", {"username": name, "password": "x", "permissions": permissions})
            archive.tokens[name] = api.log_in(name, "x").json()["token"]
        yield archive
    finally:
        api.stop()
        database.client.close()
