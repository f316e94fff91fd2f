"""Notices: what is read of them, and which are none."""

from datetime import datetime
from typing import Any

import pytest

from kowalski.errors import SkymapError
from kowalski.skymaps.sources import noticed_sources
from kowalski.skymaps.voevent import read_voevent

GBM = "heasarc.gsfc.nasa.gov/FTP/fermi/data/gbm/triggers/2018/bn180116678/quicklook/"


def notice(
    ivorn: str = "ivo://nasa.gsfc.gcn/Fermi#GBM_1", where: str = "", role: str = "observation", **params: Any
) -> str:
    place = "<Position2D unit='deg'><Value2><C1>10.5</C1><C2>-20.5</C2></Value2><Error2Radius>3.0</Error2Radius></Position2D>"
    said = "".join(f'<Param name="{name}" value="{value}"/>' for name, value in params.items())
    return (
        f"<voe:VOEvent xmlns:voe='http://www.ivoa.net/xml/VOEvent/v2.0' ivorn='{ivorn}' role='{role}' version='2.0'>"
        f"<Who/><What><Group>{said}</Group></What><WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords>"
        "<Time><TimeInstant><ISOTime>2018-01-16T16:16:37.123456</ISOTime></TimeInstant></Time>"
        f"{where or place}</AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen></voe:VOEvent>"
    )


def test_a_burst_of_fermi() -> None:
    url = f"http://{GBM}glg_lc_medres34_bn180116678.gif"
    found = read_voevent(notice(TrigID="537811002", LightCurve_URL=url, GEO_RA=1, GEO_DEC=2, GEO_RAD=67))
    assert found.dateobs == datetime.fromisoformat("2018-01-16T16:16:37.123456")
    assert (found.trigger_id, found.aliases, found.earth) == (537811002, ["FERMI#bn180116678"], (1, 2, 67))
    assert found.url == f"https://{GBM}glg_healpix_all_bn180116678.fit"
    first, second = noticed_sources(found)
    assert (first.name, second.name) == ("glg_healpix_all_bn180116678.fit", "10.50000_-20.50000_3.00000")
    assert first.earth == second.earth == (1, 2, 67)


def test_an_event_of_gravitational_waves_has_the_map_that_it_names_and_no_other() -> None:
    url = "https://gracedb.ligo.org/api/superevents/S190814bv/files/bayestar.multiorder.fits,1"
    found = read_voevent(notice("ivo://gwnet/LVC#S190814bv-1", GraceID="S190814bv", skymap_fits=url))
    assert (found.aliases, found.trigger_id) == (["LVC#S190814bv"], None)
    (only,) = noticed_sources(found)
    assert (only.name, only.url) == ("bayestar.multiorder.fits,1", url)


@pytest.mark.parametrize(
    ("params", "sigma"),
    [({"src_error_90": 2.146}, 1.0), ({"src_error": 1.1774}, 1.0), ({}, 3 / 2.146)],
)
def test_radii_of_amon_are_not_standard_deviations(params: dict[str, float], sigma: float) -> None:
    cone = read_voevent(notice("ivo://nasa.gsfc.gcn/AMON#1", **params)).cone
    assert cone is not None
    assert cone[2] == pytest.approx(sigma, rel=1e-3)


def test_a_trigger_is_a_number_where_mongodb_can_hold_it() -> None:
    assert read_voevent(notice(TrigID="12")).trigger_id == 12
    assert read_voevent(notice(TrigID="9" * 5000)).trigger_id == "9" * 5000
    assert read_voevent(notice(TrigID="S12")).aliases == ["FERMI#S12"]


@pytest.mark.parametrize(
    "text",
    [
        notice().replace("v2.0'", "v1.1'", 1),
        notice().replace("version='2.0'", "version='1.1'"),
        notice(ivorn=""),
        notice(role="rumour"),
        notice().replace("<Who/>", ""),
        notice().replace("<Who/>", "<Who/><Who/>"),
        notice().replace("<Who/>", "<Who/><Whom/>"),
        notice().replace("2018-01-16T16:16:37.123456", "yesterday"),
        "<?xml version='1.0' encoding='no-such-thing'?>" + notice(),
        "<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d '&b;&b;'>]>" + notice().replace("<Who/>", "<Who>&d;</Who>"),
        notice() + " " * 1_000_000,
        "https://example.org/voevent.xml",
        "\ud800",
        "",
    ],
)
def test_what_is_no_notice(text: str) -> None:
    with pytest.raises(SkymapError, match=r"^voevent: "):
        read_voevent(text)


def test_a_place_that_is_none() -> None:
    found = read_voevent(notice(where="<Position2D><Value2><C1>999</C1><C2>1</C2></Value2></Position2D>"))
    with pytest.raises(SkymapError, match="neither a sky map nor a position"):
        noticed_sources(found)
