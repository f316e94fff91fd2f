"""Which night an alert belongs to."""

from datetime import date

import pytest

from kowalski.alerts.survey import get_survey
from kowalski.night.dates import night_of_alert

ZTF, LSST = get_survey("ZTF"), get_survey("LSST")
#: noon of 1 January 2024, UTC
NOON = 2460311.0


@pytest.mark.parametrize(
    ("jd", "longitude", "day"),
    [(NOON, None, 1), (NOON + 0.9, None, 1), (NOON - 1e-6, None, 0), (NOON, -70.7, 0), (NOON + 0.2, -70.7, 1), (NOON - 0.2, 149.1, 1), (NOON - 0.5, 149.1, 0)],
)  # fmt: skip
def test_from_noon_to_noon_where_the_topic_names_no_night(jd: float, longitude: float | None, day: int) -> None:
    expected = date(2024, 1, 1) if day else date(2023, 12, 31)
    assert night_of_alert(LSST, "lsst-alerts", jd, longitude) == expected
    assert night_of_alert(ZTF, None, jd, longitude) == expected
    assert night_of_alert(ZTF, "ztf_20241399_programid1", jd, longitude) == expected


def test_the_topic_names_the_night() -> None:
    assert night_of_alert(ZTF, "ztf_20231012_programid1", NOON) == date(2023, 10, 12)
