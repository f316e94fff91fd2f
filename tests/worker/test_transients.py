"""Extragalactic candidates among a worker's alerts: told once, fitted once, whatever comes again; nothing where they are not wanted."""

from typing import Any

import fastavro
import pytest
from packets import JD, prv_point, ztf_packets, ztf_record
from worker_harness import MakeWorker, state

from kowalski.alerts.coordinates import position
from kowalski.alerts.decode import Packet
from kowalski.database.client import MongoDatabase
from kowalski.outbox.transients import EXTRAGALACTIC

GOOD = {"isdiffpos": "t", "drb": 0.99, "ssdistnr": -999.0, "magpsf": 18.0, "sigmapsf": 0.05, "programid": 1}
SOMEBODY = {"bootstrap.servers": "127.0.0.1:9"}
GALAXIES = {
    "NED_BetaV3": {
        "cone_search_radius": 300, "cone_search_unit": "arcsec", "use_distance": True, "distance_value": "z",
        "distance_method": "redshift", "cm_at_distance": 30, "cm_low_distance": 300,
    }
}  # fmt: skip


def packets(**candidate: Any) -> list[Packet]:
    """A good candidate, two of its object, a star, one seen once, and one fainter than the reference."""
    seen = [prv_point(JD - 3, candid=7, magpsf=18.5, sigmapsf=0.1, isdiffpos="t")]
    records = [
        ztf_record(1, "ZTF26good", seen, jd=JD, **GOOD | candidate),
        ztf_record(2, "ZTF26twice", seen, jd=JD, ra=151.0, **GOOD),
        ztf_record(3, "ZTF26twice", seen, jd=JD + 0.1, ra=151.0, **GOOD),
        ztf_record(4, "ZTF26star", seen, jd=JD, ra=152.0, **GOOD | {"sgscore1": 0.99, "distpsnr1": 0.2}),
        ztf_record(5, "ZTF26once", jd=JD, ra=153.0, **GOOD),
        ztf_record(6, "ZTF26negative", seen, jd=JD, ra=154.0, **GOOD | {"isdiffpos": "f"}),
    ]
    return ztf_packets(records)


@pytest.fixture
def galaxies(mongo: MongoDatabase) -> None:
    """The host of the good one, at z = 0.03."""
    mongo["NED_BetaV3"].insert_one({"_id": 1, "z": 0.03, "ebv": 0.1, "coordinates": position(150.0, 20.0 + 2 / 3600)})
    mongo["NED_BetaV3"].create_index([("coordinates.radec_geojson", "2dsphere")])


def test_candidates_are_told_and_their_fits_asked_for(
    make_worker: MakeWorker, mongo: MongoDatabase, galaxies: None
) -> None:
    report = make_worker(transients=True, output=SOMEBODY, xmatch=GALAXIES).process(packets())
    assert report.extragalactic == 3
    assert report.seconds["transients"] > 0
    entries = {entry["_id"]: entry for entry in mongo["outbox"].find({"kind": "extragalactic"})}
    assert set(entries) == {f"ZTF:{candid}:extragalactic" for candid in (1, 2, 3)}
    first = entries["ZTF:1:extragalactic"]
    assert (first["lane"], first["objectId"], first["record"]["reason"]) == ("kafka", "ZTF26good", "recent")
    assert (first["record"]["z"], first["record"]["z_source"], first["record"]["programid"]) == (0.03, "NED_BetaV3", 1)
    assert entries["ZTF:2:extragalactic"]["record"]["z"] is None
    told = {**first["record"], **{name: first[name] for name in ("survey", "candid", "objectId", "jd")}}
    assert fastavro.validate(told, EXTRAGALACTIC)
    wanted = {each["objectId"]: each["wanted"]["candid"] for each in mongo["fits"].find()}
    assert wanted == {"ZTF26good": 1, "ZTF26twice": 3}  # the latest alert's


def test_the_same_again_changes_nothing(make_worker: MakeWorker, mongo: MongoDatabase) -> None:
    worker = make_worker(transients=True, output=SOMEBODY)
    worker.process(packets())
    before = state(mongo), list(mongo["fits"].find())
    worker.process(packets())
    make_worker(transients=True, output=SOMEBODY).process(packets()[::-1])
    assert (state(mongo), list(mongo["fits"].find())) == before


def test_without_listeners_fits_are_asked_for(make_worker: MakeWorker, mongo: MongoDatabase) -> None:
    make_worker(transients=True).process(packets())
    assert mongo["outbox"].count_documents({"kind": "extragalactic"}) == 0
    assert {each["wanted"]["publish"] for each in mongo["fits"].find()} == {True}


def test_a_replay_that_posts_nothing_tells_nobody(make_worker: MakeWorker, mongo: MongoDatabase) -> None:
    make_worker(transients=True, output=SOMEBODY).process(packets(), posting=False)
    assert mongo["outbox"].count_documents({}) == 0
    assert {each["wanted"]["publish"] for each in mongo["fits"].find()} == {False}


def test_it_is_off_by_default(make_worker: MakeWorker, mongo: MongoDatabase) -> None:
    worker = make_worker(output=SOMEBODY)
    report = worker.process(packets())
    assert worker.transients is None
    assert (report.extragalactic, "transients" in report.seconds) == (0, False)
    assert mongo["fits"].count_documents({}) == mongo["outbox"].count_documents({"kind": "extragalactic"}) == 0
