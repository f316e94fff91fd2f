"""The enriched alert: what a filter sees, as it was known at the alert's time and as its group may see it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kowalski.alerts.lightcurve import as_of
from kowalski.alerts.survey import History, Point
from kowalski.filters.companions import Companion
from kowalski.filters.compile import CARRIER, Reads
from kowalski.filters.sight import Sight

#: where the objects of other surveys stand
ELSEWHERE = "surveys"
#: fields of a stored alert that are ours alone: the message that brought it, and whether its withdrawal was told
OWN = ("kafka", "withdrawal_told")


def enriched(
    document: Mapping[str, Any],
    aux: Mapping[str, Any],
    sight: Sight,
    reads: Reads,
    companions: Sequence[Companion] = (),
) -> dict[str, Any]:
    """One alert with its matches and history, as far as ``reads`` asks for them, without its cutouts.

    Under ``surveys`` stands, for each other survey of the sight, the nearest of the ``companions``: ``objectId``,
    ``distance_arcsec``, ``candidates`` of its alerts, its histories and ``cross_matches``.
    """
    hidden, candidate = {*sight.survey.cutouts.values(), *OWN}, document["candidate"]
    whole = {key: value for key, value in document.items() if key not in hidden}
    if reads.names is not None and not reads.whole_candidate:
        whole["candidate"] = {key: candidate[key] for key in reads.names & candidate.keys()}
    whole[CARRIER] = document["candid"]
    if reads.wants("cross_matches"):
        whole["cross_matches"] = aux.get("cross_matches", {})
    for history in sight.survey.histories:
        if reads.wants(history.field):
            whole[history.field] = _readable(aux, history, candidate["jd"], sight)
    if sight.others and reads.wants(ELSEWHERE):
        whole[ELSEWHERE] = dict(_elsewhere(candidate["jd"], sight, companions))
    return whole


def _elsewhere(jd: float, sight: Sight, companions: Sequence[Companion]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What may be seen of the nearest object in each other survey that had anything to be seen by then."""
    for other in sight.others:
        for companion in companions:
            if companion.survey.name != other.survey.name:
                continue
            candidates = [each for each in companion.candidates if each["jd"] <= jd and other.sees(each)]
            histories = {
                history.field: _readable(companion.aux, history, jd, other) for history in other.survey.histories
            }
            if candidates or any(histories.values()):
                about = {"objectId": companion.object_id, "distance_arcsec": companion.distance}
                matches = {"cross_matches": companion.aux.get("cross_matches", {})}
                yield other.survey.name, about | {"candidates": candidates} | histories | matches
                break


def _readable(aux: Mapping[str, Any], history: History, jd: float, sight: Sight) -> list[Point]:
    """Points of the last ``history_days``, of the permitted programmes, forced ones only where whole and processed without fault."""
    survey = sight.survey
    if history.forced and not (aux.get("first_alert") or {}).get("forced_complete", True):
        return []
    return [
        point
        for point in as_of(aux, history, jd)
        if jd - point["jd"] < survey.history_days
        and sight.sees(point)
        and (not history.forced or survey.forced_ok(point))
    ]
