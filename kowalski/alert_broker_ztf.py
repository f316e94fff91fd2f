"""Zwicky Transient Facility: all that is particular to it.

python -m kowalski.alert_broker_ztf [--obsdate YYYYMMDD] [--topic TOPIC] [--from earliest|latest|TIME] [--test]
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kowalski.alerts.forced_photometry import format_forced
from kowalski.alerts.lightcurve import by_jd, detection_or_limit, without_nulls
from kowalski.alerts.site import PALOMAR
from kowalski.alerts.survey import LIKE_ZTF, History, Survey


def forced_complete(candidate: Mapping[str, Any]) -> bool:
    """Whether forced photometry, which reaches back 30 d, covers an object whose first alert this is."""
    first = candidate.get("jdstarthist")
    if (candidate.get("ndethist") or 0) <= 1:
        return True
    return first is not None and candidate["jd"] - first < 30


INDEXES = {
    "pid": [("candidate.pid", 1)],
    "objectId_pid": [("objectId", -1), ("candidate.pid", 1)],
    "pdiffimfilename": [("candidate.pdiffimfilename", 1)],
    "jd_programid_programpi": [("candidate.jd", 1), ("candidate.programid", 1), ("candidate.programpi", 1)],
    "jd_braai_candid": [("candidate.jd", -1), ("classifications.braai", -1), ("candid", -1)],
    "jd_drb_candid": [("candidate.jd", -1), ("candidate.drb", -1), ("candid", -1)],
    "jd_braai_magpsf_isdiffpos_ndethist": [
        ("candidate.jd", 1),
        ("classifications.braai", 1),
        ("candidate.magpsf", 1),
        ("candidate.isdiffpos", 1),
        ("candidate.ndethist", 1),
    ],
    "jd_field_drb_ndethhist_magpsf_isdiffpos_objectId": [
        ("candidate.jd", 1),
        ("candidate.field", 1),
        ("candidate.rb", 1),
        ("candidate.drb", 1),
        ("candidate.ndethist", 1),
        ("candidate.magpsf", 1),
        ("candidate.isdiffpos", 1),
        ("objectId", -1),
    ],
}

SURVEY = Survey(
    name="ZTF",
    topic="ztf_{date}_programid[123]",
    cutouts={"science": "cutoutScience", "template": "cutoutTemplate", "difference": "cutoutDifference"},
    stamp_field="stampData",
    histories=(
        History("prv_candidates", detection_or_limit, without_nulls),
        History("fp_hists", by_jd, format_forced, brightest_wins=True, forced=True),
    ),
    bands={1: "ztfg", 2: "ztfr", 3: "ztfi"},
    program_field="programid",
    instrument="ZTF",
    streams={
        0: "ZTF Public+Partnership+Caltech",
        1: "ZTF Public",
        2: "ZTF Public+Partnership",
        3: "ZTF Public+Partnership+Caltech",
    },
    history_days=365.0,
    forced_ok=lambda point: point.get("procstatus") in ("0", 0),
    forced_complete=forced_complete,
    uses={
        "candidate.ndethist": "number",
        "candidate.jdstarthist": "number",
        "fp_hists[].forcediffimflux": "number",
        "fp_hists[].forcediffimfluxunc": "number",
        "fp_hists[].magzpsci": "number",
    },
    orient=np.flipud,
    alert_indexes=INDEXES,
    site=PALOMAR,
    transients=LIKE_ZTF,
)


if __name__ == "__main__":
    from kowalski.alert_broker import main

    main(SURVEY)
