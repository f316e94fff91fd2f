"""Notices of all three formats, and what is none."""

import json
from datetime import datetime
from typing import Any

import pytest
from gcn_harness import gwalert, voevent

from kowalski.errors import SkymapError
from kowalski.watchers.gcn_notices import read_notice


def unified(**told: Any) -> bytes:
    own = {"mission": "Swift", "instrument": "BAT", "id": [1234], "trigger_time": "2026-02-03T04:05:06.5+01:00"}
    return json.dumps({key: value for key, value in (own | told).items() if value is not None}).encode()


def test_gravitational_waves() -> None:
    notice = read_notice(gwalert("S260518h", b"map"))
    assert (notice.event, notice.kind, notice.retracts, notice.test) == ("S260518h", "PRELIMINARY", False, False)
    assert notice.known == {
        "dateobs": datetime.fromisoformat("2026-05-18T12:59:08.167"),
        "aliases": ["LVC#S260518h"],
        "triggerid": None,
    }
    (source,) = notice.sources
    assert source.name == "S260518h-PRELIMINARY-2026-05-18T12:59:15Z"
    assert source.given == {"content": "bWFw"}
    retraction = read_notice(gwalert("MS260518h", None, "RETRACTION"))
    assert (retraction.event, retraction.retracts, retraction.test, retraction.sources) == ("MS260518h", True, True, [])


def test_the_map_combined_with_other_messengers_is_taken() -> None:
    told = json.loads(gwalert("S260518h", b"map"))
    told["external_coinc"] = {"gcn_notice_id": 1, "combined_skymap": "Y29tYmluZWQ="}
    (source,) = read_notice(json.dumps(told).encode()).sources
    assert source.given == {"content": "Y29tYmluZWQ="}
    assert source.name.endswith("-combined")


def test_voevents_of_the_same_event_have_one_name() -> None:
    first = read_notice(voevent("Fermi#GBM_Alert_1", 1, 2, 3, TrigID=5))
    light_curve = "http://x.gov/glg_lc_medres34_bn260203123.gif"
    second = read_notice(voevent("Fermi#GBM_Fin_Pos_2", 1, 2, 3, TrigID=5, LightCurve_URL=light_curve))
    assert first.event == second.event == "Fermi:5"
    assert [source.given.keys() for source in second.sources] == [{"url"}, {"ra", "dec", "error"}]
    wave = read_notice(
        voevent("LVC#S260518h-1-Preliminary", 0, 0, 0, GraceID="S260518h", skymap_fits="https://x.org/a.fits,0")
    )
    assert (wave.event, wave.sources[0].name) == ("S260518h", "a.fits,0")
    taken_back = read_notice(voevent("LVC#S260518h-3-Retraction", 0, 0, 0, GraceID="S260518h", AlertType="Retraction"))
    assert (taken_back.event, taken_back.retracts) == ("S260518h", True)


def test_the_unified_schema() -> None:
    notice = read_notice(unified(ra=10, dec=-20, ra_dec_error=2.146, containment_probability=0.9))
    assert (notice.event, notice.known["dateobs"]) == ("Swift:1234", datetime.fromisoformat("2026-02-03T03:05:06.5"))
    assert notice.sources[0].given["error"] == pytest.approx(1, rel=1e-3)
    ellipse = read_notice(unified(ra=10, dec=-20, ra_dec_error=[1, 2, 45], event_name=["GRB 260203A"]))
    assert ellipse.known["aliases"] == ["GRB 260203A", "Swift#1234"]
    assert ellipse.sources[0].given["error"] == pytest.approx(2 / 2.146, rel=1e-3)
    both = read_notice(unified(ra=10, dec=-20, ra_dec_error=1, healpix_url="https://x.org/a.fits"))
    assert [source.name for source in both.sources][0] == "a.fits"
    assert len(both.sources) == 2
    inside = read_notice(unified(ra=10, dec=-20, ra_dec_error=1, healpix_file="bWFw"))
    assert [source.given for source in inside.sources] == [{"content": "bWFw"}]
    gone = read_notice(unified(alert_type="retraction", alert_tense="test"))
    assert (gone.retracts, gone.test) == (True, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither XML nor JSON"),
        (b"[" * 100_000, "neither XML nor JSON"),
        (b"[]", "no JSON object"),
        (b"<a/>", "not a VOEvent"),
        (b'{"superevent_id": 5}', "no superevent_id"),
        (gwalert("S1", None), "no event"),
        (gwalert("S1", b"").replace(b'"skymap": ""', b'"skymap": 5'), "no sky map"),
        (gwalert("S1", b"map").replace(b"2026-05-18T12:59:08.167Z", b"today"), "does not say when"),
        (unified(id=None, ra=1, dec=1, ra_dec_error=1), "names no event"),
        (unified(), "neither a sky map nor a position"),
        (unified(ra="1", dec=1, ra_dec_error=1), "neither a sky map nor a position"),
        (unified(ra=10**400, dec=1, ra_dec_error=1), "can't be read"),
        (unified(ra=1, dec=1, ra_dec_error=-1), "neither a sky map nor a position"),
        (unified(ra=1, dec=1, ra_dec_error=1, trigger_time=None), "does not say when"),
    ],
)
def test_what_can_not_be_read(content: bytes, message: str) -> None:
    with pytest.raises(SkymapError, match=message):
        read_notice(content)


def test_names_can_be_stored() -> None:
    notice = read_notice(unified(id=["a/b\ud800" + "x" * 150], ra=1, dec=1, ra_dec_error=1))
    assert notice.event.startswith("Swift:a_b?xx")
