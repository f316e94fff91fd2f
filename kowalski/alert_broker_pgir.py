"""Palomar Gattini-IR: all that is particular to it.

python -m kowalski.alert_broker_pgir [--obsdate YYYYMMDD] [--topic TOPIC] [--from earliest|latest|TIME] [--test]
"""

import numpy as np

from kowalski.alerts.lightcurve import detection_or_limit, without_nulls
from kowalski.alerts.site import PALOMAR
from kowalski.alerts.survey import CatalogSource, History, Survey, TransientFields


def orient(image: np.ndarray) -> np.ndarray:
    """A cutout as it is shown: mirrored, then turned by three quarters."""
    return np.rot90(np.fliplr(image), 3)


SURVEY = Survey(
    name="PGIR",
    topic="pgir_{date}",
    cutouts={"science": "cutoutScience", "template": "cutoutTemplate", "difference": "cutoutDifference"},
    histories=(History("prv_candidates", detection_or_limit, without_nulls),),
    # the camera has no filter wheel: neither candidates nor points name a band
    bands={None: "cspjs"},
    band_field=None,
    instrument="PGIR",
    streams={None: "PGIR"},
    orient=orient,
    transients=TransientFields(
        bright_stars=(CatalogSource("distnearbrstar", "magnearbrstar"),),
        star_flag="isstar",
        solar_system_distance="ssdistnr",
        first_jd="jdstarthist",
    ),
    alert_indexes={
        "jd_drb_candid": [("candidate.jd", -1), ("candidate.drb", -1), ("candid", -1)],
        "jd_drb_ndethist_dmag2mass_isstar_distnearbrstar": [
            ("candidate.jd", 1),
            ("candidate.drb", 1),
            ("candidate.ndethist", 1),
            ("candidate.dmag2mass", 1),
            ("candidate.isstar", 1),
            ("candidate.distnearbrstar", 1),
        ],
        "jd_scorr_dmag2mass": [("candidate.jd", 1), ("candidate.scorr", 1), ("candidate.dmag2mass", 1)],
    },
    site=PALOMAR,
)


if __name__ == "__main__":
    from kowalski.alert_broker import main

    main(SURVEY)
