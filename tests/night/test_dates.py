"""The night of an alert: its topic's, else from noon to noon of its jd."""

from datetime import date

import pytest

from kowalski.alerts.survey import get_survey
from kowalski.errors import StreamError
from kowalski.night.dates import night_from, night_of_alert

ZTF, LSST = get_survey("ZTF"), get_survey("LSST")
#: JD of 2024-01-01, 12:00 UTC
NOON = 2460311.0


def test_of_a_topic() -> None:
    assert night_of_alert(ZTF, "ztf_20240229_programid1", NOON) == date(2024, 2, 29)


@pytest.mark.parametrize("topic", ["lsst-alerts", "dir:1.avro", ""])
def test_from_noon_to_noon(topic: str) -> None:
    for jd, night in [(NOON, 1), (NOON + 0.999, 1), (NOON + 1, 2)]:
        assert night_of_alert(LSST, topic, jd) == date(2024, 1, night)
    assert night_of_alert(LSST, topic, NOON - 1e-5) == date(2023, 12, 31)


def test_from_local_noon() -> None:
    """At Cerro Pachón (70.7 deg west) noon comes 0.196 d later, at Siding Spring (149 deg east) 0.414 d earlier."""
    assert night_of_alert(LSST, "lsst-alerts", NOON + 1.19, longitude=-70.7) == date(2024, 1, 1)
    assert night_of_alert(LSST, "lsst-alerts", NOON + 1.2, longitude=-70.7) == date(2024, 1, 2)
    assert night_of_alert(LSST, "lsst-alerts", NOON - 0.41, longitude=149.1) == date(2024, 1, 1)


def test_what_is_no_date() -> None:
    assert night_of_alert(ZTF, "ztf_20241399_programid1", NOON) == date(2024, 1, 1)
    assert night_of_alert(ZTF, "", -1e300) == date(1000, 1, 1)
    assert night_of_alert(ZTF, "", 1e300) == date.max
    with pytest.raises(StreamError, match="20241399 is not a night"):
        night_from("20241399")
