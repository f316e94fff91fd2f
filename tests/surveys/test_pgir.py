"""Palomar Gattini-IR: its one band, its light curves and how its cutouts lie."""

import re
from datetime import date
from pathlib import Path

import numpy as np
from surveys_harness import alerts_of, photometry_of

from kowalski.alert_broker_pgir import SURVEY
from kowalski.alerts.cutouts import read_stamp


def test_topics() -> None:
    pattern = SURVEY.topics_of([date(2021, 6, 29)])
    assert re.search(pattern, "pgir_20210629")
    assert not re.search(pattern, "pgir_20210628")
    assert SURVEY.topic_on(date(2021, 6, 29)) == "pgir_20210629"


def test_light_curve_of_a_known_alert(test_data: Path) -> None:
    """71 earlier points, one of them the alert itself, and 71 rows, one of which is an upper limit."""
    alert = alerts_of(test_data, SURVEY)[114297926]
    assert (alert.object_id, len(alert.histories["prv_candidates"])) == ("PGIR19aacbvv", 71)
    rows = photometry_of(alert, SURVEY)
    assert len(rows["mjd"]) == 71
    assert set(rows["filter"]) == {"cspjs"}
    assert np.isnan(rows["flux"]).sum() == 1
    assert (rows["fluxerr"] > 0).all()
    assert (rows["zp"] == 23.9).all()


def test_cutouts_are_mirrored_and_turned_by_three_quarters(test_data: Path) -> None:
    """What lies in the last row of the file, from its last pixel on, is the first column as shown, and so on."""
    assert SURVEY.orient(np.array([[1, 2, 3], [4, 5, 6]])).tolist() == [[6, 3], [5, 2], [4, 1]]
    image = read_stamp(SURVEY.stamp(alerts_of(test_data, SURVEY)[114297926].document, "science"))
    assert image.shape == SURVEY.orient(image).shape == (61, 61)
