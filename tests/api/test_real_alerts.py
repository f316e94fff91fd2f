"""Queries on real ZTF alerts."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_harness import Api
from bson import json_util
from packets import real_packets

from kowalski.alerts.document import Alert, read_batch
from kowalski.alerts.survey import get_survey
from kowalski.database.client import MongoDatabase


@pytest.fixture(scope="module")
def alerts(test_data: Path, stored: MongoDatabase) -> Iterator[list[Alert]]:
    """The real alerts, stored as ``Real_alerts``."""
    read, refused = read_batch(real_packets(test_data), get_survey("ZTF"))
    assert len(read) == 36
    assert refused == []
    stored["Real_alerts"].create_index([("coordinates.radec_geojson", "2dsphere")])
    stored["Real_alerts"].insert_many(dict(alert.document) for alert in read)
    yield read
    stored["Real_alerts"].drop()


def test_a_whole_alert_comes_back_as_it_was(api: Api, alerts: list[Alert]) -> None:
    for alert in alerts[:5]:
        text = api.ask("find_one", {"catalog": "Real_alerts", "filter": {"candid": alert.candid}}).text
        found: dict[str, Any] = json_util.loads(text)["data"]
        assert type(found["candid"]) is int
        assert found["candid"] == alert.candid
        assert found["candidate"] == pytest.approx(alert.candidate, nan_ok=True)
        assert gzip.decompress(found["cutoutScience"]["stampData"]).startswith(b"SIMPLE")


def test_all_of_them_in_one_answer(api: Api, alerts: list[Alert]) -> None:
    found = api.data("find", {"catalog": "Real_alerts"})
    assert {row["candid"] for row in found} == {alert.candid for alert in alerts}


def test_each_is_found_at_its_position(api: Api, alerts: list[Alert]) -> None:
    radec = {str(alert.candid): [alert.ra, alert.dec] for alert in alerts}
    part = {"projection": {"_id": 0, "candid": 1, "coordinates.radec_geojson": 1}}
    coordinates = {"cone_search_radius": 1.5, "cone_search_unit": "arcsec", "radec": radec}
    found = api.data("cone_search", {"object_coordinates": coordinates, "catalogs": {"Real_alerts": part}})[
        "Real_alerts"
    ]
    for candid, rows in found.items():
        assert rows[0]["coordinates"]["distance_arcsec"] == pytest.approx(0, abs=1e-3)
        assert int(candid) in [row["candid"] for row in rows]
