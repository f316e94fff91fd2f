"""What holds for every survey, on its real packets: read, stored, merged, filtered, refused where they are wrong."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from packets import changed, packet
from surveys_harness import COUNTS, SURVEYS, MakeWorker, alerts_of, all_surveys, aux_of, packets_of, put_filter

from kowalski.alerts.coordinates import position
from kowalski.alerts.document import read_batch
from kowalski.alerts.survey import Survey, get_survey
from kowalski.database.client import MongoDatabase
from kowalski.skyportal import contract, messages
from kowalski.skyportal.marshal import INSTRUMENTS
from kowalski.skyportal.thumbnails import THUMBNAILS

NAN = float("nan")

every_survey = pytest.mark.parametrize("survey", all_surveys(), ids=SURVEYS)


@every_survey
def test_documents_are_the_packets_and_the_common_fields(test_data: Path, survey: Survey) -> None:
    alerts = alerts_of(test_data, survey)
    assert (len(alerts), len({alert.object_id for alert in alerts.values()})) == COUNTS[survey.name]
    for candid, alert in alerts.items():
        document = alert.document
        assert document["candid"] == candid
        assert isinstance(document["candid"], Int64)
        assert document["objectId"] == document[survey.object_id] == alert.object_id
        assert {"jd", "ra", "dec", "magpsf", "sigmapsf", "isdiffpos"} <= document["candidate"].keys()
        assert "prv_candidates" not in document
        assert document["coordinates"]["radec_geojson"]["coordinates"] == [alert.ra - 180, alert.dec]
        assert all(isinstance(stamp, bytes) for stamp in survey.stamps(document))


@every_survey
def test_packets_in_any_order_and_again(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, survey: Survey
) -> None:
    packets, worker = packets_of(test_data, survey), make_worker(survey)
    random.Random(3).shuffle(packets)
    for each in packets:
        worker.process([each])
    alerts = alerts_of(test_data, survey)
    stored = {document["_id"]: document for document in mongo[survey.aux].find()}
    assert (mongo[survey.alerts].count_documents({}), len(stored)) == COUNTS[survey.name]
    for object_id, document in stored.items():
        expected = aux_of([alert for alert in alerts.values() if alert.object_id == object_id], survey)
        assert {key: document[key] for key in expected} == expected
    again = worker.process(packets)
    assert (again.stored, again.known, again.quarantined) == (0, len(packets), {})
    assert {document["_id"]: document for document in mongo[survey.aux].find()} == stored


WRONG: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "no object": ("field", lambda record, oid: record.update({oid: ""}), ()),
    "null object": ("field", lambda record, oid: record.update({oid: None}), ("objectId", "objectid")),
    "text jd": ("field", lambda record, oid: record["candidate"].update(jd="now"), ("jd",)),
    "NaN jd": ("field", lambda record, oid: record["candidate"].update(jd=NAN), ()),
    "NaN ra": ("position", lambda record, oid: record["candidate"].update(ra=NAN), ()),
    "no dec": ("position", lambda record, oid: record["candidate"].update(dec=None), ("dec",)),
    "dec beyond the pole": ("position", lambda record, oid: record["candidate"].update(dec=-90.1), ()),
    "text magpsf": ("field", lambda record, oid: record["candidate"].update(magpsf="bright"), ("magpsf",)),
}


@every_survey
@pytest.mark.parametrize("what", WRONG)
def test_wrong_packets_are_refused_with_a_reason(test_data: Path, survey: Survey, what: str) -> None:
    reason, change, free = WRONG[what]
    good = packets_of(test_data, survey)[0].data
    bad = changed(good, lambda record: change(record, survey.object_id), free)
    alerts, refusals = read_batch([packet(bad), packet(changed(good, lambda record: None))], survey)
    assert [refusal.reason for refusal in refusals] == [reason]
    assert len(alerts) == 1


@every_survey
def test_damaged_packets_go_to_quarantine_and_the_others_on(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, survey: Survey
) -> None:
    packets = packets_of(test_data, survey)
    empty = changed(packets[3].data, lambda record: record.update({survey.cutouts["template"]: b""}))
    damaged = {"truncated": packets[1].data[:-500], "corrupt": packets[2].data[:-16] + bytes(16), "cutout": empty}
    packets[1:4] = [replace(packets[i], data=data) for i, data in enumerate(damaged.values(), 1)]
    report = make_worker(survey).process(packets)
    assert report.quarantined == dict.fromkeys(damaged, 1)
    assert report.stored == len(packets) - 3
    kept = {document["reason"]: document for document in mongo["quarantine"].find({"survey": survey.name})}
    assert {reason: document["data"] for reason, document in kept.items()} == damaged


@every_survey
def test_a_packet_of_another_survey_is_refused(test_data: Path, survey: Survey) -> None:
    """No packet of one survey passes for one of WINTER's, whose names are its own, nor the other way round."""
    others = [other for other in all_surveys() if (other.object_id == "objectid") != (survey.object_id == "objectid")]
    for other in others:
        alerts, refusals = read_batch(packets_of(test_data, other), survey)
        assert (alerts, {refusal.reason for refusal in refusals}) == ([], {"field"})


# matches -------------------------------------------------------------------------------------------------------------


def ztf_alert(candid: int, jd: float, ra: float, dec: float, programid: int = 1) -> dict[str, Any]:
    candidate = {"jd": jd, "magpsf": 17.5, "sigmapsf": 0.1, "fid": 2, "drb": 0.9, "programid": programid, "ra": ra}
    return {"candid": candid, "objectId": f"ZTF{candid}", "candidate": candidate, "coordinates": position(ra, dec)}


@pytest.mark.parametrize(("name", "radius"), [("PGIR", 8), ("WNTR", 2), ("TURBO", 8)])
def test_the_latest_public_alert_of_ztf_is_looked_up_at_each_alert(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, name: str, radius: float
) -> None:
    """Always a list under ``cross_matches.ZTF_alerts``, for filters and in the object."""
    survey = get_survey(name)
    pipeline = [{"$match": {"cross_matches.ZTF_alerts.0.candid": {"$gt": 0}}},
                {"$project": {"annotations": {"ztf": {"$arrayElemAt": ["$cross_matches.ZTF_alerts.candid", 0]}}}}]  # fmt: skip
    put_filter(mongo, survey, 1, pipeline, (1,))
    data = packets_of(test_data, survey)[0].data
    (alert,), _ = read_batch([packet(data)], survey)
    worker = make_worker(survey)
    mongo["ZTF_alerts"].create_index([("coordinates.radec_geojson", "2dsphere")])

    def matches(candid: int) -> Any:
        """Those of the object after another alert of it."""
        again = changed(data, lambda record: (record.update(candid=candid), record["candidate"].update(candid=candid)))
        worker.process([packet(again, candid)])
        return mongo[survey.aux].find_one({"_id": alert.object_id})["cross_matches"]["ZTF_alerts"]

    near, far = alert.dec + 0.9 * radius / 3600, alert.dec + 1.1 * radius / 3600
    mongo["ZTF_alerts"].insert_many([ztf_alert(9, 2460009, alert.ra, far), ztf_alert(8, 2460008, alert.ra, near, 2)])
    assert matches(1) == []
    mongo["ZTF_alerts"].insert_many([ztf_alert(number, 2460000 + number, alert.ra, near) for number in (5, 7, 6)])
    (match,) = matches(2)
    assert (match["candid"], match["objectId"]) == (7, "ZTF7")
    assert match["candidate"] == {"jd": 2460007, "magpsf": 17.5, "sigmapsf": 0.1, "fid": 2, "drb": 0.9}
    assert match["coordinates"].keys() == {"radec_str"}
    mongo["ZTF_alerts"].insert_one(ztf_alert(10, 2460010, alert.ra, near))
    assert [found["candid"] for found in matches(3)] == [10]
    passed = {entry["candid"]: entry["annotations"] for entry in mongo["outbox"].find({"kind": "candidate"})}
    assert passed == {2: {"ztf": 7}, 3: {"ztf": 10}}
    document = mongo[survey.aux].find_one({"_id": alert.object_id})
    assert document.keys() & {"ZTF_alerts"} == set()


@every_survey
def test_matches_are_those_of_the_settings(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, survey: Survey
) -> None:
    packets = packets_of(test_data, survey)
    (alert,), _ = read_batch(packets[:1], survey)
    worker = make_worker(survey)
    for name in worker.matcher.recipes:
        mongo[name].create_index([("coordinates.radec_geojson", "2dsphere")])
    mongo["AllWISE"].insert_many({"_id": n, "coordinates": position(alert.ra, alert.dec + n / 3600)} for n in range(10))
    worker.process(packets)
    found = mongo[survey.aux].find_one({"_id": alert.object_id})
    assert found["cross_matches"].keys() == set(worker.matcher.recipes)
    assert all(isinstance(rows, list) for rows in found["cross_matches"].values())
    expected = {"PGIR": 9, "WNTR": 6}
    if survey.name in expected:
        assert len(found["cross_matches"]["AllWISE"]) == expected[survey.name]
    else:
        assert list(found["cross_matches"]) == ["ZTF_alerts"]


# filters and rights --------------------------------------------------------------------------------------------------


@every_survey
def test_filters_see_the_enriched_alert(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, survey: Survey
) -> None:
    """By the names that all surveys share, history and matches included."""
    shown = {"id": "$objectId", "candid": "$candid", "n": {"$size": "$prv_candidates"}, "mag": "$candidate.magpsf"}
    put_filter(mongo, survey, 1, [{"$match": {"candidate.jd": {"$gt": 0}}}, {"$project": {"annotations": shown}}], (1,))
    put_filter(mongo, survey, 2, [{"$match": {}}], (2,))
    report = make_worker(survey).process(packets_of(test_data, survey))
    number = COUNTS[survey.name][0]
    assert report.passed == ({1: number, 2: number} if survey.program_field is None else {1: number})
    alerts = alerts_of(test_data, survey)
    for entry in mongo["outbox"].find({"filter_id": 1}):
        alert, said = alerts[entry["candid"]], entry["annotations"]
        assert (said["id"], said["candid"], said["mag"]) == (alert.object_id, alert.candid, alert.candidate["magpsf"])
        assert entry["objectId"] == alert.object_id
        assert said["n"] >= len(alert.histories["prv_candidates"])


@every_survey
def test_history_is_shown_as_far_back_as_the_survey_says(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, survey: Survey
) -> None:
    """And, where there are programmes, to those who may see the packet that brought it."""
    days = {"PGIR": 1000, "WNTR": 1000, "TURBO": 365}[survey.name]

    def with_history(record: dict[str, Any]) -> None:
        ages = (1, days - 1, days + 1)
        jd = record["candidate"]["jd"]
        points = [{"jd": jd - age, "candid": number, "magpsf": 12.0 + age / 1000} for number, age in enumerate(ages)]
        record["prv_candidates"] = [point | required for point in points]

    required = {"isdiffpos": True if survey.name == "WNTR" else "1", "fid": 1, "ra": 1.0, "dec": 2.0, "sigmapsf": 0.1}
    required |= {"progname": "", "fieldid": 1, "subid": 1, "stackquadid": 1}
    shown = {"days": {"$map": {"input": "$prv_candidates", "in": {"$subtract": ["$candidate.jd", "$$this.jd"]}}}}
    for number, permissions in enumerate([(1,), (1, 2), (2, 3)], 1):
        put_filter(mongo, survey, number, [{"$project": {"annotations": shown}}], permissions)
    make_worker(survey).process([packet(changed(packets_of(test_data, survey)[0].data, with_history))])
    seen = {entry["filter_id"]: [round(d) for d in entry["annotations"]["days"]] for entry in mongo["outbox"].find()}
    allowed = (1, 2, 3) if survey.program_field is None else (1, 2)
    assert seen == dict.fromkeys(allowed, [days - 1, 1])


# SkyPortal -----------------------------------------------------------------------------------------------------------


@every_survey
def test_skyportal_takes_the_messages(test_data: Path, survey: Survey) -> None:
    """Candidate, photometry and thumbnails of every real alert, against what SkyPortal's contract says."""
    bands = {1: "bessellv"} if survey.name == "TURBO" else {}
    told = survey.with_bands(bands)
    for alert in alerts_of(test_data, survey).values():
        entry = {"objectId": alert.object_id, "candid": alert.candid, "filter_id": 1}
        entry["passed_at"] = datetime.now(UTC)
        contract.check_candidate(messages.candidate_message([entry], alert.document, told))
        light_curve = messages.full_light_curve(alert.document, aux_of([alert], told), [alert.document], told)
        requests = list(messages.photometry_messages(alert.object_id, light_curve, told, 2, {survey.instrument: 7}))
        assert len(requests) == 1
        body = json.loads(json.dumps(requests[0].body))
        rows = contract.photometry_rows(body, INSTRUMENTS[survey.instrument], ignore_flux=False)
        assert (body["stream_ids"], "origin" in body, requests[0].overwrite) == ([7], False, False)
        assert len(rows) == len(light_curve["mjd"]) > 0
        for role in THUMBNAILS:
            contract.check_thumbnail(messages.thumbnail_message(alert.object_id, alert.document, role, told))
