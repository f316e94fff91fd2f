"""LSST's real messages through every part: schema missing at first, into quarantine and out of it, to SkyPortal and the API."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from astropy.io import fits
from conftest import Chain, filter_document
from PIL import Image
from test_demo import kowalski

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import decode
from kowalski.local.system import LocalSystem
from kowalski.ml.fetch import copy_schemas

ROLES = ("science", "template", "difference")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Iterator[Chain]:
    """A system of LSST alone, whose alerts were refused for want of a schema, and replayed when it was there."""
    folder = tmp_path_factory.mktemp("lsst")
    changes: dict[str, Any] = {"dask_lsst": {"n_workers": 1}, "kafka": {"metadata_refresh": 1}}
    changes["schemas"] = {"LSST": {"folder": str(folder / "schemas")}}
    system = LocalSystem.isolated(folder / "system", changes, surveys=("LSST",))
    system.start()
    chain = Chain(system, "LSST")
    shown = {"annotations": {"flux": "$diaSource.psfFlux", "history": {"$size": "$prvDiaSources"}}}
    pipeline = [{"$match": {"candidate.reliability": {"$gt": 0}}}, {"$project": shown}]
    chain.put_filters(filter_document(1, pipeline, catalog="LSST_alerts", permissions=[]))
    messages = sorted((test_data / "lsst_alerts" / "v10_wire").glob("*.wire"))
    assert chain.publish(path.read_bytes() for path in messages) == 10
    chain.wait(lambda: chain.committed() == 10, "all read")
    refused = list(chain.database.quarantine.find())
    assert (len(refused), {each["reason"] for each in refused}) == (10, {"unknown_schema"})
    assert copy_schemas("LSST", folder / "schemas", test_data) == 7
    for night in sorted({f"{each['timestamp']:%Y%m%d}" for each in refused}):
        result = kowalski(
            "replay", "LSST", night, "--from", "quarantine", KOWALSKI_CONFIG=str(chain.system.config_file)
        )
        assert result.returncode == 0, result.stderr
    chain.wait(lambda: chain.stored() == 10 and not chain.pending(), "all posted")
    yield chain
    system.stop()
    assert system.processes() == []


def sources(test_data: Path) -> list[dict[str, Any]]:
    paths = sorted((test_data / "lsst_alerts" / "v10").glob("*.avro"))
    return [record for path in paths for record in decode(path.read_bytes())]


@pytest.fixture(scope="module")
def ask(chain: Chain) -> Any:
    """A function that gives the API's answer to the admin."""
    server = chain.system.config.server
    url, login = f"http://{server.host}:{server.port}", {"username": server.admin_username, "password": server.admin_password}  # fmt: skip
    token = requests.post(f"{url}/api/auth", json=login, timeout=30).json()["token"]

    def get(path: str) -> requests.Response:
        return requests.get(f"{url}/api/{path}", headers={"Authorization": token}, timeout=30)

    return get


def test_quarantine_is_empty_and_skyportal_has_all(chain: Chain, test_data: Path) -> None:
    assert chain.database.quarantine.count_documents({}) == 0
    assert chain.database.outbox.count_documents({"state": {"$ne": "delivered"}}) == 0
    assert chain.received()["violations"] == []
    for record in sources(test_data):
        source = record["diaSource"]
        got = chain.received_of(str(source["diaObjectId"]))
        assert [each["candid"] for each in got["candidates"]] == [source["diaSourceId"]]
        assert {"new", "ref", "sub"} == set(got["thumbnails"])
        assert len(got["photometry"]) == 1 + len(record["prvDiaSources"] or ())


def test_objects_of_the_api(chain: Chain, ask: Any, test_data: Path) -> None:
    for record in sources(test_data):
        source = record["diaSource"]
        found = ask(f"objects/lsst/{source['diaObjectId']}").json()["data"]
        assert [alert["candid"] for alert in found["alerts"]] == [source["diaSourceId"]]
        assert {point["band"] for point in found["light_curve"]} == {f"lsst{source['band']}"}
        assert len(found["light_curve"]) == 1 + len(record["prvDiaSources"] or ())


@pytest.mark.parametrize("role", ROLES)
def test_cutouts_of_the_api(chain: Chain, ask: Any, test_data: Path, role: str) -> None:
    for record in sources(test_data)[::4]:
        path = f"cutouts/lsst/{record['diaSourceId']}/{role}"
        png, whole = ask(f"{path}/png"), ask(f"{path}/fits")
        assert Image.open(io.BytesIO(png.content)).size == (168, 168)
        with fits.open(io.BytesIO(whole.content)) as units:
            expected = read_stamp(chain.survey.stamp(record, role))
            assert np.array_equal(units[0].data.astype(np.float32), expected, equal_nan=True)
