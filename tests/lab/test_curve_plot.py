"""Light curves as they are drawn and listed."""

import json
from typing import Any

import pytest

from kowalski.lab.curve_plot import plot, value_of
from kowalski.lab.curve_rows import Row, flux_of, magnitude_of, rows_of

JD = 2_460_310.5
FORCED = {"forcediffimflux": 100.0, "forcediffimfluxunc": 10.0, "magzpsci": 26.0}


def point(kind: str, **said: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "survey": "ZTF",
        "jd": JD,
        "mjd": JD - 2_400_000.5,
        "band": "ztfr",
        "fid": 2,
        "programid": 1,
    } | said


def detection(**said: Any) -> dict[str, Any]:
    return point("detection", candid=2522123456789012345, magpsf=18.5, sigmapsf=0.1, isdiffpos="t") | said


def only(**said: Any) -> Row:
    (row,) = rows_of([said])
    return row


def test_a_detection_has_a_magnitude_and_a_flux() -> None:
    row = only(**detection())
    assert (row.kind, row.mag, row.mag_error, row.programme) == ("detection", 18.5, 0.1, 1)
    assert row.flux == pytest.approx(flux_of(18.5))
    assert row.flux_error == pytest.approx(row.flux * 0.0921, rel=1e-3)


@pytest.mark.parametrize("sign", ["f", "0", 0, False])
def test_a_negative_one_is_told_apart(sign: Any) -> None:
    row = only(**detection(isdiffpos=sign))
    assert (row.kind, row.mag) == ("negative", 18.5)
    assert row.flux is not None
    assert row.flux < 0


def test_forced_photometry_is_a_point_from_3_sigma_on_and_else_a_limit() -> None:
    bright = only(**point("forced", procstatus="0", **FORCED))
    assert bright.kind == "forced"
    assert bright.mag == pytest.approx(magnitude_of(100 * 10 ** (-0.4 * (26 - 23.9))))
    for flux in (29.0, -100.0):
        faint = only(**point("forced", procstatus="0", **FORCED | {"forcediffimflux": flux}))
        assert (faint.kind, faint.mag_error) == ("faint", None)
        assert faint.mag == pytest.approx(magnitude_of(3 * 10 * 10 ** (-0.4 * (26 - 23.9))))


def test_an_upper_limit_is_one_and_what_is_none_is_left_out() -> None:
    row = only(**point("limit", diffmaglim=20.5))
    assert (row.kind, row.mag, value_of(row, "mag"), value_of(row, "flux")) == ("limit", 20.5, "> 20.50", "< 22.9 µJy")
    assert rows_of([point("limit"), point("limit", diffmaglim=-999.0), point("limit", diffmaglim=float("nan"))]) == []


def test_a_band_without_a_name_is_shown_nevertheless() -> None:
    assert only(**detection(survey="TURBO", band=None, fid=1)).band == "TURBO filter 1"


def test_what_its_survey_has_withdrawn_is_listed_and_not_drawn() -> None:
    rows = rows_of([detection(withdrawn_jd=JD + 1)])
    assert rows[0].withdrawn
    assert _columns(plot(rows, {}, "ZTF", "mag", "light")) == []


@pytest.mark.parametrize("y", ["mag", "flux"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_plot_is_json_whose_candids_are_whole_and_needs_no_script(y: str, theme: str) -> None:
    curve = [detection(), detection(jd=JD + 1, band="ztfg", isdiffpos="f"), point("limit", diffmaglim=20.5)]
    curve += [point("forced", procstatus="0", **FORCED), detection(survey="LSST", band="lsstr")]
    fit = {"curve": {"mjd": [60310.0, 60311.0], "bands": {"ztfr": [-1.0, 150.0], "ztfi": [1.0, 1.0]}}}
    text = json.dumps(plot(rows_of(curve), fit, "ZTF", y, theme), allow_nan=False)
    assert "2522123456789012345" in text
    assert "CustomJS" not in text
    assert '"ztfi"' not in text
    columns = _columns(json.loads(text))
    assert sorted(what for each in columns for what in each["what"]) == [
        "LSST lsstr, detection", "ZTF ztfg, negative detection", "ZTF ztfr, detection", "ZTF ztfr, forced photometry", "ZTF ztfr, upper limit",
    ]  # fmt: skip


def test_nothing_is_a_plot_too() -> None:
    assert _columns(plot([], {}, "ZTF", "mag", "light")) == []


def _columns(item: Any) -> list[dict[str, Any]]:
    """The columns of the points in a plot."""
    found: list[dict[str, Any]] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "map":
                pairs = {key: value for key, value in node["entries"] if isinstance(key, str)}
                if "what" in pairs:
                    found.append(pairs)
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(item)
    return found
