"""How values are written on pages."""

from datetime import UTC, datetime

import pytest

from kowalski.lab.shown import NOTHING, bytes_, moment, number, seconds, sexagesimal, utc


@pytest.mark.parametrize(
    ("ra", "dec", "written"),
    [
        (0.0, 0.0, "00:00:00.00 +00:00:00.0"),
        (359.9999999, -0.00001, "00:00:00.00 -00:00:00.0"),
        (155.94, 12.582222, "10:23:45.60 +12:34:56.0"),
        (10.6847083, -41.26875, "00:42:44.33 -41:16:07.5"),
    ],
)
def test_a_position_in_hours_and_degrees(ra: float, dec: float, written: str) -> None:
    assert sexagesimal(ra, dec) == written


def test_a_julian_date_as_the_time_that_it_is() -> None:
    assert moment(2460310.5) == "2024-01-01 00:00:00"
    assert moment(2451545.0) == "2000-01-01 12:00:00"
    assert moment(None) == NOTHING


def test_times_numbers_durations_and_sizes() -> None:
    assert utc(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05"
    assert [number(value) for value in (1234567, 1.005, None, float("nan"), True)] == ["1,234,567", "1.00", NOTHING, NOTHING, NOTHING]  # fmt: skip
    assert [seconds(value) for value in (0.0124, 1.5, 90, 7200, 200_000, None)] == ["12 ms", "1.5 s", "1.5 min", "2.0 h", "2.3 d", NOTHING]  # fmt: skip
    assert [bytes_(value) for value in (12, 1500, 2.5e9, 3e12, None)] == ["12 B", "1.5 kB", "2.5 GB", "3.0 TB", NOTHING]
