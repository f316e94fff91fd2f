"""Nights at sites: their dates, and when they are dark."""

from datetime import UTC, date, datetime, timedelta

import pytest

from kowalski.alerts.site import CERRO_PACHON, PALOMAR, Site
from kowalski.alerts.survey import get_survey, known_surveys
from kowalski.night.darkness import darkness

POLE = Site("80 N", 0.0, 80.0, 0.0)


def noons(site: Site, evening: date) -> tuple[datetime, datetime]:
    return site.noon_of(evening), site.noon_of(evening + timedelta(days=1))


@pytest.mark.parametrize(
    ("site", "evening", "sunset", "sunrise"),
    [
        # as almanacs have them, to a few minutes: of the upper limb, with refraction
        (PALOMAR, date(2024, 6, 20), "2024-06-21T03:00", "2024-06-21T12:38"),
        (PALOMAR, date(2024, 12, 20), "2024-12-21T00:41", "2024-12-21T14:46"),
        (CERRO_PACHON, date(2024, 6, 20), "2024-06-20T21:51", "2024-06-21T11:38"),
    ],
)
def test_sunset_and_sunrise(site: Site, evening: date, sunset: str, sunrise: str) -> None:
    dark = darkness(site, noons(site, evening), -0.833)
    for found, expected in ((dark.begins, sunset), (dark.ends, sunrise)):
        assert abs(found - datetime.fromisoformat(expected).replace(tzinfo=UTC)) < timedelta(minutes=3)


def test_a_lower_sun_makes_a_shorter_night() -> None:
    spans = [darkness(PALOMAR, noons(PALOMAR, date(2024, 1, 1)), limit) for limit in (0, -6, -12, -18)]
    for longer, shorter in zip(spans, spans[1:], strict=False):
        assert longer.begins < shorter.begins < shorter.ends < longer.ends


def test_polar_day_and_night() -> None:
    summer, winter = noons(POLE, date(2024, 6, 21)), noons(POLE, date(2024, 12, 21))
    assert darkness(POLE, summer, -6) == (summer[1], summer[1])
    assert darkness(POLE, winter, -6) == winter


def test_dates_of_nights() -> None:
    ztf, lsst = get_survey("ZTF"), get_survey("LSST")
    midnight = datetime(2024, 1, 1, 7, 47, tzinfo=UTC)  # at Palomar
    assert ztf.night_at(midnight) == date(2024, 1, 1), "as its topic has it"
    assert ztf.night_at(midnight - timedelta(hours=11, minutes=59)) == date(2024, 1, 1)
    assert ztf.night_at(midnight - timedelta(hours=12, minutes=1)) == date(2023, 12, 31)
    assert lsst.night_at(datetime(2024, 1, 1, 4, 43, tzinfo=UTC)) == date(2023, 12, 31), "of the evening"


@pytest.mark.parametrize("survey", [survey.name for survey in known_surveys()])
def test_a_night_lies_between_its_noons(survey: str) -> None:
    known, night = get_survey(survey), date(2024, 3, 1)
    first, last = known.noons_around(night)
    assert last - first == timedelta(days=1)
    assert known.night_at(first) == known.night_at(last - timedelta(seconds=1)) == night
    assert known.night_at(last) == night + timedelta(days=1)
