"""LSST: the real packets as files and as messages, every version of the schema, fluxes, times, and what is wrong."""

import copy
import json
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.time import Time
from bson.int64 import Int64
from confluent_kafka import Consumer
from lsst_harness import TOPIC, alerts_of, as_files, as_messages, changed, forced, message, plain, schemas
from packets import packet
from surveys_harness import MakeWorker, aux_of, put_filter

from kowalski.alert_broker_lsst import SURVEY, schema_file
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import Packet, decode
from kowalski.alerts.document import Alert, read_batch
from kowalski.alerts.schemas import SchemaStore, read_schema
from kowalski.alerts.survey import get_survey
from kowalski.alerts.times import jd_of_tai
from kowalski.config import build, merge, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.quarantine import Selection
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped
from kowalski.skyportal import contract, messages
from kowalski.skyportal.marshal import INSTRUMENTS
from kowalski.skyportal.thumbnails import THUMBNAILS
from kowalski.streams import consumer_settings

__all__ = ["schemas"]

# documents -----------------------------------------------------------------------------------------------------------


def test_files_and_messages_give_the_same_documents(test_data: Path, schemas: SchemaStore) -> None:
    of_files, of_messages = (alerts_of(packets(test_data), schemas) for packets in (as_files, as_messages))
    assert len(of_files) == len(of_messages) == 10
    assert [plain(alert) for alert in of_files] == [plain(alert) for alert in of_messages]


def test_documents_are_the_packets_and_the_common_fields(test_data: Path, schemas: SchemaStore) -> None:
    for each in as_files(test_data):
        (record,), (alert,) = decode(each.data), alerts_of([each], schemas)
        document, source, candidate = alert.document, record["diaSource"], alert.candidate
        histories = {history.field for history in SURVEY.histories}
        for name, value in record.items():
            if name not in histories:
                assert repr(unwrapped(document[name])) == repr(value)
        assert document.keys() - record.keys() == {"objectId", "candid", "candidate", "classifications", "coordinates"}
        assert (document["candid"], type(document["candid"])) == (source["diaSourceId"], Int64)
        assert document["objectId"] == str(source["diaObjectId"] or source["ssObjectId"])
        moment = Time(source["midpointMjdTai"], format="mjd", scale="tai").utc
        assert candidate["jd"] == pytest.approx(moment.jd, abs=1e-9, rel=0)
        assert (candidate["ra"], candidate["dec"]) == (source["ra"], source["dec"])
        assert candidate["magpsf"] == pytest.approx(31.4 - 2.5 * np.log10(abs(source["psfFlux"])))
        assert candidate["sigmapsf"] == pytest.approx(1.0857362 * source["psfFluxErr"] / abs(source["psfFlux"]))
        assert candidate["diffmaglim"] == pytest.approx(31.4 - 2.5 * np.log10(5 * source["psfFluxErr"]))
        assert candidate["isdiffpos"] == (source["psfFlux"] > 0) != source["isNegative"]
        assert SURVEY.bands[candidate["fid"]] == f"lsst{source['band']}"
        assert read_stamp(SURVEY.stamp(document, "difference")).shape == (30, 30)


def unwrapped(value: Any) -> Any:
    """A value with plain integers."""
    if isinstance(value, dict):
        return {name: unwrapped(part) for name, part in value.items()}
    return int(value) if isinstance(value, Int64) else value


def test_an_object_of_the_solar_system(test_data: Path, schemas: SchemaStore) -> None:
    data = as_files(test_data)[0].data

    def named(dia: int | None, ss: int | None) -> list[str]:
        bad = changed(data, schemas, lambda record: record["diaSource"].update(diaObjectId=dia, ssObjectId=ss))
        alerts, refusals = read_batch([packet(bad)], SURVEY, schemas)
        return [alert.object_id for alert in alerts] or [refusal.reason for refusal in refusals]

    assert named(2**62 + 1, 5) == [str(2**62 + 1)]
    assert named(None, 2**60 + 1) == named(0, 2**60 + 1) == [str(2**60 + 1)]
    assert named(None, None) == named(0, 0) == ["field"]


def test_times_are_utc() -> None:
    """But for the day of a leap second, where a JD in UTC is no even scale."""
    mjds = np.random.default_rng(1).uniform(41_500, 61_000, 2000)
    theirs = Time(mjds, format="mjd", scale="tai").utc.jd
    off = np.abs(np.array([jd_of_tai(mjd) for mjd in mjds]) - theirs)
    assert np.sum(off > 1e-9) < 5
    assert off.max() < 1.2e-5
    assert jd_of_tai(61041.2) == 61041.2 - 37 / 86400 + 2400000.5


def test_faint_and_missing_fluxes(test_data: Path, schemas: SchemaStore) -> None:
    data = as_files(test_data)[0].data

    def candidate(**source: Any) -> dict[str, Any]:
        made = changed(data, schemas, lambda record: record["diaSource"].update(source))
        (alert,) = alerts_of([packet(made)], schemas)
        return alert.candidate

    negative = candidate(psfFlux=-1000.0, psfFluxErr=100.0)
    assert (negative["magpsf"], negative["isdiffpos"]) == (pytest.approx(23.9), False)
    assert negative["diffmaglim"] == pytest.approx(31.4 - 2.5 * np.log10(500))
    for flux in (None, float("nan"), 0.0, float("inf")):
        nothing = candidate(psfFlux=flux, isNegative=True)
        assert (nothing["magpsf"], nothing["sigmapsf"], nothing["isdiffpos"]) == (None, None, False)
    assert candidate(psfFluxErr=None)["diffmaglim"] is None
    assert candidate(band="w")["fid"] is None
    assert candidate(band=None)["fid"] is None


# the chain -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(test_data: Path, tmp_path: Path) -> Path:
    """A folder of schemas that is the test's own."""
    for path in sorted((test_data / "lsst_schemas").rglob("*.avsc")):
        place = tmp_path / path.relative_to(test_data / "lsst_schemas")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return tmp_path


def worker_of(make_worker: Any, folder: Path) -> AlertWorker:
    worker: AlertWorker = make_worker(SURVEY, {"schemas": {"LSST": {"folder": str(folder)}}})
    return worker


def test_stored_and_filtered(make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, folder: Path) -> None:
    shown = {"id": "$objectId", "candid": "$candid", "n": {"$size": "$prvDiaSources"}, "forced": {"$size": "$prvDiaForcedSources"}, "flux": "$diaSource.psfFlux"}  # fmt: skip
    put_filter(mongo, SURVEY, 1, [{"$match": {"candidate.reliability": {"$gt": 0}}}, {"$project": {"annotations": shown}}], ())  # fmt: skip
    worker, packets = worker_of(make_worker, folder), as_messages(test_data)
    report = worker.process(packets)
    assert (report.stored, report.quarantined, report.passed, report.drift) == (10, {}, {1: 10}, {})
    longs = {name: {"$type": "long"} for name in ("candid", "diaSourceId", "diaSource.diaSourceId", "candidate.candid")}
    longs |= {name: {"$type": "long"} for name in ("diaSource.diaObjectId", "diaSource.ssObjectId", "diaSource.visit")}
    assert mongo["LSST_alerts"].count_documents(longs) == 10
    said = {entry["candid"]: entry["annotations"] for entry in mongo["outbox"].find()}
    alerts = {alert.candid: alert for alert in alerts_of(packets, worker.schemas)}
    assert said == {
        candid: {
            "id": alert.object_id, "candid": candid, "n": len(alert.histories["prvDiaSources"]), "forced": 0,
            "flux": alert.document["diaSource"]["psfFlux"],
        }
        for candid, alert in alerts.items()
    }  # fmt: skip
    before = list(mongo["LSST_alerts"].find()), list(mongo["LSST_alerts_aux"].find())
    again = worker.process(as_files(test_data))
    assert (again.stored, again.known) == (0, 10)
    assert repr((list(mongo["LSST_alerts"].find()), list(mongo["LSST_alerts_aux"].find()))) == repr(before)


def test_histories_are_merged_by_their_identifiers(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, folder: Path
) -> None:
    worker, data = worker_of(make_worker, folder), as_files(test_data)[3].data
    (record,) = decode(data)

    def later(days: int, numbers: list[int], snr: float) -> Packet:
        new = copy.deepcopy(record)
        new["diaSource"] |= {"diaSourceId": days, "midpointMjdTai": record["diaSource"]["midpointMjdTai"] + days}
        new["prvDiaForcedSources"] = [forced(record, number, snr) for number in numbers]
        return packet(message(new, worker.schemas(1000)), days, TOPIC)

    first, second = later(1, [3, 2, 1], 5.0), later(2, [4, 3, 2], 6.0)
    for packets in ([first, second], [second, first]):
        mongo["LSST_alerts"].delete_many({})
        mongo["LSST_alerts_aux"].delete_many({})
        for each in packets:
            worker.process([each])
        (aux,) = mongo["LSST_alerts_aux"].find()
        assert [(p["diaForcedSourceId"], p["psfFlux"]) for p in aux["prvDiaForcedSources"]] == [(4, 600), (3, 600), (2, 600), (1, 500)]  # fmt: skip
        assert [point["diaSourceId"] for point in aux["prvDiaSources"]] == [
            point["diaSourceId"] for point in record["prvDiaSources"]
        ]
        assert all(isinstance(point["jd"], float) and None not in point.values() for point in aux["prvDiaSources"])
        assert "prvDiaForcedSources_replaced" not in aux


def test_a_schema_that_is_not_there_yet(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, folder: Path
) -> None:
    """Messages wait in quarantine with their bytes; the others go on; once it is there they are read."""
    worker, good = worker_of(make_worker, folder), as_messages(test_data)
    strange = packet(struct.pack(">BI", 0, 1101) + good[0].data[5:], 0, TOPIC)
    report = worker.process([strange, *good[1:]])
    assert (report.stored, report.quarantined) == (9, {"unknown_schema": 1})
    (kept,) = mongo["quarantine"].find()
    assert (kept["data"], kept["survey"]) == (strange.data, "LSST")
    assert "11/1/lsst.v11_1.alert.avsc" in kept["detail"]
    (folder / "11/1").mkdir(parents=True)
    (folder / "11/1/lsst.v11_1.alert.avsc").write_text(json.dumps(read_schema(folder / schema_file(1000)), default=str))
    attempt = worker.quarantine.take(Selection("LSST"))
    assert worker.process(list(attempt.packets())).stored == 1
    assert (len(attempt.release()), mongo["quarantine"].count_documents({})) == (1, 0)


def test_wrong_packets_go_to_quarantine_and_the_others_on(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, folder: Path
) -> None:
    worker, good = worker_of(make_worker, folder), as_messages(test_data)
    data, nan = as_files(test_data)[0].data, float("nan")

    def bad(**source: Any) -> bytes:
        return changed(data, worker.schemas, lambda record: record["diaSource"].update(source))  # type: ignore[arg-type]

    schema = copy.deepcopy(worker.schemas(1000))
    source = next(field for field in schema["fields"] if field["name"] == "diaSource")["type"]
    source["fields"] = [field for field in source["fields"] if field["name"] != "midpointMjdTai"]
    (record,) = decode(data)
    file = BytesIO()
    fastavro.writer(file, json.loads(json.dumps({k: v for k, v in schema.items() if k[0] != "_"})), [record])
    wrong = {
        "empty": b"", "truncated": good[0].data[:5], "corrupt": good[0].data[:-9], "trailing_bytes": good[0].data + b"x",
        "not_avro": b"\1" + good[0].data, "position": bad(dec=-90.1), "field": bad(midpointMjdTai=nan),
        "cutout": changed(data, worker.schemas, lambda record: record.update(cutoutTemplate=b"")),  # type: ignore[arg-type]
        "schema_drift": file.getvalue(),
    }  # fmt: skip
    packets = [packet(each, 100 + number, TOPIC) for number, each in enumerate(wrong.values())]
    report = worker.process([*packets, *good])
    assert (report.stored, report.quarantined) == (10, dict.fromkeys(wrong, 1))
    kept = {document["reason"]: document for document in mongo["quarantine"].find()}
    assert {reason: document["data"] for reason, document in kept.items()} == wrong
    assert "- diaSource.midpointMjdTai: number" in kept["schema_drift"]["detail"]


def test_simulated_packets_say_what_the_model_says(schemas: SchemaStore) -> None:
    """Times, positions, magnitudes, bands, signs and history of a simulated night, in LSST's words."""
    night = list(simulate(40, objects=12, seed=8))
    models = {alert.candid: alert for alert in ztf_alerts_of(night)}
    packets = [packet(each.data, number, TOPIC) for number, each in enumerate(reshaped(night, SURVEY, schemas))]
    alerts = alerts_of(packets, schemas)
    assert {alert.candid for alert in alerts} == models.keys()
    assert len({alert.object_id for alert in alerts}) == 12
    for alert in alerts:
        model, candidate = models[alert.candid], alert.candidate
        assert alert.jd == pytest.approx(model.jd, abs=1e-8)
        assert (alert.ra, alert.dec) == (model.ra, model.dec)
        for name in ("magpsf", "sigmapsf"):
            assert candidate[name] == pytest.approx(model.candidate[name], rel=1e-5)
        assert candidate["isdiffpos"] == (model.candidate["isdiffpos"] == "t")
        assert candidate["band"] == {1: "g", 2: "r", 3: "i"}[model.candidate["fid"]]
        earlier = [point for point in model.histories["prv_candidates"] if point["magpsf"] is not None]
        assert [point["candid"] for point in alert.histories["prvDiaSources"]] == [point["candid"] for point in earlier]
        assert read_stamp(SURVEY.stamp(alert.document, "science")).shape == (63, 63)


def ztf_alerts_of(night: list[Any]) -> list[Alert]:
    alerts, refusals = read_batch([packet(each.data, number) for number, each in enumerate(night)], get_survey("ZTF"))
    assert refusals == []
    return alerts


def test_a_packet_may_lack_a_cutout(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, folder: Path
) -> None:
    worker, (record,) = worker_of(make_worker, folder), decode(as_files(test_data)[0].data)
    record["cutoutTemplate"] = None
    report = worker.process([packet(message(record, worker.schemas(1000)), 1, TOPIC)])
    assert (report.stored, report.quarantined) == (1, {})
    (stored,) = mongo["LSST_alerts"].find()
    assert stored["cutoutTemplate"] is None
    assert [SURVEY.lacks(stored, role) for role in SURVEY.cutouts] == [False, True, False]


def test_a_withdrawn_source_is_marked_and_told(
    make_worker: MakeWorker, mongo: MongoDatabase, test_data: Path, folder: Path
) -> None:
    """By a packet of its own or by the history of a later one; a packet that comes withdrawn is kept and passes nothing."""
    put_filter(mongo, SURVEY, 1, [{"$match": {}}], ())
    worker, data = worker_of(make_worker, folder), as_files(test_data)[3].data
    (record,) = decode(data)
    moment = record["diaSource"]["midpointMjdTai"] + 1

    def sent(number: int, withdrawn: float | None, *earlier: int) -> Packet:
        new = copy.deepcopy(record)
        new["prvDiaSources"] = [record["diaSource"] | {"diaSourceId": each, "timeWithdrawnMjdTai": moment} for each in earlier]  # fmt: skip
        new["diaSource"] |= {"diaSourceId": number, "timeWithdrawnMjdTai": withdrawn}
        return packet(message(new, worker.schemas(1000)), 10 * number + len(earlier) + (withdrawn is not None), TOPIC)

    def told() -> list[int]:
        return sorted(entry["candid"] for entry in mongo["outbox"].find({"kind": "withdrawal"}))

    assert worker.process([sent(1, None), sent(2, None), sent(3, None)]).posted == 3
    assert told() == []
    report = worker.process([sent(1, moment)])
    assert (report.stored, report.withdrawn, told()) == (0, 1, [1])
    report = worker.process([sent(4, None, 1, 2)])
    assert (report.stored, report.withdrawn, told(), report.posted) == (1, 1, [1, 2], 1)
    report = worker.process([sent(5, moment), sent(6, None, 1, 2, 7)])
    assert (report.stored, report.withdrawn, told(), report.posted) == (2, 1, [1, 2], 1)
    marked = {each["candid"]: each["candidate"].get("withdrawn_jd") for each in mongo["LSST_alerts"].find()}
    jd = jd_of_tai(moment)
    assert marked == {1: jd, 2: jd, 3: None, 4: None, 5: jd, 6: None}
    (aux,) = mongo["LSST_alerts_aux"].find()
    assert {point["candid"]: point["withdrawn_jd"] for point in aux["prvDiaSources"]} == {1: jd, 2: jd, 7: jd}


# SkyPortal -----------------------------------------------------------------------------------------------------------


def test_fluxes_are_sent_as_they_are(test_data: Path, schemas: SchemaStore) -> None:
    data = as_files(test_data)[3].data

    def add(record: dict[str, Any]) -> None:
        record["prvDiaForcedSources"] = [
            forced(record, 1, 5.0), forced(record, 2, 2.0), forced(record, 3, -6.0), forced(record, 4, 9.0, band=None),
        ]  # fmt: skip

    (alert,) = alerts_of([packet(changed(data, schemas, add))], schemas)
    aux = aux_of([alert], SURVEY)
    columns = messages.full_light_curve(alert.document, aux, [alert.document], SURVEY)
    sources = [*aux["prvDiaSources"], alert.document["diaSource"]]
    assert columns["flux"][:3].tolist() == [source["psfFlux"] for source in sources]
    assert columns["fluxerr"][:3].tolist() == [source["psfFluxErr"] for source in sources]
    assert (set(columns["zp"]), set(columns["filter"])) == ({31.4}, {"lssti"})
    assert columns["origin"].tolist() == [None] * 3 + ["alert_fp"] * 3
    assert repr(columns["flux"][3:].tolist()) == repr([-600.0, float("nan"), 500.0])
    assert columns["mjd"][2] + 2400000.5 == pytest.approx(alert.jd)
    assert len(messages.packet_light_curve(alert.document, aux, SURVEY)["mjd"]) == 6


def test_skyportal_takes_the_messages(test_data: Path, schemas: SchemaStore) -> None:
    for alert in alerts_of(as_messages(test_data), schemas):
        moment = Time(alert.jd, format="jd").to_datetime()
        entry = {"objectId": alert.object_id, "candid": alert.candid, "filter_id": 1, "passed_at": moment}
        candidate = messages.candidate_message([entry], alert.document, SURVEY)
        contract.check_candidate(candidate)
        assert candidate["score"] == alert.document["diaSource"]["reliability"]
        light_curve = messages.full_light_curve(alert.document, aux_of([alert], SURVEY), [alert.document], SURVEY)
        (request,) = messages.photometry_messages(alert.object_id, light_curve, SURVEY, 5, {"LSST": 7})
        body = json.loads(json.dumps(request.body))
        rows = contract.photometry_rows(body, INSTRUMENTS["LSST"], ignore_flux=False)
        assert (body["stream_ids"], len(rows)) == ([7], len(light_curve["mjd"]))
        for role in THUMBNAILS:
            contract.check_thumbnail(messages.thumbnail_message(alert.object_id, alert.document, role, SURVEY))


# Kafka ---------------------------------------------------------------------------------------------------------------


def test_topics_and_access_are_settings() -> None:
    assert SURVEY.topics_of([]) == "^lsst-alerts$"
    assert SURVEY.night_of("lsst-alerts") is None
    assert SURVEY.with_topic("lsst-.*").topics_of([]) == "^lsst-.*$"
    access = {
        "bootstrap.servers": "127.0.0.1:1", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "somebody", "sasl.password": "secret", "group.id": "somebody-kowalski",
    }  # fmt: skip
    config = build(merge(settings_tree([], {}), {"kafka": {"LSST": access}}))
    settings = consumer_settings(SURVEY, config, test=False, group=None)
    assert {name: settings[name] for name in access} == access
    Consumer(settings).close()
