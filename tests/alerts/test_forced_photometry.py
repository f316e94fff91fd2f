"""Forced photometry of a packet as it is stored."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packets import JD, forced_point, real_packets

from kowalski.alerts.document import read_batch
from kowalski.alerts.forced_photometry import format_forced, magnitudes
from kowalski.alerts.survey import get_survey

CANDIDATE = {"magpsf": 18.5, "ra": 10.0, "dec": -5.0}
COMPUTED = {"mag", "magerr", "snr", "limmag3sig", "limmag5sig"}


def one(**fields: Any) -> dict[str, Any]:
    (point,) = format_forced([forced_point(JD, **fields)], CANDIDATE)
    return point


def test_magnitudes_are_those_of_the_formulae() -> None:
    point = one(forcediffimflux=250.0, forcediffimfluxunc=20.0, magzpsci=26.1)
    assert point["snr"] == 12.5
    assert point["mag"] == pytest.approx(26.1 - 2.5 * math.log10(250))
    assert point["magerr"] == pytest.approx(1.0857 * 20 / 250)
    assert point["limmag3sig"] == pytest.approx(26.1 - 2.5 * math.log10(60))
    assert point["limmag5sig"] == pytest.approx(26.1 - 2.5 * math.log10(100))


def test_a_negative_flux_has_limits_but_no_magnitude() -> None:
    point = one(forcediffimflux=-250.0, forcediffimfluxunc=20.0)
    assert point["snr"] == -12.5
    assert COMPUTED & point.keys() == {"magerr", "snr", "limmag3sig", "limmag5sig"}


def test_no_flux_at_all() -> None:
    point = one(forcediffimflux=0.0, forcediffimfluxunc=20.0)
    assert point["snr"] == 0
    assert COMPUTED & point.keys() == {"snr", "limmag3sig", "limmag5sig"}


@pytest.mark.parametrize("field", ["forcediffimflux", "forcediffimfluxunc", "magzpsci"])
@pytest.mark.parametrize("value", [None, -99999, -99999.0, math.nan])
def test_nothing_is_computed_from_what_is_missing(field: str, value: float | None) -> None:
    point = one(**{field: value})
    if value is None or value == -99999:
        assert field not in point
    assert not any(math.isnan(number) for name, number in point.items() if name in COMPUTED)
    assert not {"mag", "limmag3sig"} & point.keys() or field == "forcediffimflux"


def test_an_error_of_zero_gives_nothing() -> None:
    assert magnitudes({"forcediffimflux": 1.0, "forcediffimfluxunc": 0.0, "magzpsci": 26.0}) == {}


def test_the_alert_that_brought_a_point_is_named() -> None:
    assert {key: value for key, value in one().items() if key.startswith("alert_")} == {
        "alert_mag": 18.5, "alert_ra": 10.0, "alert_dec": -5.0,
    }  # fmt: skip


def test_points_ascend_and_the_first_of_equal_jds_is_kept() -> None:
    points = [forced_point(JD - day, rcid=number) for number, day in enumerate((1, 3, 1, 2, 3))]
    formatted = format_forced(points, CANDIDATE)
    assert [(point["jd"], point["rcid"]) for point in formatted] == [(JD - 3, 1), (JD - 2, 3), (JD - 1, 0)]


def test_nulls_and_missing_values_vanish() -> None:
    point = one(field=None, rcid=-99999, procstatus="0", exptime=-99999.0)
    assert not {"field", "rcid", "exptime"} & point.keys()
    assert point["procstatus"] == "0"


def test_nothing_comes_of_nothing() -> None:
    assert format_forced([], CANDIDATE) == []


def test_the_packets_own_points_stay_as_they_were() -> None:
    point = forced_point(JD, exptime=-99999.0)
    before = dict(point)
    format_forced([point], CANDIDATE)
    assert point == before


def test_real_forced_photometry(test_data: Path) -> None:
    alerts, _ = read_batch(real_packets(test_data), get_survey("ZTF"))
    (alert,) = (alert for alert in alerts if alert.candid == 2475433850015010009)
    raw = alert.histories["fp_hists"]
    formatted = format_forced(raw, alert.candidate)
    assert len(formatted) == 21
    assert np.all(np.diff([point["jd"] for point in formatted]) > 0)
    assert -99999 not in [value for point in formatted for value in point.values()]
    assert raw[0]["forcediffimflux"] == -99999
    assert "forcediffimflux" not in formatted[0]
    for point in formatted:
        if point.get("forcediffimflux", -1) > 0:
            assert point["mag"] == pytest.approx(point["magzpsci"] - 2.5 * math.log10(point["forcediffimflux"]))
