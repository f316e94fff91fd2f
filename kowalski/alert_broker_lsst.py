"""Rubin Observatory's Legacy Survey of Space and Time: all that is particular to it.

python -m kowalski.alert_broker_lsst [--obsdate YYYYMMDD] [--topic TOPIC] [--from earliest|latest|TIME] [--test]
"""

import math
from collections.abc import Mapping
from typing import Any

from bson.int64 import Int64

from kowalski.alerts.lightcurve import detection_or_limit, without_nulls
from kowalski.alerts.site import CERRO_PACHON
from kowalski.alerts.survey import Flux, History, NumberedSchemas, Point, Survey, TransientFields
from kowalski.alerts.times import jd_of_tai

#: fluxes are in nJy: AB mag = 31.4 - 2.5 log10(flux)
ZERO_POINT = 31.4
#: fid of each band
FIDS = {band: fid for fid, band in enumerate("ugrizy", 1)}
#: identifiers, which MongoDB is to keep as int64 however small they are
IDS = (
    "alertId",
    "diaSourceId",
    "diaForcedSourceId",
    "diaObjectId",
    "ssObjectId",
    "parentDiaSourceId",
    "visit",
)
#: what a candidate takes over from its diaSource
TAKEN = ("ra", "dec", "band", "snr", "psfFlux", "psfFluxErr", "reliability", "extendedness")
SOURCES, FORCED = "prvDiaSources", "prvDiaForcedSources"


def normalise(record: dict[str, Any]) -> dict[str, Any]:
    """A packet with the common fields: ``objectId``, ``candid``, ``candidate``, and in points of history what `measured` gives."""
    source = record.get("diaSource")
    if not isinstance(source, dict):
        return record
    whole = {name: with_ids(part) if isinstance(part, dict) else part for name, part in with_ids(record).items()}
    # an identifier that isn't there is null or 0
    object_id = source.get("diaObjectId") or source.get("ssObjectId")
    candidate = {name: source[name] for name in TAKEN if name in source} | measured(source)
    histories = {
        name: [with_ids(point) | measured(point) if isinstance(point, dict) else point for point in record[name]]
        for name in (SOURCES, FORCED)
        if isinstance(record.get(name), list)
    }
    common = {"objectId": str(object_id) if object_id else None, "candid": source.get("diaSourceId")}
    return {**whole, **histories, **common, "candidate": candidate}


def with_ids(part: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose identifiers are int64."""
    return dict(part) | {name: Int64(part[name]) for name in IDS if isinstance(part.get(name), int)}


def measured(source: Mapping[str, Any]) -> Point:
    """What a source or forced source has in the names of all surveys.

    ``jd`` (UTC, middle of the exposure), ``fid``, ``magpsf`` and ``sigmapsf`` of the absolute value of the difference flux and
    ``isdiffpos``, its sign, ``diffmaglim``, the limit of 5 sigma there (AB mag, None where undefined); where it has them, ``candid``
    and ``withdrawn_jd``.
    """
    flux, error = number(source.get("psfFlux")), number(source.get("psfFluxErr"))
    positive = flux > 0 if flux else (None if source.get("isNegative") is None else not source["isNegative"])
    point = {
        "fid": FIDS.get(str(source.get("band"))),
        "magpsf": magnitude(abs(flux)) if flux else None,
        "sigmapsf": 2.5 / math.log(10) * error / abs(flux) if flux and error is not None else None,
        "isdiffpos": positive,
        "diffmaglim": magnitude(5 * error) if error is not None and error > 0 else None,
    }
    if (middle := number(source.get("midpointMjdTai"))) is not None:
        point["jd"] = jd_of_tai(middle)
    if isinstance(source.get("diaSourceId"), int):
        point["candid"] = Int64(source["diaSourceId"])
    if (withdrawn := number(source.get("timeWithdrawnMjdTai"))) is not None:
        point["withdrawn_jd"] = jd_of_tai(withdrawn)
    return point


def number(value: Any) -> float | None:
    """A finite number, or None."""
    return value if isinstance(value, float) and math.isfinite(value) else None


def magnitude(flux: float) -> float:
    """AB mag of a flux in nJy."""
    return ZERO_POINT - 2.5 * math.log10(flux)


def by_forced_source(point: Mapping[str, Any]) -> tuple[int]:
    """A forced source is identified by its diaForcedSourceId."""
    return (point["diaForcedSourceId"],)


def schema_file(number: int) -> str:
    """Where a schema lies: its number is 100 major + minor."""
    major, minor = divmod(number, 100)
    return f"{major}/{minor}/lsst.v{major}_{minor}.alert.avsc"


CUTOUTS = {"science": "cutoutScience", "template": "cutoutTemplate", "difference": "cutoutDifference"}

SURVEY = Survey(
    name="LSST",
    topic="lsst-alerts",
    cutouts=CUTOUTS,
    cutouts_may_lack=True,
    histories=(
        History(SOURCES, detection_or_limit, without_nulls),
        History(FORCED, by_forced_source, without_nulls, forced=True, copies_share=False),
    ),
    bands={fid: f"lsst{band}" for band, fid in FIDS.items()},
    flux=Flux("psfFlux", "psfFluxErr", ZERO_POINT),
    instrument="LSST",
    streams={None: "LSST"},
    score_fields=("reliability",),
    history_days=365.0,
    normalise=normalise,
    schemas=NumberedSchemas(schema_file, own=1000),
    needs={
        "diaSource.diaSourceId": "integer",
        "diaSource.diaObjectId": "integer",
        "diaSource.ssObjectId": "integer",
        "diaSource.midpointMjdTai": "number",
        "diaSource.ra": "number",
        "diaSource.dec": "number",
        "diaSource.psfFlux": "number",
        "diaSource.psfFluxErr": "number",
        "diaSource.band": "text",
        **dict.fromkeys(CUTOUTS.values(), "bytes"),
        f"{SOURCES}[].diaSourceId": "integer",
        f"{SOURCES}[].midpointMjdTai": "number",
        f"{FORCED}[].diaForcedSourceId": "integer",
        f"{FORCED}[].midpointMjdTai": "number",
    },
    transients=TransientFields(solar_system_id="diaSource.ssObjectId"),
    alert_indexes={
        "jd_reliability_candid": [("candidate.jd", -1), ("candidate.reliability", -1), ("candid", -1)],
        "ssObjectId": [("diaSource.ssObjectId", 1)],
    },
    site=CERRO_PACHON,
    jd_after_start=15.0,  # it is the middle of a visit, which takes 30 s (38 s in u)
)


if __name__ == "__main__":
    from kowalski.alert_broker import main

    main(SURVEY)
