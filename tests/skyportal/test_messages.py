"""What SkyPortal is told: bodies built from stored documents."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kowalski.alert_broker_ztf import SURVEY
from kowalski.errors import PacketError, SkyPortalError
from kowalski.skyportal import messages
from kowalski.skyportal.contract import check_annotation, check_candidate, photometry_rows
from kowalski.skyportal.marshal import INSTRUMENTS

JD = 2460000.5
STREAMS = {name: number for number, name in enumerate(dict.fromkeys(SURVEY.streams.values()), 1)}


def candidate(jd: float = JD, candid: int = 5, **changes: Any) -> dict[str, Any]:
    point = {"jd": jd, "fid": 1, "programid": 1, "diffmaglim": 20.0, "isdiffpos": "t", "magpsf": 18.0, "sigmapsf": 0.1}
    return {**point, "ra": 10.0, "dec": -20.0, "candid": candid, "drb": None, "rb": 0.7, **changes}


def alert(jd: float = JD, candid: int = 5, **changes: Any) -> dict[str, Any]:
    return {"objectId": "ZTF1", "candid": candid, "candidate": candidate(jd, candid, **changes)}


def entry(filter_id: int = 3, **changes: Any) -> dict[str, Any]:
    passed_at = datetime(2024, 1, 2, 3, 4, 5, 678000, UTC)
    usual = {"objectId": "ZTF1", "candid": 5, "filter_id": filter_id, "group_id": 7, "passed_at": passed_at}
    return {**usual, "annotations": {"a": 1}, **changes}


def test_a_candidate_names_its_filters_and_keeps_its_time() -> None:
    message = messages.candidate_message([entry(3), entry(4)], alert(), SURVEY)
    check_candidate(json.loads(json.dumps(message)))
    assert message == {
        "id": "ZTF1",
        "ra": 10.0,
        "dec": -20.0,
        "score": 0.7,
        "filter_ids": [3, 4],
        "passing_alert_id": 5,
        "passed_at": "2024-01-02T03:04:05.678005",
        "origin": "Kowalski",
    }
    later = messages.candidate_message([entry()], alert(), SURVEY, later=2)
    assert later["passed_at"] == "2024-01-02T03:04:05.678007"


def test_alerts_of_one_moment_differ_in_their_microseconds() -> None:
    """A newer SkyPortal takes the second of two equal ones for the first, and says that all is well."""
    first, second = (
        messages.candidate_message([entry(candid=candid)], alert(candid=candid), SURVEY)["passed_at"]
        for candid in (2475433850015010009, 2476433850015010009)
    )
    assert first != second
    assert {first[:23], second[:23]} == {"2024-01-02T03:04:05.678"}


@pytest.mark.parametrize("scores", [{"drb": 0.9}, {"drb": float("nan"), "rb": 0.9}])
def test_the_first_usable_score_is_taken(scores: dict[str, Any]) -> None:
    assert messages.candidate_message([entry()], alert(**scores), SURVEY)["score"] == 0.9


def test_a_candidate_may_have_no_score() -> None:
    assert "score" not in messages.candidate_message([entry()], alert(rb=None), SURVEY)


@pytest.mark.parametrize("place", [{"dec": -95.0}, {"dec": float("nan")}, {"ra": 361.0}, {"ra": -0.1}])
def test_a_place_off_the_sky_is_no_candidate(place: dict[str, Any]) -> None:
    with pytest.raises(PacketError):
        messages.candidate_message([entry()], alert(**place), SURVEY)


def test_an_annotation_is_signed_by_group_and_filter() -> None:
    group = {"id": 7, "name": "Long name", "nickname": "short", "filters": [{"id": 3, "name": "SNe"}]}
    assert messages.annotation_origin(entry(), group) == "short:SNe"
    assert messages.annotation_origin(entry(), {**group, "nickname": None}) == "Long name:SNe"
    with pytest.raises(SkyPortalError):
        messages.annotation_origin(entry(4), group)


def test_an_annotation_holds_whatever_a_pipeline_returns() -> None:
    returned = {
        "nan": float("nan"),
        "list": [1, float("inf"), None, True],
        "when": datetime(2024, 1, 1, tzinfo=UTC),
        "day": date(2024, 1, 1),
        "deep": {"candid": 2475433850015010009},
        "odd": {1},
    }
    message = messages.annotation_message(entry(annotations=returned), "short:SNe")
    check_annotation(json.loads(json.dumps(message, allow_nan=False)), new=True)
    data = message["data"]
    assert (data["nan"], data["list"]) == (None, [1, None, None, True])
    assert data["when"] == "2024-01-01T00:00:00+00:00"
    assert data["deep"] == {"candid": 2475433850015010009}


def test_a_full_light_curve_takes_each_detection_once() -> None:
    aux = {"prv_candidates": [candidate(JD - 2, 3), {"jd": JD - 3, "fid": 1, "programid": 1, "diffmaglim": 20.0}]}
    stored = [alert(), alert(JD - 2, 3), alert(JD - 1, 4), alert(JD + 1, 6)]
    curve = messages.full_light_curve(alert(), aux, stored, SURVEY)
    assert (curve["mjd"] + 2400000.5).tolist() == [JD - 3, JD - 2, JD - 1, JD, JD + 1]


def test_a_packets_light_curve_is_what_its_packet_brought() -> None:
    aux = {
        "prv_candidates": [
            candidate(JD - 40, 1, first_jd=JD - 30),
            candidate(JD - 20, 2, first_jd=JD - 10),
            candidate(JD - 1, 3, first_jd=JD + 5),
            candidate(JD + 1, 6, first_jd=JD + 5),
        ],
        "last_packet": {"jd": JD + 5, "candid": 9},
    }
    curve = messages.packet_light_curve(alert(), aux, SURVEY)
    assert (curve["mjd"] + 2400000.5).tolist() == [JD - 20, JD]


@pytest.mark.parametrize(("complete", "sent"), [(True, 1), (False, 0), (None, 1)])
def test_forced_photometry_is_sent_where_it_covers_the_object(complete: bool | None, sent: int) -> None:
    point = {"jd": JD - 1, "fid": 1, "programid": 1, "diffmaglim": 20.0, "magzpsci": 26.0, "procstatus": "0"}
    fluxes = {"forcediffimflux": 100.0, "forcediffimfluxunc": 10.0}
    first = {} if complete is None else {"first_alert": {"forced_complete": complete}}
    aux = {"fp_hists": [{**point, **fluxes}], **first}
    for curve in (
        messages.full_light_curve(alert(), aux, [], SURVEY),
        messages.packet_light_curve(alert(), aux, SURVEY),
    ):
        assert sum(curve["origin"] == "alert_fp") == sent


def test_photometry_goes_as_skyportal_takes_it() -> None:
    aux = {
        "prv_candidates": [{"jd": JD - 3, "fid": 1, "programid": 2, "diffmaglim": 20.0}],
        "fp_hists": [
            {"jd": JD - 1, "fid": 1, "programid": 1, "diffmaglim": 20.0, "magzpsci": 26.0, "procstatus": "0"},
        ],
    }
    curve = messages.full_light_curve(alert(), aux, [], SURVEY)
    sent = list(messages.photometry_messages("ZTF1", curve, SURVEY, 1, STREAMS))
    assert [(message.body["stream_ids"], message.overwrite) for message in sent] == [
        ([STREAMS["ZTF Public"]], False),
        ([STREAMS["ZTF Public+Partnership"]], False),
        ([STREAMS["ZTF Public"]], True),
    ]
    for message in sent:
        body = json.loads(json.dumps(message.body, allow_nan=False))
        (row,) = photometry_rows(body, INSTRUMENTS["ZTF"], ignore_flux=message.overwrite)
        assert row.origin == ("alert_fp" if message.overwrite else "None")


def test_a_missing_cutout_is_said_to_be() -> None:
    with pytest.raises(PacketError, match="science"):
        messages.thumbnail_message("ZTF1", alert(), "science", SURVEY)
