"""The enriched alert: what a filter sees, as it was known at the alert's time and as its group may see it."""

from collections.abc import Iterable, Mapping
from typing import Any

from kowalski.alerts.lightcurve import as_of
from kowalski.alerts.survey import Point, Survey
from kowalski.filters.compile import CARRIER, Reads


def visible(document: Mapping[str, Any], survey: Survey, permissions: Iterable[int]) -> bool:
    """Whether a group with these programmes may see an alert."""
    return survey.program_field is None or document["candidate"].get(survey.program_field) in set(permissions)


def enriched(
    document: Mapping[str, Any], aux: Mapping[str, Any], survey: Survey, permissions: tuple[int, ...], reads: Reads
) -> dict[str, Any]:
    """One alert with its matches and history, as far as ``reads`` asks for them, without its cutouts."""
    cutouts = survey.cutouts.values()
    whole = {key: value for key, value in document.items() if key not in cutouts}
    candidate = document["candidate"]
    if reads.names is not None and not reads.whole_candidate:
        whole["candidate"] = {key: candidate[key] for key in reads.names & candidate.keys()}
    whole[CARRIER] = document["candid"]
    if reads.wants("cross_matches"):
        whole["cross_matches"] = aux.get("cross_matches", {})
    for history in survey.histories:
        if reads.wants(history.field):
            shown = not history.forced or _forced_shown(aux)
            points = as_of(aux, history, candidate["jd"]) if shown else []
            whole[history.field] = _readable(points, candidate["jd"], survey, permissions, history.forced)
    return whole


def _forced_shown(aux: Mapping[str, Any]) -> bool:
    first: Mapping[str, Any] = aux.get("first_alert") or {}
    return bool(first.get("forced_complete", True))


def _readable(
    points: list[Point], jd: float, survey: Survey, permissions: tuple[int, ...], forced: bool
) -> list[Point]:
    """Points of the last ``history_days``, of the permitted programmes, forced ones only where processed without fault."""
    program, allowed = survey.program_field, set(permissions)
    return [
        point
        for point in points
        if jd - point["jd"] < survey.history_days
        and (program is None or point.get(program) in allowed)
        and (not forced or survey.forced_ok(point))
    ]
