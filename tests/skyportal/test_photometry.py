"""Light curves in flux space: the counts known of real packets, and what SkyPortal would refuse stays here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.decode import decode
from kowalski.alerts.forced_photometry import format_forced
from kowalski.skyportal.photometry import MAX_ROWS, Columns, acceptable, make_photometry, photometry_requests

JD = 2460000.5


def light_curve(record: dict[str, Any]) -> Columns:
    candidate = record["candidate"]
    forced = format_forced(record.get("fp_hists") or [], candidate)
    return make_photometry(candidate, record["prv_candidates"] or [], forced, SURVEY)


def detection(**changes: Any) -> dict[str, Any]:
    usual = {"jd": JD, "fid": 1, "programid": 1, "diffmaglim": 20.0, "isdiffpos": "t", "ra": 10.0, "dec": 20.0}
    return {**usual, "magpsf": 18.9, "sigmapsf": 0.1, **changes}


def limit(**changes: Any) -> dict[str, Any]:
    return {"jd": JD - 1, "fid": 1, "programid": 1, "diffmaglim": 20.0, **changes}


def forced(**changes: Any) -> dict[str, Any]:
    usual = {"jd": JD - 2, "fid": 2, "programid": 1, "diffmaglim": 20.0, "magzpsci": 26.0, "procstatus": "0"}
    return {**usual, "forcediffimflux": 100.0, "forcediffimfluxunc": 10.0, **changes}


def curve(*history: dict[str, Any], fp: tuple[dict[str, Any], ...] = (), **candidate: Any) -> Columns:
    return make_photometry(detection(**candidate), list(history), list(fp), SURVEY)


def test_a_packet_of_2020_has_32_points(test_data: Path) -> None:
    (record,) = decode((test_data / "ztf_alerts/20200202/1127561445515015011.avro").read_bytes())
    assert len(light_curve(record)["mjd"]) == 32


def test_a_packet_of_2023_has_28_points_with_its_forced_photometry(test_data: Path) -> None:
    (record,) = decode((test_data / "ztf_alerts/20231012/2475433850015010009.avro").read_bytes())
    columns = light_curve(record)
    is_forced = columns["origin"] == "alert_fp"
    with_flux = np.isfinite(columns["flux"])
    assert (len(is_forced), (~is_forced).sum(), is_forced.sum()) == (28, 21, 7)
    assert ((with_flux & ~is_forced).sum(), (with_flux & is_forced).sum()) == (5, 6)
    assert np.isfinite(columns["fluxerr"]).all()


def test_every_real_packet_would_be_accepted(test_data: Path) -> None:
    for path in sorted(test_data.glob("ztf_alerts/*/*.avro")):
        (record,) = decode(path.read_bytes())
        columns = light_curve(record)
        assert acceptable(columns).all()
        assert sum(len(rows["mjd"]) for _, _, rows in photometry_requests(columns, SURVEY)) == len(columns["mjd"])


def test_magnitudes_become_microjansky() -> None:
    columns = curve(limit(), isdiffpos="f")
    assert columns["mjd"].tolist() == [JD - 1 - 2400000.5, JD - 2400000.5]
    assert columns["flux"] == pytest.approx([np.nan, -100.0], rel=1e-5, nan_ok=True)
    assert columns["fluxerr"] == pytest.approx([10**1.56 / 5, 100 * 0.1 * np.log(10) / 2.5], rel=1e-5)
    assert columns["zp"].tolist() == [23.9, 23.9]


@pytest.mark.parametrize("sign", [True, 1, 1.0, "y", "Y", "t", "1", "T"])
def test_positive_differences(sign: object) -> None:
    assert curve(isdiffpos=sign)["flux"][0] > 0


@pytest.mark.parametrize("sign", [False, 0, "f", "0", "n", None])
def test_negative_differences(sign: object) -> None:
    assert curve(isdiffpos=sign)["flux"][0] < 0


def test_forced_points_keep_their_zero_point_and_become_limits_below_3_sigma() -> None:
    faint = forced(jd=JD - 3, forcediffimflux=29.0)
    empty = forced(jd=JD - 4, forcediffimflux=None, forcediffimfluxunc=None)
    columns = curve(fp=(forced(), faint, empty, forced(jd=JD - 5, procstatus="56"), forced(jd=JD - 6, diffmaglim=0)))
    rows = columns["origin"] == "alert_fp"
    assert columns["flux"][rows] == pytest.approx([np.nan, np.nan, 100.0], nan_ok=True)
    assert columns["fluxerr"][rows] == pytest.approx([10 ** (-0.4 * (20 - 26)) / 5, 10.0, 10.0])
    assert columns["zp"][rows].tolist() == [26.0] * 3
    assert set(columns["filter"][rows]) == {"ztfr"}


def test_what_is_no_measurement_is_left_out() -> None:
    odd = [limit(jd=JD - 2, diffmaglim=0.0), limit(jd=JD - 3, diffmaglim=None), limit(jd=JD - 4, fid=4)]
    assert len(curve(*odd)["mjd"]) == 1


def test_a_detection_without_a_limit_counts() -> None:
    assert len(curve(detection(jd=JD - 1, diffmaglim=None))["mjd"]) == 2


def test_equal_points_are_sent_once() -> None:
    assert len(curve(detection(), limit(), limit())["mjd"]) == 2
    columns = curve(limit(), limit(fid=2), fp=(forced(), forced(fid=1, forcediffimflux=50.0)))
    assert len(columns["mjd"]) == 5
    sent = {is_forced: len(rows["mjd"]) for _, is_forced, rows in photometry_requests(columns, SURVEY)}
    assert sent == {False: 2, True: 1}


@pytest.mark.parametrize(
    "bad",
    [
        {"sigmapsf": 0.0},
        {"sigmapsf": None},
        {"sigmapsf": float("inf")},
        {"magpsf": -1e4},
        {"jd": float("nan")},
        {"dec": 95.0},
        {"ra": -1.0},
        {"ra": 400.0},
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_bad_row_does_not_cost_the_others(bad: dict[str, Any]) -> None:
    columns = curve(detection(**{"jd": JD - 1, **bad}))
    ((_, _, rows),) = photometry_requests(columns, SURVEY)
    assert rows["mjd"].tolist() == [JD - 2400000.5]


def test_rows_are_split_by_stream_and_the_rights_of_none_are_widened() -> None:
    columns = curve(*(limit(jd=JD - 1 - programid, programid=programid) for programid in (0, 1, 2, 3, 4)))
    sent = {name: len(rows["mjd"]) for name, _, rows in photometry_requests(columns, SURVEY)}
    assert sent == {"ZTF Public": 2, "ZTF Public+Partnership": 1, "ZTF Public+Partnership+Caltech": 2}


def test_long_light_curves_go_in_several_requests() -> None:
    """Of 2000 points at most: SkyPortal took 2.4 to 7.9 s for these, and has 15."""
    assert MAX_ROWS == 2000
    columns = curve(*(limit(jd=JD - 1 - number, diffmaglim=20 + number / 1e5) for number in range(MAX_ROWS)))
    assert [len(rows["mjd"]) for _, _, rows in photometry_requests(columns, SURVEY)] == [MAX_ROWS, 1]
