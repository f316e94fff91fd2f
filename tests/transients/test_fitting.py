"""The program that fits, as a process of its own: it answers what is asked, is killed, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from bson.int64 import Int64
from emptied import mongo_settings, shared_settings
from supernovae import Supernova

from kowalski.alerts.coordinates import position
from kowalski.config import ROOT, build, merge, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.fits import NO_FIT, Fits, Request
from kowalski.database.links import Link, Links
from kowalski.database.outbox import Outbox
from kowalski.database.processes import Processes
from kowalski.settings import Config, Database
from kowalski.transients import fitting as module
from kowalski.transients.fitting import Fitting
from kowalski.transients.photometry import ZERO_POINT
from kowalski.transients.pool import FitPool
from kowalski.transients.salt2 import Salt2Fitter
from kowalski.transients.subject import Subjects

__all__ = ["mongo_settings", "shared_settings"]

ORIGIN = {"topic": "ztf_20260101_programid1", "partition": 0, "offset": Int64(5), "timestamp": None}
Start = Callable[..., subprocess.Popen[bytes]]


def until(condition: Callable[[], Any], patience: float = 90) -> Any:
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)
    return found


def store(database: MongoDatabase, supernova: Supernova, name: str = "ZTF26aaaaaaa") -> Request:
    """A supernova as the chain stores it, all of it forced photometry but for one alert, and the request for its fit."""
    photometry = supernova.photometry
    fids = {"ztfg": 1, "ztfr": 2, "ztfi": 3}
    points = [
        {
            "jd": mjd + 2400000.5, "fid": fids[band], "programid": 2, "procstatus": "0", "forcediffimflux": flux,
            "forcediffimfluxunc": error, "magzpsci": ZERO_POINT,
        }
        for mjd, flux, error, band in zip(photometry.mjd.tolist(), photometry.flux.tolist(), photometry.error.tolist(), photometry.band.tolist(), strict=True)
    ]  # fmt: skip
    best = int(np.argmax(photometry.flux))
    jd, magnitude = points[best]["jd"] + 0.01, float(ZERO_POINT - 2.5 * np.log10(photometry.flux[best]))
    candid = Int64(2_000_000_000_000_000_007)
    candidate = {"jd": jd, "candid": candid, "fid": fids[str(photometry.band[best])], "programid": 1, "magpsf": magnitude, "sigmapsf": 0.03, "isdiffpos": "t"}  # fmt: skip
    database["ZTF_alerts"].insert_one({"objectId": name, "candid": candid, "candidate": candidate})
    host = {"z": supernova.host.z, "coordinates": {**position(10.0, 20.0), "distance_arcsec": 3.0}}
    first = {"jd": jd, "candid": candid, "ra": 10.0, "dec": 20.0}
    database["ZTF_alerts_aux"].insert_one({"_id": name, "prv_candidates": [], "fp_hists": points, "first_alert": first, "cross_matches": {"NED_BetaV3": [host]}})  # fmt: skip
    request = Request("ZTF", name, int(candid), jd, ORIGIN, True)
    Fits(database).request([request], datetime.now(UTC))
    return request


@pytest.fixture
def config(mongo_settings: Database, salt2_files: Path) -> Config:
    """Settings with fits, and somebody who listens to them."""
    changes = {
        "transients": {"enabled": True, "salt2": {"folder": str(salt2_files), "lease": 10, "interval": 0.1}},
        "kafka": {"output": {"bootstrap.servers": "127.0.0.1:9"}},
        "database": mongo_settings.model_dump(exclude={"xmatch"}),
    }
    return build(merge(settings_tree([], {}), changes))


@pytest.fixture
def start(config: Config, tmp_path: Path) -> Iterator[Start]:
    """A function that starts the program; none is left afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**salt2: Any) -> subprocess.Popen[bytes]:
        tree = {
            "transients": {"enabled": True, "salt2": {**config.transients.salt2.model_dump(include={"folder", "lease", "interval"}), **salt2}},
            "kafka": {"output": {"bootstrap.servers": "127.0.0.1:9"}},
            "database": config.database.model_dump(exclude={"xmatch"}),
            "server": {"admin_password": "secret"},
        }  # fmt: skip
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"kowalski": tree}))
        environment = {**os.environ, "KOWALSKI_CONFIG": str(path)}
        started.append(subprocess.Popen([sys.executable, "-m", "kowalski.transients"], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def done(database: MongoDatabase, request: Request) -> dict[str, Any] | None:
    found = Fits(database).of(request.survey, request.objectId)
    return found if found and "made_at" in found and "wanted" not in found else None


def test_it_answers_survives_being_killed_and_ends_when_told(
    start: Start, mongo: MongoDatabase, supernova: Supernova
) -> None:
    request = store(mongo, supernova)
    first = start(lease=20)
    taken = until(lambda: (Fits(mongo).of("ZTF", request.objectId) or {}).get("taken"))
    children = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    assert str(first.pid) in taken["by"]
    assert done(mongo, request) is None
    mongo["fits"].update_one({}, {"$set": {"taken.until": datetime.now(UTC)}})  # its lease ends
    second = start()
    found = until(lambda: done(mongo, request))
    assert (found["reason"], found["z"], found["z_source"]) == (None, supernova.host.z, "NED_BetaV3")
    assert abs(found["t0"] - supernova.truth["t0"]) < 2
    assert abs(found["x1"] - supernova.truth["x1"]) < 1
    assert found["rights"] == {"ZTF": [1, 2]}
    assert (found["candid"], found["jd"]) == (request.candid, request.jd)
    (entry,) = mongo["outbox"].find({})
    assert (entry["_id"], entry["kind"], entry["lane"]) == (f"ZTF:{request.candid}:fit", "fit", "kafka")
    assert entry["record"]["x1"] == found["x1"]
    assert entry["kafka"] == ORIGIN
    alive = until(lambda: [each for each in Processes(mongo).alive() if each["pid"] == second.pid])
    assert (alive[0]["program"], alive[0]["since_start"]["problem"]) == ("transient-fitter", None)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=20) == 0
    assert second.pid not in {
        each["pid"] for each in Processes(mongo).alive()
    }  # the killed one's sign may still be young


def run_until(fitting: Fitting, condition: Callable[[], Any]) -> Any:
    """Rounds of a fitter in this thread, until the condition is true."""
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end, "in vain"
        fitting._round()
    return found


def test_without_files_it_says_so(mongo: MongoDatabase, config: Config, supernova: Supernova, tmp_path: Path) -> None:
    request = store(mongo, supernova)
    salt2 = config.transients.salt2.model_copy(update={"folder": str(tmp_path)})
    empty = config.model_copy(update={"transients": config.transients.model_copy(update={"salt2": salt2})})
    found = run_until(Fitting(mongo, empty), lambda: done(mongo, request))
    assert found["reason"].endswith("lacks models/salt2/salt2-4: fetch it with ./kowalski.py models")
    assert (found["t0"], found["covariance"], found["model"]) == (None, [], "salt2")
    assert Fits(mongo).counts() == {"made": 0, "skipped": 1, "waiting": 0}


def test_a_fit_of_a_withdrawn_alert_is_kept_and_not_told(
    mongo: MongoDatabase, config: Config, supernova: Supernova
) -> None:
    request = store(mongo, supernova)
    mongo["ZTF_alerts"].update_one({}, {"$set": {"candidate.withdrawn_jd": request.jd + 1}})
    fitting = Fitting(mongo, config)
    fitting._keep(
        request, Subjects(mongo, config).read(request), {"model": "salt2", **NO_FIT, "reason": "too few points"}
    )
    assert mongo["outbox"].count_documents({}) == 0
    assert Fits(mongo).counts()["skipped"] == 1


def test_a_withdrawal_while_a_fit_is_told_is_told_after_it(
    mongo: MongoDatabase, config: Config, supernova: Supernova, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, fitting = store(mongo, supernova), Fitting(mongo, config)
    add = Outbox.add

    def add_and_withdraw(outbox: Outbox, entries: Any) -> int:
        added = add(outbox, entries)
        mongo["ZTF_alerts"].update_one({}, {"$set": {"candidate.withdrawn_jd": request.jd + 1}})
        return added

    monkeypatch.setattr(Outbox, "add", add_and_withdraw)
    fitting._keep(
        request, Subjects(mongo, config).read(request), {"model": "salt2", **NO_FIT, "reason": "too few points"}
    )
    entries = {entry["_id"]: entry for entry in mongo["outbox"].find()}
    assert set(entries) == {f"ZTF:{request.candid}:fit", f"ZTF:{request.candid}:fit:withdrawal"}
    assert entries[f"ZTF:{request.candid}:fit:withdrawal"]["withdrawn_jd"] == request.jd + 1


def test_a_fit_that_ends_its_process_is_given_up(
    mongo: MongoDatabase, config: Config, supernova: Supernova, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = store(mongo, supernova)
    fitting = Fitting(mongo, config)
    submit = FitPool.submit

    def die(pool: FitPool, *arguments: Any) -> Any:
        submit(pool, *arguments)
        future = pool._pool.submit(os._exit, 1)  # type: ignore[union-attr]
        return future

    monkeypatch.setattr(FitPool, "submit", die)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    found = run_until(fitting, lambda: done(mongo, request))
    assert found["reason"] == "given up: its process died 1 times"
    fitting._pool.renew()


def test_points_of_other_surveys_at_the_place_count(
    mongo: MongoDatabase, config: Config, supernova: Supernova, salt2: Salt2Fitter
) -> None:
    """Of two surveys' objects each lacks what SALT2 needs; linked, they are one light curve."""
    request = store(mongo, supernova)
    aux = mongo["ZTF_alerts_aux"].find_one({"_id": request.objectId}) or {}
    green, red = ([point for point in aux["fp_hists"] if point["fid"] == fid] for fid in (1, 2))
    mongo["ZTF_alerts_aux"].update_one({"_id": request.objectId}, {"$set": {"fp_hists": green}})
    mongo["ZTF_alerts"].update_one({}, {"$set": {"candidate.fid": 1}})
    alone = Subjects(mongo, config).read(request)
    assert salt2.fit(alone.photometry, alone.host)["reason"] == "too few bands: ztfg, and 2 are needed"
    sources = [
        {"jd": each["jd"], "fid": 3, "psfFlux": 1000 * each["forcediffimflux"], "psfFluxErr": 1000 * each["forcediffimfluxunc"]}
        for each in red
    ]  # fmt: skip
    mongo["LSST_alerts_aux"].insert_one({"_id": "77", "prvDiaForcedSources": sources})
    Links(mongo).add([Link("ZTF", request.objectId, "LSST", "77", 0.3)])
    together = Subjects(mongo, config).read(request)
    found = salt2.fit(together.photometry, together.host)
    assert found["reason"] is None
    assert set(found["curve"]["bands"]) == {"ztfg", "lsstr"}
    assert together.rights == {"ZTF": [1, 2], "LSST": []}
