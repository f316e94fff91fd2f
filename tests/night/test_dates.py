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


@pytest.mark.parametrize("topic", ["lsst-alerts", "dir:1.avro", "", None])
def test_from_local_noon_to_local_noon(topic: str | None) -> None:
    """At Cerro Pachon (70.7 deg west) noon comes 0.1965 d later; the night has the date of its evening."""
    for days, night in [(0.197, 1), (0.999, 1), (1.196, 1), (1.197, 2)]:
        assert night_of_alert(LSST, topic, NOON + days) == date(2024, 1, night)
    assert night_of_alert(LSST, topic, NOON + 0.196) == date(2023, 12, 31)


def test_of_a_file_the_night_is_that_of_its_topic() -> None:
    """At Palomar midnight is 0.825 d after noon UTC: the topic of that night has the next day's date."""
    assert night_of_alert(ZTF, "dir:1.avro", NOON + 0.825) == date(2024, 1, 2)


def test_what_is_no_date() -> None:
    assert night_of_alert(ZTF, "ztf_20241399_programid1", NOON) == date(2024, 1, 1)
    assert night_of_alert(LSST, "", -1e300) == date(999, 12, 31)
    assert night_of_alert(LSST, "", 1e300) == date(9998, 12, 31)
    with pytest.raises(StreamError, match="20241399 is not a night"):
        night_from("20241399")
