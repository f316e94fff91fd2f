"""The real packets of PGIR, WINTER and TURBO through every part, side by side: Kafka, dask, MongoDB, poster, API."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from astropy.io import fits
from conftest import Chain, filter_document
from packets import changed
from PIL import Image

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import decode
from kowalski.local.system import LocalSystem
from kowalski.night.packets import packets_from

#: alerts and objects of the real packets
COUNTS = {"PGIR": (17, 15), "WNTR": (11, 11), "TURBO": (11, 11)}
FILTERS = {name: number for number, name in enumerate(COUNTS, 1)}
ROLES = ("science", "template", "difference")


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Iterator[dict[str, Chain]]:
    """A system of these three surveys, each with a filter that lets all pass, once their real packets are through."""
    changes: dict[str, Any] = {f"dask_{name.lower()}": {"n_workers": 1} for name in COUNTS}
    changes |= {"kafka": {"metadata_refresh": 1}, "skyportal": {"bands": {"TURBO": {1: "bessellv"}}}}
    system = LocalSystem.isolated(tmp_path_factory.mktemp("surveys"), changes, surveys=tuple(COUNTS))
    system.start()
    chains = {name: Chain(system, name) for name in COUNTS}
    for name, chain in chains.items():
        shown = {"annotations": {"magpsf": "$candidate.magpsf", "history": {"$size": "$prv_candidates"}}}
        pipeline = [{"$match": {"candidate.magpsf": {"$lt": 30}}}, {"$project": shown}]
        changes = {"catalog": chain.survey.alerts, "permissions": [1]}
        chain.put_filters(filter_document(FILTERS[name], pipeline, **changes))
        sent = chain.publish(packet.data for packet in packets_from(f"dir:{test_data / f'{name.lower()}_alerts'}"))
        assert sent == COUNTS[name][0]
    for name, chain in chains.items():
        chain.wait(lambda: chain.committed() == COUNTS[name][0] and not chain.pending(), f"{name} done")  # noqa: B023
    yield chains
    system.stop()
    assert system.processes() == []


@pytest.fixture(params=COUNTS)
def chain(request: pytest.FixtureRequest, surveys: dict[str, Chain]) -> Chain:
    found: Chain = surveys[request.param]
    return found


@pytest.fixture(scope="module")
def token(surveys: dict[str, Chain]) -> str:
    server = surveys["PGIR"].system.config.server
    login = {"username": server.admin_username, "password": server.admin_password}
    answer = requests.post(f"{api(surveys['PGIR'])}/api/auth", json=login, timeout=30)
    found: str = answer.json()["token"]
    return found


def api(chain: Chain) -> str:
    server = chain.system.config.server
    return f"http://{server.host}:{server.port}"


def test_all_is_stored_and_posted(chain: Chain) -> None:
    survey, database = chain.survey, chain.database
    assert (chain.stored(), database[survey.aux].count_documents({})) == COUNTS[survey.name]
    alerts = list(database[survey.alerts].find({}, {"candid": 1, "objectId": 1}))
    posted = chain.posted({alert["objectId"] for alert in alerts})
    assert sorted(posted) == sorted((alert["candid"], FILTERS[survey.name]) for alert in alerts)
    assert database.outbox.count_documents({"survey": survey.name, "state": {"$ne": "delivered"}}) == 0
    assert database.quarantine.count_documents({}) == 0
    assert chain.received()["violations"] == []


def test_skyportal_has_light_curves_and_pictures(chain: Chain) -> None:
    for aux in chain.database[chain.survey.aux].find():
        got = requests.get(f"{chain.system.config.skyportal.url}/_received/{aux['_id']}", timeout=10).json()
        assert {"new", "ref", "sub"} == set(got["thumbnails"]), aux["_id"]
        assert len(got["photometry"]) >= 1 + (chain.survey.name == "WNTR"), aux["_id"]


@pytest.mark.parametrize("role", ROLES)
def test_cutouts_of_the_api(chain: Chain, token: str, test_data: Path, role: str) -> None:
    """Each as PNG, and as FITS: the packet's pixels, turned as they are shown."""
    survey = chain.survey
    for file in sorted((test_data / f"{survey.name.lower()}_alerts").rglob("*.avro"))[::5]:
        (record,) = decode(file.read_bytes())
        path = f"{api(chain)}/api/cutouts/{survey.name.lower()}/{record['candid']}/{role}"
        png, whole = (
            requests.get(f"{path}/{kind}", headers={"Authorization": token}, timeout=30) for kind in ("png", "fits")
        )
        assert (png.status_code, png.headers["Content-Type"]) == (200, "image/png"), png.text
        assert Image.open(io.BytesIO(png.content)).size == (168, 168)
        assert (whole.status_code, whole.headers["Content-Type"]) == (200, "image/fits"), whole.text
        assert f"{survey.name.lower()}_{record['candid']}_{role}.fits" in whole.headers["Content-Disposition"]
        with fits.open(io.BytesIO(whole.content)) as units:
            shown = survey.orient(read_stamp(gzip.compress(gzip.decompress(survey.stamp(record, role)))))
            assert np.array_equal(units[0].data.astype(np.float32), shown, equal_nan=True)


def test_objects_of_the_api(chain: Chain, token: str) -> None:
    survey = chain.survey
    for aux in chain.database[survey.aux].find():
        path = f"{api(chain)}/api/objects/{survey.name.lower()}/{aux['_id']}"
        found = requests.get(path, headers={"Authorization": token}, timeout=30).json()["data"]
        assert found["objectId"] == aux["_id"]
        assert len(found["light_curve"]) >= len(aux["prv_candidates"])
        band = {"PGIR": "cspjs", "WNTR": "2massj", "TURBO": "bessellv"}[survey.name]
        assert {point["band"] for point in found["light_curve"]} == {band}
        assert found["cross_matches"]["ZTF_alerts"] == []


def test_nobody_sees_what_he_may_not(chain: Chain, token: str) -> None:
    """PGIR has no programmes: a list of them gives nothing, ``true`` gives all. The others' alerts are of programme 1."""
    survey, url = chain.survey, api(chain)

    def ask(path: str, body: Any, token: str | None) -> requests.Response:
        headers = {"Authorization": token} if token else {}
        return requests.post(f"{url}/api/{path}", json=body, headers=headers, timeout=30)

    seen = []
    for number, permission in enumerate(([2], [1], True)):
        login = {"username": f"{survey.name}-{number}", "password": "a long password"}
        assert ask("users", login | {"permissions": {survey.name: permission}, "groups": [1]}, token).status_code == 200
        own = ask("auth", login, None).json()["token"]
        query = {"query_type": "count_documents", "query": {"catalog": survey.alerts, "filter": {}}}
        count = ask("queries", query, own).json()["data"]
        wanted = {
            "group_id": 1,
            "filter_id": 10 * FILTERS[survey.name] + number,
            "pipeline": [{"$match": {"candid": 1}}],
        }
        wanted |= {"catalog": survey.alerts, "permissions": [1] if survey.program_field else []}
        seen.append((count, ask("filters", wanted, own).status_code))
    alerts = COUNTS[survey.name][0]
    middle = (0, 400) if survey.program_field is None else (alerts, 200)
    assert seen == [(0, 400), middle, (alerts, 200)]


def test_points_of_a_band_without_a_name_are_counted(surveys: dict[str, Chain], test_data: Path) -> None:
    """They are not sent, and ``status`` says how many they are."""
    chain = surveys["TURBO"]

    def elsewhere(record: dict[str, Any]) -> None:
        record |= {"candid": 5000, "objectId": "None.5000"}
        record["candidate"]["fid"] = 9

    chain.publish([changed((test_data / "turbo_alerts" / "1.avro").read_bytes(), elsewhere)])

    def counted() -> bool:
        beat = chain.database.processes.find_one({"program": "poster"})
        return beat is not None and beat.get("without_band") == {"TURBO fid 9": 1}

    chain.wait(counted, "the point counted")
    chain.wait(lambda: chain.pending() == 0, "the alert posted")
    got = requests.get(f"{chain.system.config.skyportal.url}/_received/None.5000", timeout=10).json()
    assert (len(got["candidates"]), got["photometry"]) == (1, [])
