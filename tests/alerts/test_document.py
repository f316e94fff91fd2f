"""From records to alerts: what the chain needs is there and makes sense, and what is wrong is named."""

import math
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from packets import (
    CUTOUTS,
    JD,
    encode,
    forced_point,
    packet,
    prv_point,
    real_files,
    real_packets,
    ztf_alerts,
    ztf_packets,
    ztf_record,
)

from kowalski.alerts.document import arrival, read_batch, read_record
from kowalski.alerts.survey import get_survey
from kowalski.errors import PacketError

ZTF = get_survey("ZTF")
Record = dict[str, Any]


def refusal(record: Record) -> PacketError:
    with pytest.raises(PacketError) as caught:
        read_record(record, packet(b""), ZTF)
    return caught.value


def test_the_histories_leave_the_document() -> None:
    (alert,) = ztf_alerts([ztf_record(5, "ZTF23abc", prv=[prv_point(JD - 1)], forced=[forced_point(JD - 2)], jd=JD)])
    assert (alert.candid, alert.object_id, alert.jd, alert.ra, alert.dec) == (5, "ZTF23abc", JD, 150.0, 20.0)
    assert not {"prv_candidates", "fp_hists"} & alert.document.keys()
    assert [point["jd"] for point in alert.histories["prv_candidates"]] == [JD - 1]
    assert [point["jd"] for point in alert.histories["fp_hists"]] == [JD - 2]
    assert alert.document["classifications"] == {}
    assert set(CUTOUTS) <= alert.document.keys()


def test_the_rest_of_the_packet_is_kept_as_it_is() -> None:
    record = ztf_record()
    (alert,) = ztf_alerts([record])
    added = {"classifications", "coordinates"}
    kept = {key: value for key, value in record.items() if key not in ("prv_candidates", "fp_hists")}
    assert {key: value for key, value in alert.document.items() if key not in added} == kept
    assert "jdstarthist" in alert.candidate, "nulls are retained"


def test_histories_may_be_null_or_absent() -> None:
    record = ztf_record(prv=None, forced=None)
    assert read_record(record, packet(b""), ZTF).histories == {"prv_candidates": [], "fp_hists": []}
    del record["prv_candidates"], record["fp_hists"]  # schema 3.3 has no forced photometry
    assert read_record(record, packet(b""), ZTF).histories == {"prv_candidates": [], "fp_hists": []}


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(math.nan, 0.0), (0.0, math.nan), (math.inf, 0.0), (360.0001, 0.0), (-1e-9, 0.0), (0.0, 90.0001), (0.0, -91.0),
     (None, 0.0), ("10", 0.0), (True, 0.0), (0.0, None)],
)  # fmt: skip
def test_positions_that_are_not_on_the_sky(ra: Any, dec: Any) -> None:
    assert refusal(ztf_record(ra=ra, dec=dec)).reason == "position"


@pytest.mark.parametrize(
    ("ra", "dec", "text", "longitude"),
    [
        (360.0, 0.0, ["00:00:00.0000", "00:00:00.000"], -180.0),
        (0.0, -0.0, ["00:00:00.0000", "00:00:00.000"], -180.0),
        (180.0, -0.5, ["12:00:00.0000", "-00:30:00.000"], 0.0),
        (359.99999999, 90.0, ["00:00:00.0000", "90:00:00.000"], 179.99999999),
        (15.0, -90.0, ["01:00:00.0000", "-90:00:00.000"], -165.0),
    ],
)
def test_positions_on_the_edge(ra: float, dec: float, text: list[str], longitude: float) -> None:
    (alert,) = ztf_alerts([ztf_record(ra=ra, dec=dec)])
    assert 0 <= alert.ra < 360
    assert alert.document["coordinates"]["radec_str"] == text
    assert alert.document["coordinates"]["radec_geojson"] == {"type": "Point", "coordinates": [longitude, dec]}
    assert alert.candidate["ra"] == ra, "the packet's own value stays"


@pytest.mark.parametrize("candid", [1.0, 1e18, "1", True, None, b"1", [1]])
def test_candids_that_are_no_integers(candid: Any) -> None:
    error = refusal(ztf_record() | {"candid": candid})
    assert error.reason == "field"
    assert "candid" in error.detail


@pytest.mark.parametrize("field", ["candid", "objectId", "candidate"])
def test_missing_fields_are_named(field: str) -> None:
    record = ztf_record()
    del record[field]
    error = refusal(record)
    assert (error.reason, error.detail) == ("field", f"{field} is missing")


@pytest.mark.parametrize("value", [None, "", 5])
def test_an_object_needs_a_name(value: Any) -> None:
    assert refusal(ztf_record() | {"objectId": value}).reason == "field"


@pytest.mark.parametrize(
    ("field", "value"), [("jd", None), ("jd", math.nan), ("jd", "x"), ("magpsf", "x"), ("sigmapsf", [])]
)
def test_candidate_fields_that_make_no_sense(field: str, value: Any) -> None:
    error = refusal(ztf_record(**{field: value}))
    assert error.reason == "field"
    assert field in error.detail


@pytest.mark.parametrize("cutout", CUTOUTS)
@pytest.mark.parametrize(
    "value", [None, {}, {"stampData": None}, {"stampData": b""}, {"fileName": "x"}, b"bytes", "text"]
)
def test_missing_cutouts_are_named(cutout: str, value: Any) -> None:
    error = refusal(ztf_record() | {cutout: value})
    assert error.reason == "cutout"
    assert cutout in error.detail


@pytest.mark.parametrize("history", ["prv_candidates", "fp_hists"])
@pytest.mark.parametrize(
    "value", ["text", {"jd": 1.0}, [None], [{}], [{"jd": None}], [{"jd": math.nan}], [{"jd": "1"}]]
)
def test_histories_that_make_no_sense(history: str, value: Any) -> None:
    error = refusal(ztf_record() | {history: value})
    assert error.reason == "history"
    assert history in error.detail


@pytest.mark.parametrize("survey", ["pgir", "wntr", "turbo", "lsst"])
def test_packets_of_other_surveys_are_refused(test_data: Path, survey: str) -> None:
    others = [packet(path.read_bytes(), offset) for offset, path in enumerate(real_files(test_data, survey))]
    batch, refusals = read_batch(others, ZTF)
    assert batch == []
    assert [each.packet for each in refusals] == others
    assert {each.reason for each in refusals} <= {"cutout", "field", "schema"}


def test_real_packets_are_alerts(test_data: Path) -> None:
    packets = real_packets(test_data)
    alerts, refusals = read_batch(packets, ZTF)
    assert refusals == []
    assert len(alerts) == 36
    assert len({alert.object_id for alert in alerts}) == 35
    assert [alert.packet for alert in alerts] == packets
    by_candid = {alert.candid: alert for alert in alerts}
    assert len(by_candid[1127561445515015011].histories["prv_candidates"]) == 31
    assert by_candid[1127561445515015011].histories["fp_hists"] == []
    forced = by_candid[2475433850015010009]
    assert (len(forced.histories["prv_candidates"]), len(forced.histories["fp_hists"])) == (20, 21)


def test_bad_packets_among_good_ones() -> None:
    good = ztf_packets([ztf_record(candid) for candid in (1, 2)])
    bad = [packet(b"", 10), packet(b"junk", 11), packet(good[0].data[:500], 12)]
    bad.append(packet(encode(ztf_record(3, ra=math.nan)), 13))
    alerts, refusals = read_batch([bad[0], good[0], bad[1], bad[2], good[1], bad[3]], ZTF)
    assert [alert.candid for alert in alerts] == [1, 2]
    assert [(each.packet, each.reason) for each in refusals] == list(
        zip(bad, ["empty", "not_avro", "truncated", "position"], strict=True)
    )
    assert all(each.detail for each in refusals)


def test_no_packets_no_alerts() -> None:
    assert read_batch([], ZTF) == ([], [])
    assert read_batch([packet(b"")], ZTF)[0] == []


def test_several_records_in_one_packet() -> None:
    alerts, _ = read_batch([packet(encode(ztf_record(1), ztf_record(2, "ZTF23b")))], ZTF)
    assert [alert.candid for alert in alerts] == [1, 2]


def test_copies_are_all_there_for_the_worker_to_tell_apart() -> None:
    alerts = ztf_alerts([ztf_record(7, magpsf=magpsf) for magpsf in (18.0, 19.0, 18.0)])
    assert [alert.candidate["magpsf"] for alert in alerts] == [18.0, 19.0, 18.0]
    assert {alert.candid for alert in alerts} == {7}


def test_candids_are_int64_even_when_small() -> None:
    (alert,) = ztf_alerts([ztf_record(5)])
    assert isinstance(alert.document["candid"], Int64)
    assert isinstance(alert.candidate["candid"], Int64)
    assert isinstance(arrival(alert, ZTF).first_alert["candid"], Int64)


def test_what_an_alert_says_of_its_object() -> None:
    record = ztf_record(9, prv=[prv_point(JD - 1)], forced=[forced_point(JD - 2)], ra=10.0, dec=-5.0, magpsf=19.0)
    said = arrival(ztf_alerts([record])[0], ZTF)
    assert said.source == (JD, 9)
    assert said.first_alert == {"jd": JD, "candid": 9, "ra": 10.0, "dec": -5.0, "forced_complete": True}
    assert said.histories["prv_candidates"] == [
        {"jd": JD - 1, "fid": 1, "pid": int((JD - 1) * 1e4), "programid": 1, "diffmaglim": 20.5, "rbversion": ""}
    ]
    (point,) = said.histories["fp_hists"]
    assert (point["alert_mag"], point["alert_ra"], point["alert_dec"]) == (19.0, 10.0, -5.0)


@pytest.mark.parametrize(
    ("fields", "complete"),
    [
        ({"ndethist": 1, "jdstarthist": None}, True),
        ({"ndethist": 1, "jdstarthist": JD - 500}, True),
        ({"ndethist": 2, "jdstarthist": JD - 29}, True),
        ({"ndethist": 2, "jdstarthist": JD - 30}, False),
        ({"ndethist": 2, "jdstarthist": None}, False),
    ],
)
def test_when_forced_photometry_is_whole(fields: Record, complete: bool) -> None:
    assert arrival(ztf_alerts([ztf_record(**fields)])[0], ZTF).first_alert["forced_complete"] is complete
