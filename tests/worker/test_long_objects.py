"""What is larger than MongoDB's documents: a history goes on in parts, anything else is refused alone and by name."""

import math

import bson
import pytest
from histories import ZTF
from packets import JD, Record, forced_point, prv_point, ztf_packets, ztf_record
from worker_harness import put_filter, said_by, state

from kowalski.alert_worker import AlertWorker
from kowalski.alerts import parts
from kowalski.alerts.lightcurve import merged
from kowalski.database.client import MongoDatabase
from kowalski.errors import TooLarge
from kowalski.filters.enrich import FED
from kowalski.skyportal import messages

NAME = "ZTF23long"


def visit(number: int, first: int, points: int) -> Record:
    """A packet that brings so many forced points, from one of a series of moments on, half a minute apart."""
    forced = [_whole(forced_point(JD - 300 + place / 3000)) for place in range(first, first + points)]
    return ztf_record(number, NAME, jd=JD + number, magpsf=18.5, prv=[prv_point(JD - 1)], forced=forced, ndethist=1)


def _whole(point: Record) -> Record:
    """A point that lacks nothing."""
    return {name: 1.0 if value is None else value for name, value in point.items()} | {"field": 700, "rcid": 1}


def test_twenty_megabytes_of_history(
    worker: AlertWorker, stocked: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One packet brings more than 10 MB, the next more than fits with these, the third a few; in one document they are refused."""
    put_filter(stocked, 4, [{"$project": {"annotations": {"n": {"$size": "$fp_hists"}}}}])
    packets = ztf_packets([visit(1, 0, 20_000), visit(2, 16_000, 16_000), visit(3, 10, 5)])
    expected = merged({}, said_by(packets)[NAME], ZTF)
    with monkeypatch.context() as patch:
        patch.setattr(parts, "LIMIT", math.inf)
        with pytest.raises(TooLarge, match="objects: .*(too large|invalid)"):
            worker.process(packets[:2])
    for each in packets:
        report = worker.process([each])
        assert (report.quarantined, report.filter_failures) == ({}, {})
    found = worker.objects.read([NAME])[NAME]
    assert {name: found[name] for name in expected} == expected
    (own,), older = list(stocked[ZTF.aux].find()), list(stocked[ZTF.older].find({"replaced_at": None}))
    sizes = [len(bson.encode(document)) for document in (own, *older)]
    assert sum(sizes) > 20_000_000
    assert max(sizes) < parts.LIMIT
    points = expected["fp_hists"]
    assert len(points) == 32_000
    assert own["fp_hists"] == points[-len(own["fp_hists"]) :], "its own document has the newest"
    seen = {entry["candid"]: entry["annotations"]["n"] for entry in state(stocked)["outbox"] if entry["filter_id"] == 4}
    assert 0.9 * FED < seen[3] * len(bson.encode(points[0])) < FED
    curve = messages.full_light_curve(worker.alerts.one(3) or {}, found, [], ZTF)
    assert (curve["origin"] == "alert_fp").sum() == 32_000


def test_an_alert_that_is_too_large_fails_alone_and_by_name(worker: AlertWorker, mongo: MongoDatabase) -> None:
    """The broker then halves the batch, and keeps the packet as ``too_large``."""
    records = [ztf_record(number, f"ZTF23aaaaaa{number}") for number in (1, 2)]
    records[0]["cutoutScience"]["stampData"] = b"x" * 17_000_000
    packets = ztf_packets(records)
    for batch in (packets, packets[:1]):
        with pytest.raises(TooLarge, match="insert alerts: "):
            worker.process(batch)
    assert worker.process(packets[1:]).received == 1
    assert [alert["candid"] for alert in state(mongo)["ZTF_alerts"]] == [2]
