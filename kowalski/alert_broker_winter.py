"""Wide-field Infrared Transient Explorer, WNTR for short: all that is particular to it.

python -m kowalski.alert_broker_winter [--obsdate YYYYMMDD] [--topic TOPIC] [--from earliest|latest|TIME] [--test]
"""

from kowalski.alerts.lightcurve import detection_or_limit, with_programme
from kowalski.alerts.site import PALOMAR
from kowalski.alerts.survey import LIKE_ZTF, History, Survey

SURVEY = Survey(
    name="WNTR",
    topic="winter_{date}",
    # a night's images are worked off during the days after it
    nights=3,
    object_id="objectid",
    cutouts={"science": "cutout_science", "template": "cutout_template", "difference": "cutout_difference"},
    histories=(History("prv_candidates", detection_or_limit, with_programme),),
    bands={1: "ps1::y", 2: "2massj", 3: "2massh", 4: None},  # 4: dark
    program_field="programid",
    instrument="WINTER",
    streams={None: "WINTER"},
    # pixels between 4 sigma below and 5 sigma above the sky, faint sources being what the infrared is about
    looks=dict.fromkeys(("science", "template", "difference"), ("linear", "sigma_clipped")),
    alert_indexes={"objectId": [("objectId", -1)], "jd_candid": [("candidate.jd", -1), ("candid", -1)]},
    site=PALOMAR,
    transients=LIKE_ZTF,
)


if __name__ == "__main__":
    from kowalski.alert_broker import main

    main(SURVEY)
