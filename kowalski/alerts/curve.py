"""An object's light curve in one list: detections of alerts and of their histories, upper limits, forced points."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.alerts.times import MJD_ZERO

#: fields of a candidate that stand in its point of the light curve
MEASURED = (
    "candid", "pid", "fid", "programid", "ra", "dec", "magpsf", "sigmapsf", "magap", "sigmagap", "diffmaglim", "isdiffpos", "rb", "drb", "withdrawn_jd",
)  # fmt: skip
#: what a point says of the packet that brought it
PROVENANCE = ("first_jd", "alert_jd", "alert_candid")

Point = dict[str, Any]


def merge_light_curve(alerts: Iterable[Mapping[str, Any]], aux: Mapping[str, Any], survey: Survey) -> list[Point]:
    """Detections of alerts and of their histories, each candid once, upper limits and forced points, by jd.

    A point has ``kind`` (detection, limit or forced), ``jd``, ``mjd``, ``survey``, ``band`` (SkyPortal's name), and what it had.
    """
    points = [*_of_candidates(alerts, survey), *_of_histories(aux, survey)]
    seen: set[Any] = set()
    merged = []
    for point in points:
        candid = point.get("candid") if point["kind"] == "detection" else None
        if candid is None or candid not in seen:
            merged.append(point)
            seen.add(candid)
    return sorted(merged, key=lambda point: (point["jd"], point["kind"]))


def _of_candidates(alerts: Iterable[Mapping[str, Any]], survey: Survey) -> Iterator[Point]:
    for alert in alerts:
        candidate = alert["candidate"]
        measured = {key: candidate[key] for key in MEASURED if candidate.get(key) is not None}
        yield _point("detection", candidate["jd"], measured | {"candid": alert["candid"]}, survey)


def _of_histories(aux: Mapping[str, Any], survey: Survey) -> Iterator[Point]:
    for history in survey.histories:
        for stored in aux.get(history.field) or ():
            said = {key: value for key, value in stored.items() if key not in (*PROVENANCE, "jd")}
            kind = "forced" if history.forced else ("limit" if stored.get("magpsf") is None else "detection")
            yield _point(kind, stored["jd"], said, survey)


def _point(kind: str, jd: float, said: Mapping[str, Any], survey: Survey) -> Point:
    band = survey.bands.get(survey.fid_of(said))
    return {"kind": kind, "jd": jd, "mjd": jd - MJD_ZERO, **said, "survey": survey.name, "band": band}
