"""Which alerts may be of extragalactic transients: each rule by itself, for the survey that tells of it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from packets import JD, prv_point, real_packets, ztf_record

from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import get_survey, known_surveys
from kowalski.config import settings_tree
from kowalski.transients.extragalactic import Verdict, judge
from kowalski.transients_section import Cuts

ZTF, LSST, PGIR = (get_survey(name) for name in ("ZTF", "LSST", "PGIR"))
CUTS = Cuts.model_validate(settings_tree([], {})["transients"]["cuts"])
GOOD = {"isdiffpos": "t", "drb": 0.99, "ssdistnr": -999.0, "magpsf": 18.0, "sigmapsf": 0.05}
SEEN = [prv_point(JD - 3, candid=7, magpsf=18.5, sigmapsf=0.1, isdiffpos="t")]


def verdict(
    prv: list[dict[str, Any]] | None = None, matches: dict[str, Any] | None = None, cuts: Cuts = CUTS, **candidate: Any
) -> Verdict:
    """Of a good candidate of ZTF that was seen before, but for what is said of it."""
    record = ztf_record(**GOOD | candidate)
    aux = {"prv_candidates": SEEN if prv is None else prv, "cross_matches": matches or {}}
    return judge(record, aux, ZTF, cuts)


def test_a_good_one_is_recent() -> None:
    assert verdict() == (True, "recent", "first seen 3.0 d before")


@pytest.mark.parametrize(
    ("reason", "candidate"),
    [
        ("negative", {"isdiffpos": "f"}),
        ("bogus", {"drb": 0.3}),
        ("moving", {"ssdistnr": 2.5}),
        ("star", {"sgscore1": 0.9, "distpsnr1": 0.5}),
        ("star", {"sgscore2": 0.9, "distpsnr2": 1.9}),
        ("bright_star", {"sgscore1": 0.6, "distpsnr1": 15.0, "srmag1": 12.0}),
        ("bright_star", {"neargaiabright": 10.0, "maggaiabright": 11.0}),
    ],
)
def test_what_the_alert_says_against_it(reason: str, candidate: dict[str, Any]) -> None:
    found = verdict(**candidate)
    assert (found.passed, found.reason) == (False, reason), found


@pytest.mark.parametrize(
    "candidate",
    [
        {"ssdistnr": 20.0},
        {"sgscore1": 0.2, "distpsnr1": 0.3},
        {"sgscore1": 0.9, "distpsnr1": 5.0, "srmag1": 17.0},
        {"sgscore1": -999.0, "distpsnr1": 0.1, "srmag1": -999.0},
        {"sgscore1": 0.2, "distpsnr1": 5.0, "srmag1": 12.0},
        {"neargaiabright": 60.0, "maggaiabright": 9.0},
        {"neargaiabright": -999.0, "maggaiabright": -999.0},
        {"drb": None, "rb": 0.7},
    ],
)
def test_what_says_nothing_against_it(candidate: dict[str, Any]) -> None:
    assert verdict(**candidate).passed


@pytest.mark.parametrize(
    ("reason", "matches"),
    [
        ("star", {"Gaia_EDR3": [{"parallax": 2.0, "parallax_error": 0.1}]}),
        ("star", {"Gaia_DR2": [{"pmra": 3.0, "pmra_error": 1.0, "pmdec": -4.5, "pmdec_error": 1.0}]}),
        ("bright_star", {"Gaia_EDR3": [{"phot_g_mean_mag": 11.0, "parallax": None}]}),
        ("agn", {"milliquas": [{"Name": "Q", "Qpct": 99}]}),
        ("star", {"PS1_STRM": [{"prob_Star": 0.95}]}),
        ("agn", {"PS1_STRM": [{"prob_QSO": 0.95}]}),
        ("agn", {"AllWISE": [{"w1mpro": 14.0, "w2mpro": 13.0}]}),
        ("", {"Gaia_EDR3": [{"parallax": -2.0, "parallax_error": 0.1}]}),
        ("", {"Gaia_EDR3": [{"parallax": 0.2, "parallax_error": 0.1, "phot_g_mean_mag": 19.0}]}),
        ("", {"PS1_STRM": [{"prob_Star": 0.3, "prob_QSO": float("nan")}]}),
        ("", {"AllWISE": [{"w1mpro": 17.0, "w2mpro": 16.0}, {"w1mpro": 14.0, "w2mpro": 13.9}]}),
        ("", {"NED_BetaV3": [{"z": 0.02}], "milliquas": []}),
    ],
)  # fmt: skip
def test_what_catalogues_say(reason: str, matches: dict[str, Any]) -> None:
    found = verdict(matches=matches)
    assert (found.passed, found.reason) == ((False, reason) if reason else (True, "recent")), found


def test_one_detection_is_not_enough() -> None:
    for prv in ([], [prv_point(JD - 3)], [prv_point(JD - 0.01, candid=7, magpsf=18.0)], [prv_point(JD + 1, candid=9)]):
        assert verdict(prv).reason == "seen_once"
    assert verdict([prv_point(JD - 0.03, candid=7, magpsf=18.0)]).passed


def test_old_ones_must_rise() -> None:
    assert verdict(jdstarthist=JD - 400).reason == "rising"
    assert "0.50 mag brighter than 3.0 d before" in verdict(jdstarthist=JD - 400).detail
    steady = [prv_point(JD - 40, candid=1, magpsf=19.0), prv_point(JD - 3, candid=7, magpsf=18.1, sigmapsf=0.1)]
    assert verdict(steady) == (False, "old", "first seen 40 d before, and does not rise")
    other_band = [prv_point(JD - 40, candid=1, magpsf=19.0, fid=2)]
    assert verdict(other_band).reason == "old"
    negative = [prv_point(JD - 40, candid=1, magpsf=19.0, isdiffpos="t"), prv_point(JD - 3, candid=7, magpsf=17.0, isdiffpos="f")]  # fmt: skip
    assert verdict(negative).reason == "rising"


def test_thresholds_are_settings() -> None:
    lax = CUTS.model_copy(update={"min_score": 0.1, "agn": (), "recent_days": 1000.0})
    assert verdict(drb=0.3, matches={"milliquas": [{}]}, jdstarthist=JD - 400, cuts=lax).passed


def test_surveys_say_it_in_their_own_names() -> None:
    record: dict[str, Any] = {"candidate": {"jd": JD, "magpsf": 20.0, "fid": 2}, "diaSource": {"ssObjectId": 5}}
    points = [{"jd": JD - 1, "candid": 3, "magpsf": 21.0, "fid": 2}]
    aux = {"prvDiaSources": points, "prv_candidates": points}
    assert judge(record, aux, LSST, CUTS) == (False, "moving", "diaSource.ssObjectId is 5")
    for nothing in (None, 0):
        record["diaSource"]["ssObjectId"] = nothing
        assert judge(record, aux, LSST, CUTS).passed
    assert judge({"candidate": {"jd": JD, "isstar": 1}}, aux, PGIR, CUTS).reason == "star"
    assert judge({"candidate": {"jd": JD, "isstar": 0}}, aux, PGIR, CUTS).passed
    assert all(survey.transients is not None for survey in known_surveys())


def test_fields_of_another_kind_say_nothing() -> None:
    odd = {"ssdistnr": "near", "sgscore1": float("nan"), "distpsnr1": [1], "drb": "good", "maggaiabright": {}}
    record = ztf_record(**GOOD)
    record["candidate"] |= odd
    assert judge(record, {"prv_candidates": SEEN}, ZTF, CUTS).passed


def test_real_alerts(test_data: Path) -> None:
    """Of 36 alerts, 15 of them known objects of the solar system, those of seven objects pass."""
    alerts, _ = read_batch(real_packets(test_data), ZTF)
    verdicts = [judge(alert.document, merged({}, [arrival(alert, ZTF)], ZTF), ZTF, CUTS) for alert in alerts]
    assert Counter(each.reason for each in verdicts) == {
        "moving": 15, "recent": 8, "star": 5, "negative": 3, "old": 2, "bogus": 2, "seen_once": 1
    }  # fmt: skip
    passed = {alert.object_id for alert, each in zip(alerts, verdicts, strict=True) if each.passed}
    assert {"ZTF20aaelulu", "ZTF20aajcbhr"} < passed
    assert len(passed) == 7
