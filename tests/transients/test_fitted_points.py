"""Light curves as fluxes: of real packets they are those that the magnitudes say, and each exposure counts once."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packets import real_packets

from kowalski.alerts.curve import merge_light_curve
from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import get_survey
from kowalski.config import settings_tree
from kowalski.transients.host import Host, host_of
from kowalski.transients.photometry import limits_of, photometry_of
from kowalski.transients.subject import rights_of
from kowalski.transients_section import Salt2

MJD = 60_000.0
REDSHIFTS = Salt2.model_validate(settings_tree([], {})["transients"]["salt2"]).redshifts


def point(kind: str, mjd: float, survey: str = "ZTF", band: str = "ztfg", **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "mjd": mjd, "survey": survey, "band": band, **fields}


def detection(mjd: float, magpsf: float = 18.9, **fields: Any) -> dict[str, Any]:
    return point("detection", mjd, **{"magpsf": magpsf, "sigmapsf": 0.1, "isdiffpos": "t"} | fields)


def forced(mjd: float, **fields: Any) -> dict[str, Any]:
    told = {"forcediffimflux": 100.0, "forcediffimfluxunc": 10.0, "magzpsci": 26.4, "procstatus": "0"}
    return point("forced", mjd, **told | fields)


def test_a_magnitude_is_a_flux() -> None:
    found = photometry_of([detection(MJD, 23.9), detection(MJD + 1, 18.9, isdiffpos="f")])
    assert found.flux == pytest.approx([1.0, -100.0])
    assert found.error == pytest.approx([0.1 * math.log(10) / 2.5, 100 * 0.1 * math.log(10) / 2.5])
    magnitudes, errors = found.magnitudes()
    assert (magnitudes[0], errors[0]) == (pytest.approx(23.9), pytest.approx(0.1))
    assert np.isnan([magnitudes[1], errors[1]]).all()


def test_forced_photometry_is_on_the_same_scale() -> None:
    found = photometry_of([forced(MJD)])
    assert (found.flux[0], found.error[0], found.forced[0]) == (pytest.approx(10.0), pytest.approx(1.0), True)
    lsst = photometry_of([point("forced", MJD, "LSST", "lsstr", psfFlux=5000.0, psfFluxErr=100.0)])
    assert (lsst.flux[0], lsst.error[0]) == (pytest.approx(5.0), pytest.approx(0.1))  # nJy


def test_of_one_exposure_the_forced_point_counts() -> None:
    for curve in ([detection(MJD), forced(MJD + 2e-5)], [forced(MJD + 2e-5), detection(MJD)]):
        assert photometry_of(curve).forced.tolist() == [True]
    assert len(photometry_of([detection(MJD), forced(MJD, band="ztfr")])) == 2
    assert len(photometry_of([detection(MJD), forced(MJD + 0.01)])) == 2


@pytest.mark.parametrize(
    "bad",
    [
        forced(MJD, procstatus="56"),
        forced(MJD, forcediffimflux=None),
        forced(MJD, forcediffimfluxunc=0.0),
        forced(MJD, forcediffimflux=float("nan")),
        detection(MJD, band=None),
        detection(MJD, withdrawn_jd=1.0),
        point("limit", MJD, diffmaglim=20.5),
    ],
)
def test_what_does_not_count(bad: dict[str, Any]) -> None:
    assert len(photometry_of([bad])) == 0


def test_limits() -> None:
    limits = limits_of([point("limit", MJD, diffmaglim=20.5), point("limit", MJD, diffmaglim=-999.0), detection(MJD)])
    assert {band: (each[0].tolist(), each[1].tolist()) for band, each in limits.items()} == {"ztfg": ([MJD], [20.5])}


def test_rights_are_those_of_the_points() -> None:
    curve = [detection(MJD, programid=2), detection(MJD + 1, programid=1), point("limit", MJD, programid=3)]
    assert rights_of(curve) == {"ZTF": [1, 2]}
    assert rights_of([*curve, forced(MJD), detection(MJD, survey="LSST")]) == {"ZTF": None, "LSST": []}


def test_real_light_curves(test_data: Path) -> None:
    """Those of packets: as many detections as they have, at the magnitudes that they say."""
    survey = get_survey("ZTF")
    for alert in read_batch(real_packets(test_data), survey)[0]:
        curve = merge_light_curve([alert.document], merged({}, [arrival(alert, survey)], survey), survey)
        found = photometry_of(curve)
        magnitudes = dict(zip(found.mjd.tolist(), found.magnitudes()[0].tolist(), strict=True))
        for each in curve:
            if each["kind"] == "detection" and each["isdiffpos"] in ("t", "1") and each["mjd"] in magnitudes:
                assert magnitudes[each["mjd"]] == pytest.approx(each["magpsf"], abs=0.5)
        assert {"detection", "forced"} >= {each["kind"] for each in curve if each["kind"] != "limit"}
        assert len(found) >= 1


# hosts


def row(distance: float | None = None, **fields: Any) -> dict[str, Any]:
    return {**fields, "coordinates": {} if distance is None else {"distance_arcsec": distance}}


def test_the_nearest_galaxy_with_a_redshift_is_the_host() -> None:
    rows = {"NED_BetaV3": [row(50.0, z=0.01), row(20.0, z=0.03, z_unc=0.0001, ebv=0.05)], "CLU_20190625": [row(30.0, z=0.02)]}  # fmt: skip
    assert host_of(rows, 10.0, 20.0, REDSHIFTS) == Host(0.03, "NED_BetaV3", 0.05, 20.0)


def test_what_has_no_measured_redshift_is_none() -> None:
    for odd in ({"z": None}, {"z": -0.001}, {"z": "0.1"}, {"z": float("nan")}, {"z": 0.1, "z_unc": 0.02}, {}):
        assert host_of({"NED_BetaV3": [row(1.0, **odd)]}, 10.0, 20.0, REDSHIFTS) is None


def test_distances_are_worked_out_of_positions() -> None:
    rows = {
        "CLU_20190625": [{"z": 0.01, "coordinates": {"radec_geojson": {"coordinates": [10.0 - 180, 20.0 + 3 / 3600]}}}],
        "galaxy_redshifts_20200522": [{"z": 0.02, "coordinates": {"radec_str": ["00:40:00.0000", "20:00:02.000"]}}],
    }
    found = host_of(rows, 10.0, 20.0, REDSHIFTS)
    assert found is not None
    assert (found.catalog, found.arcsec) == ("galaxy_redshifts_20200522", pytest.approx(2.0, abs=0.01))
    south = {
        "galaxy_redshifts_20200522": [{"z": 0.02, "coordinates": {"radec_str": ["00:40:00.0000", "-00:00:02.000"]}}]
    }
    found = host_of(south, 10.0, 0.0, REDSHIFTS)
    assert found is not None
    assert found.arcsec == pytest.approx(2.0, abs=0.01)
