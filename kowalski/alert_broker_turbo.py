"""Total-Coverage Ultra-Fast Response to Binary Mergers Observatory: all that is particular to it.

python -m kowalski.alert_broker_turbo [--obsdate YYYYMMDD] [--topic TOPIC] [--from earliest|latest|TIME] [--test]
"""

from kowalski.alerts.lightcurve import with_programme
from kowalski.alerts.points import Stored
from kowalski.alerts.survey import LIKE_ZTF, History, Survey


def exposure(point: Stored) -> tuple[float, int]:
    """A point is identified by the exposure that it comes from: the candid inside a candidate is the same in all packets."""
    return point["jd"], point.get("fid") or 0


SURVEY = Survey(
    name="TURBO",
    topic="turbo_{date}",
    cutouts={"science": "cutoutScience", "template": "cutoutTemplate", "difference": "cutoutDifference"},
    histories=(History("prv_candidates", exposure, with_programme),),
    bands={},  # the numbers have no published meaning: skyportal.bands.TURBO gives them one
    program_field="programid",
    instrument="TURBO",
    streams={None: "TURBO"},
    history_days=365.0,
    alert_indexes={"jd_candid": [("candidate.jd", -1), ("candid", -1)]},
    transients=LIKE_ZTF,
)


if __name__ == "__main__":
    from kowalski.alert_broker import main

    main(SURVEY)
