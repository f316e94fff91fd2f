"""Surveys by name, and their topics."""

import re
from datetime import date

import pytest

from kowalski.alerts.survey import enabled_surveys, get_survey, module_of
from kowalski.errors import ConfigError

ZTF = get_survey("ZTF")


def test_a_survey_is_found_in_any_case() -> None:
    assert get_survey("ztf") is get_survey("Ztf") is ZTF
    assert (ZTF.alerts, ZTF.aux) == ("ZTF_alerts", "ZTF_alerts_aux")


@pytest.mark.parametrize("name", ["HST", "", "../ztf", "ZTF ", "os.path", "ztf.x"])
def test_there_is_no_such_survey(name: str) -> None:
    with pytest.raises(ConfigError, match="no survey"):
        get_survey(name)


@pytest.mark.parametrize("name", ["WNTR", "wntr"])
def test_winters_module_has_another_name_than_its_key(name: str) -> None:
    assert module_of(name) == "kowalski.alert_broker_winter"


def test_only_surveys_that_exist_are_enabled() -> None:
    assert enabled_surveys({"ztf": True, "hst": True}) == ["ZTF"]
    assert enabled_surveys({"ztf": False}) == []


def test_topics_of_some_nights() -> None:
    pattern = ZTF.topics_of([date(2024, 1, 1), date(2023, 12, 31)])
    assert pattern.startswith("^"), "what librdkafka takes for a regular expression"
    for topic, found in [
        ("ztf_20240101_programid1", True), ("ztf_20231231_programid3", True), ("ztf_20240102_programid1", False),
        ("ztf_20240101_programid4", False), ("ztf_20240101_programid1_copy", False), ("my_ztf_20240101_programid1", False),
    ]:  # fmt: skip
        assert bool(re.search(pattern, topic)) is found


@pytest.mark.parametrize(
    ("topic", "night"),
    [("ztf_20240101_programid2", "20240101"), ("pgir_20240101", None), ("ztf_2024_programid1", None), ("", None)],
)
def test_the_night_of_a_topic(topic: str, night: str | None) -> None:
    assert ZTF.night_of(topic) == night


def test_the_declared_cutouts_are_read() -> None:
    packet = {name: {"stampData": name.encode()} for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference")}
    assert ZTF.stamps(packet) == (b"cutoutScience", b"cutoutTemplate", b"cutoutDifference")
