"""The watcher of notices: what it makes of them within a minute, what it keeps, and who sees it."""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from api_harness import PASSWORD, start_api
from confluent_kafka import Consumer
from gcn_harness import Gcn, alerts_at, gwalert, julian_date, until, voevent
from sky_by_numpy import Event, centres

from kowalski.config import ROOT, build, isolated_tree, merge, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.errors import ConfigError
from kowalski.local.programs import programs_of
from kowalski.settings import Database
from kowalski.watchers.gcn import consumer_settings, pattern_of

EVENT = Event(200.0, -15.0)
GW, NOTICES, CLASSIC = "igwn.gwalert", "gcn.notices.icecube.lvk", "gcn.classic.voevent.FERMI_GBM_FIN_POS"
RANDOM = np.random.default_rng(5)
NUMBER = 3_000
DEC = np.degrees(np.arcsin(np.clip(np.sin(np.radians(-15)) + RANDOM.normal(0, 0.25, NUMBER), -1, 1)))
RA = RANDOM.normal(200, 15, NUMBER) % 360
#: a quarter of the alerts is too old
AGES = RANDOM.uniform(0.1, 4, NUMBER)


@pytest.fixture
def gcn_settings(mongo_settings: Database, kafka: str) -> dict[str, Any]:
    """The settings of a watcher of topics that no other test uses."""
    prefix = f"t{secrets.token_hex(4)}."
    return {
        "database": mongo_settings.model_dump(exclude={"xmatch"}),
        "kafka": {"metadata_refresh": 0.5},
        "skymaps": {"hosts": ["127.0.0.1"]},
        "gcn": {
            "enabled": True,
            "bootstrap.servers": kafka,
            "group": prefix,
            "topics": [prefix + GW, f"{prefix}gcn.notices.*", f"{prefix}gcn.classic.voevent.*"],
            "credible_level": 90,
            "refresh_interval": 1,
        },
    }


@pytest.fixture
def gcn(gcn_settings: dict[str, Any], mongo: MongoDatabase, kafka: str, tmp_path: Path) -> Iterator[Gcn]:
    """The stream, and what a watcher makes of it."""
    prefix = gcn_settings["gcn"]["group"]

    def start() -> subprocess.Popen[bytes]:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kowalski": gcn_settings}))
        environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
        environment["KOWALSKI_CONFIG"] = str(tmp_path / "config.yaml")
        return subprocess.Popen([sys.executable, "-m", "kowalski.watchers.gcn"], cwd=ROOT, env=environment)

    stream = Gcn(kafka, prefix, mongo, start)
    stream.create(GW, NOTICES, CLASSIC)
    yield stream
    stream.close()


@pytest.fixture
def alerts(mongo: MongoDatabase) -> np.ndarray:
    """Alerts around the event; which of them are recent."""
    mongo["ZTF_alerts"].create_index([("candidate.jd", 1), ("coordinates.radec_geojson", "2dsphere"), ("candid", -1)])
    mongo["ZTF_alerts"].insert_many(alerts_at(RA, DEC, julian_date(0) - AGES))
    return np.asarray(AGES < 3)


def test_the_alerts_in_a_gravitational_waves_map_within_a_minute(gcn: Gcn, alerts: np.ndarray) -> None:
    gcn.start()
    until(lambda: list(gcn.mongo["processes"].find({"program": "gcn-watcher"})))
    begun = time.monotonic()
    gcn.send(GW, gwalert("S260518h", EVENT.file()))
    event = until(lambda: (found := gcn.event("S260518h")) and "searched" in found and found)
    taken = time.monotonic() - begun
    levels = EVENT.levels(RA, DEC)
    expected = np.flatnonzero((levels < 90) & alerts)
    assert 100 < expected.size < NUMBER - 100
    assert sorted(alert["candid"] for alert in event["alerts"]) == expected.tolist()
    told = [alert["candid"] for alert in event["alerts"]]
    np.testing.assert_allclose([alert["credible_level"] for alert in event["alerts"]], levels[told], atol=1e-8)
    assert (np.diff(levels[told]) >= 0).all()
    assert [alert["rank"] for alert in event["alerts"]] == list(range(1, expected.size + 1))
    assert event["searched"]["complete"]
    assert (event["retracted"], event["test"], event["aliases"]) == (False, False, ["LVC#S260518h"])
    skymap = gcn.mongo["skymaps"].find_one({"_id": event["skymap"]})
    assert skymap is not None
    assert {"contour50", "contour90", "contour95"} < skymap["contours"].keys()
    until(lambda: gcn.committed(GW) == 1)
    print(f"answered after {taken:.1f} s")
    assert taken < 60


def test_later_alerts_are_found_too_and_retractions_are_marked(gcn: Gcn, alerts: np.ndarray) -> None:
    gcn.start()
    gcn.send(GW, gwalert("S260518h", EVENT.file()))
    first = until(lambda: (found := gcn.event("S260518h")) and found["alerts"])
    middle = int(np.argmax(EVENT.probability))
    x, y, z = centres()[middle]
    place = np.degrees([np.arctan2(y, x)]) % 360, np.degrees([np.arcsin(z)])
    gcn.mongo["ZTF_alerts"].insert_many(alerts_at(*place, np.array([julian_date(0)]), first_candid=99_999))
    later = until(lambda: [alert for alert in (gcn.event("S260518h") or {})["alerts"] if alert["candid"] == 99_999])
    assert later[0]["credible_level"] == 0
    gcn.send(GW, gwalert("S260518h", EVENT.file(), "UPDATE", "2026-05-19T00:00:00Z"))
    gcn.send(GW, gwalert("S260518h", None, "RETRACTION"))
    event = until(lambda: (found := gcn.event("S260518h")) and found["retracted"] and found)
    assert [notice["kind"] for notice in event["notices"]] == ["PRELIMINARY", "UPDATE", "RETRACTION"]
    assert len(event["alerts"]) == len(first) + 1
    assert gcn.mongo["skymaps"].count_documents({}) == 2


def test_notices_of_all_kinds(gcn: Gcn) -> None:
    gcn.start()
    gcn.send(CLASSIC, voevent("Fermi#GBM_Fin_Pos_1", 10, 20, 5, TrigID=683571622))
    unified = {
        "mission": "IceCube",
        "id": ["run_1"],
        "trigger_time": "2026-02-03T04:05:06Z",
        "ra": 30.0,
        "dec": -5.0,
        "ra_dec_error": 2.0,
    }
    gcn.send(NOTICES, json.dumps(unified).encode())
    until(lambda: gcn.event("Fermi:683571622") and gcn.event("IceCube:run_1"))
    taken_back = (
        '<Citations><EventIVORN cite="retraction">ivo://nasa.gsfc.gcn/Fermi#GBM_Fin_Pos_1</EventIVORN></Citations>'
    )
    gcn.send(CLASSIC, voevent("Fermi#GBM_Ret_1", 10, 20, 5, taken_back, TrigID=683571622))
    until(lambda: (gcn.event("Fermi:683571622") or {}).get("retracted"))
    skymap = gcn.mongo["skymaps"].find_one({"localization_name": {"$regex": "^30.00000_-5.00000_0.93"}})
    assert skymap is not None  # 90 percent within 2 deg: a standard deviation of 0.93 deg


def test_what_can_not_be_read_is_kept_and_the_stream_goes_on(gcn: Gcn) -> None:
    gcn.start()
    broken = [
        b"<VOEvent",
        b"nonsense",
        b"[]",
        b"{}",
        gwalert("S1", b"no map"),
        b'{"id": 1, "trigger_time": "x"}',
        b"",
        b'{"superevent_id": 5}',
    ]
    broken += [
        json.dumps(
            {"id": ["\ud800"], "ra": 10**400, "dec": 1, "ra_dec_error": 1, "trigger_time": "2026-01-01"}
        ).encode()
    ]
    broken += [
        json.dumps(
            {"id": "private", "trigger_time": "2026-01-01", "healpix_url": "http://169.254.169.254/map.fits"}
        ).encode()
    ]
    for content in broken:
        gcn.send(NOTICES, content)
    gcn.send(NOTICES, gwalert("S260518h", EVENT.file()))
    until(lambda: gcn.event("S260518h"))
    kept = list(gcn.mongo["quarantine_gcn"].find().sort("offset", 1))
    assert [bytes(each["content"]) for each in kept] == broken
    reasons = [each["reason"] for each in kept]
    assert all(reasons)
    assert "fetched by https from" in reasons[-1]
    assert gcn.mongo["gcn_events"].count_documents({}) == 1
    until(lambda: gcn.committed(NOTICES) == len(broken) + 1)


class Observatory(BaseHTTPRequestHandler):
    """Has a sky map, but fails at first."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        fine = type(self).asked > 1
        self.send_response(200 if fine else 503)
        self.end_headers()
        self.wfile.write(EVENT.file() if fine else b"")

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


def test_a_map_that_can_not_be_had_now_is_fetched_later(gcn: Gcn, alerts: np.ndarray) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Observatory)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/late.fits"
    gcn.start()
    gcn.send(
        NOTICES, json.dumps({"id": "late", "mission": "X", "trigger_time": "2026-01-01", "healpix_url": url}).encode()
    )
    kept = until(lambda: gcn.mongo["quarantine_gcn"].find_one())
    assert "503" in kept["reason"]
    assert gcn.committed(NOTICES) == 1
    gcn.mongo["quarantine_gcn"].update_one({"_id": kept["_id"]}, {"$set": {"again_at": kept["at"]}})
    event = until(lambda: (found := gcn.event("X:late")) and found["alerts"] and found)
    assert len(event["alerts"]) == np.count_nonzero((EVENT.levels(RA, DEC) < 90) & alerts)
    until(lambda: gcn.mongo["quarantine_gcn"].count_documents({}) == 0)
    server.shutdown()


def test_nothing_is_lost_or_doubled_when_it_is_killed(gcn: Gcn, alerts: np.ndarray) -> None:
    for number in range(4):
        gcn.send(GW, gwalert(f"S26051{number}a", EVENT.file()))
    first = gcn.start()
    until(lambda: gcn.mongo["gcn_events"].count_documents({}) >= 1)
    first.kill()
    first.wait()
    gcn.start()
    until(lambda: gcn.mongo["gcn_events"].count_documents({"searched": {"$exists": True}}) == 4)
    until(lambda: gcn.committed(GW) == 4)
    number = np.count_nonzero((EVENT.levels(RA, DEC) < 90) & alerts)
    for event in gcn.mongo["gcn_events"].find():
        assert len(event["alerts"]) == number
        assert len(event["notices"]) == 1
    assert gcn.mongo["skymaps"].count_documents({}) == 4


def test_it_ends_in_good_order_when_asked(gcn: Gcn) -> None:
    process = gcn.start()
    until(lambda: list(gcn.mongo["processes"].find({"program": "gcn-watcher"})))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert gcn.mongo["processes"].count_documents({}) == 0


def test_users_see_what_is_theirs(gcn: Gcn, alerts: np.ndarray, mongo_settings: Database, tmp_path: Path) -> None:
    gcn.start()
    gcn.send(GW, gwalert("S260518h", EVENT.file()))
    event = until(lambda: (found := gcn.event("S260518h")) and found["alerts"] and found)
    api = start_api(tmp_path / "api", mongo_settings)
    try:
        api.wait_ready()
        api.token = api.log_in().json()["token"]
        body = {"username": "somebody", "password": PASSWORD}
        assert api.post("/api/users", body).status_code == 200
        somebody = api.log_in("somebody").json()["token"]
        whole, part = (api.get("/api/gcn/S260518h", token).json()["data"] for token in (None, somebody))
        assert [alert["candid"] for alert in whole["alerts"]] == [alert["candid"] for alert in event["alerts"]]
        public = [alert["candid"] for alert in event["alerts"] if alert["programid"] == 1]
        assert [alert["candid"] for alert in part["alerts"]] == public
        assert [alert["rank"] for alert in part["alerts"]] == list(range(1, len(public) + 1))
        (listed,) = api.get("/api/gcn", somebody).json()["data"]
        assert (listed["event"], listed["alerts"]) == ("S260518h", len(public))
        missing = api.get("/api/gcn/S0")
        assert (missing.status_code, missing.json()["message"]) == (400, "no notice told of the event S0")
        assert requests.get(f"{api.url}/api/gcn", timeout=30).status_code == 401
        query = {"query_type": "find", "query": {"catalog": "gcn_events", "filter": {}}}
        assert "Protected collection" in api.post("/api/queries", query, somebody).json()["message"]
    finally:
        api.stop()


class Tokens(BaseHTTPRequestHandler):
    """Notes what it is asked for a token with."""

    asked: list[tuple[str, str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.headers.get("Authorization", ""), body))
        self.send_response(401)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


def test_a_token_is_asked_for_with_id_and_secret() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = {"client_id": "me", "client_secret": "hush", "oauth_url": f"http://127.0.0.1:{server.server_port}/token"}
    settings = consumer_settings(_config(own))
    assert settings["bootstrap.servers"] == "kafka.gcn.nasa.gov:9092"
    consumer = Consumer({**settings, "bootstrap.servers": "127.0.0.1:1"})
    until(lambda: Tokens.asked)
    consumer.close()
    authorization, body = Tokens.asked[0]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:hush"
    assert "grant_type=client_credentials" in body
    server.shutdown()


def _config(gcn: dict[str, Any]) -> Any:
    return build(merge(settings_tree([], environment={}), {"gcn": gcn}))


def test_settings() -> None:
    assert "security.protocol" not in consumer_settings(_config({}))
    with pytest.raises(ConfigError, match="client_secret: both or none"):
        _config({"client_id": "me"})
    assert pattern_of("igwn.gwalert") == "igwn.gwalert"
    assert pattern_of("gcn.notices.*") == r"^gcn\.notices\..*"


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_started_where_it_is_enabled(enabled: bool, tmp_path: Path) -> None:
    programs: Callable[..., Any] = programs_of
    config = build(isolated_tree({"gcn": {"enabled": enabled}}))
    names = [each.name for each in programs(config, tmp_path, None, False, {})]
    assert ("gcn-watcher" in names) is enabled
