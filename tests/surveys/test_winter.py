"""WINTER: names of its own, nights that reach back, history without limits, and its thumbnails."""

import base64
import io
import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from packets import changed, packet
from PIL import Image
from surveys_harness import alerts_of, packets_of, photometry_of

from kowalski.alert_broker_winter import SURVEY
from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.document import read_batch
from kowalski.alerts.pictures import SIZE, bone
from kowalski.alerts.survey import get_survey, module_of
from kowalski.database.alerts import alert_indexes
from kowalski.skyportal.client import _stream_id
from kowalski.skyportal.thumbnails import THUMBNAILS, make_thumbnail
from kowalski.streams import latest_topics


def test_both_names_are_its() -> None:
    assert get_survey("winter") is get_survey("Wntr") is SURVEY
    assert (SURVEY.alerts, module_of("WINTER")) == ("WNTR_alerts", "kowalski.alert_broker_winter")


@pytest.mark.parametrize("nights", [0, 2, 5])
def test_tonight_and_the_three_nights_before_are_read(nights: int) -> None:
    today = date(2024, 3, 2)
    pattern = latest_topics(SURVEY, nights, today)
    found = [days for days in range(9) if re.search(pattern, f"winter_{today - timedelta(days):%Y%m%d}")]
    assert found == list(range(max(nights, 3) + 1))


def test_light_curve_of_a_known_alert(test_data: Path) -> None:
    """The alert has a limit, its history none: both are sent."""
    alert = alerts_of(test_data, SURVEY)[3608694]
    (earlier,) = alert.histories["prv_candidates"]
    assert (alert.object_id, alert.candidate["diffmaglim"]) == ("WNTR24awati", 17.6939640045166)
    assert "diffmaglim" not in earlier
    rows = photometry_of(alert, SURVEY)
    assert list(rows["filter"]) == ["2massj", "2massj"]
    magnitudes = [23.9 - 2.5 * np.log10(flux) for flux in rows["flux"]]
    assert magnitudes == pytest.approx([earlier["magpsf"], alert.candidate["magpsf"]], abs=1e-5)
    assert rows["ra"].tolist() == [earlier["ra"], alert.ra]


@pytest.mark.parametrize(("fid", "band"), [(1, "ps1::y"), (2, "2massj"), (3, "2massh"), (4, None)])
def test_bands_but_for_dark(test_data: Path, fid: int, band: str | None) -> None:
    def in_band(record: dict) -> None:
        for point in (record["candidate"], *record["prv_candidates"]):
            point["fid"] = fid

    (alert,), _ = read_batch([packet(changed(packets_of(test_data, SURVEY)[0].data, in_band))], SURVEY)
    assert list(photometry_of(alert, SURVEY)["filter"]) == ([band, band] if band else [])


@pytest.mark.parametrize("name", ["Public WNTR alerts", "wntr", "The WinteR stream"])
def test_its_stream_is_found_by_either_name(name: str) -> None:
    assert _stream_id("WINTER", {"ZTF Public": 1, name: 2, "PGIR": 3}, SURVEY) == 2


def test_objects_are_found_fast_by_both_names() -> None:
    keys = [index.keys[0][0] for index in alert_indexes(SURVEY)]
    assert {"objectid", "objectId", "candid"} <= set(keys)


def test_the_schema_that_names_a_field_twice_is_read(test_data: Path) -> None:
    """``sgmag1`` stands twice in a candidate; the last one counts, and what follows is not shifted by one."""
    for alert in alerts_of(test_data, SURVEY).values():
        assert "sgmag1" in alert.candidate
        assert alert.candidate["nmtchps"] >= 0
        assert alert.document["cutout_science"][:2] == b"\x1f\x8b"


@pytest.mark.parametrize("role", THUMBNAILS)
def test_thumbnails_show_what_is_near_the_sky(test_data: Path, role: str) -> None:
    """Black is 4 sigma below the sky's median, white 5 above, bad pixels are as bright as the brightest."""
    for alert in list(alerts_of(test_data, SURVEY).values())[::3]:
        stamp = SURVEY.stamp(alert.document, role)
        image = read_stamp(stamp).astype(float)
        image[~(np.abs(image) <= 1e20)] = np.nan
        image = np.nan_to_num(image, nan=np.nanmax(image))
        _, median, sigma = sigma_clipped_stats(image)
        low, high = median - 4 * sigma, median + 5 * sigma
        shades = np.clip((image - low) / (high - low) * 256, 0, 255).astype(int)
        expected = bone().astype(int)[shades][::-1]
        thumbnail = Image.open(io.BytesIO(base64.b64decode(make_thumbnail(stamp, role, SURVEY)))).convert("RGB")
        assert thumbnail.size == (SIZE, SIZE)
        small = np.asarray(thumbnail.resize((81, 81), Image.Resampling.BOX)).astype(int)
        assert np.abs(small - expected).mean() < 12
