"""The enriched alert: what a filter sees, as it was known at the alert's time and as its group may see it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from types import MappingProxyType
from typing import Any

from kowalski.alerts.lightcurve import known_at
from kowalski.alerts.parts import MIB, newest_that_fit
from kowalski.alerts.points import Stored
from kowalski.alerts.survey import History
from kowalski.filters.companions import Companion
from kowalski.filters.compile import CARRIER, Reads
from kowalski.filters.sight import Sight
from kowalski.filters.watching import WATCHED

#: where the objects of other surveys stand
ELSEWHERE = "surveys"
#: fields of a stored alert that are ours alone: the message that brought it, when what was done with it, which is not over while filters
#: run, and whether its withdrawal was told
OWN = ("kafka", "trace", "withdrawal_told", "provenance")
#: bytes of an object's points that a filter is fed, and of those of all objects of other surveys: MongoDB takes 16 MB in all
FED, FED_ELSEWHERE = 8 * MIB, 4 * MIB

EMPTY: Mapping[str, Any] = MappingProxyType({})


def enriched(
    document: Mapping[str, Any],
    aux: Mapping[str, Any],
    sight: Sight,
    reads: Reads,
    companions: Sequence[Companion] = (),
    watched: Mapping[str, Any] = EMPTY,
) -> dict[str, Any]:
    """One alert with its matches and history, as far as ``reads`` asks for them, without its cutouts.

    ``matched``, for who names it, says when the matches were made (`matched_of`). Under ``surveys`` stands, for each other survey of the
    sight, the nearest of the ``companions``: ``objectId``, ``distance_arcsec``, ``candidates`` of its alerts, its histories and
    ``cross_matches``; under ``watchlists`` for each list of the sight the rows that it matches (``watched``, by the names of the lists). Of
    a history that is longer than a filter can be fed (`FED`), it sees the newest points.
    """
    hidden, candidate = {*sight.survey.cutouts.values(), *OWN}, document["candidate"]
    whole = {key: value for key, value in document.items() if key not in hidden}
    if reads.names is not None and not reads.whole_candidate:
        whole["candidate"] = {key: candidate[key] for key in reads.names & candidate.keys()}
    whole[CARRIER] = document["candid"]
    if reads.wants("cross_matches"):
        whole["cross_matches"] = aux.get("cross_matches", {})
    if reads.names is not None and "matched" in reads.names:  # the whole document is as version 3 had it
        whole["matched"] = matched_of(aux)
    histories = [history for history in sight.survey.histories if reads.wants(history.field)]
    points = {history.field: _readable(aux, history, candidate["jd"], sight) for history in histories}
    whole |= newest_that_fit(points, FED)
    if sight.others and reads.wants(ELSEWHERE):
        whole[ELSEWHERE] = dict(_elsewhere(candidate["jd"], sight, companions))
    if sight.watchlists and reads.wants(WATCHED):
        whole[WATCHED] = {key.name: watched.get(key.name, []) for key in sight.watchlists}
    return whole


def matched_of(aux: Mapping[str, Any]) -> dict[str, Any]:
    """When an object was matched with each catalogue (``made``), and which of these were absent or failed."""
    matched = aux.get("matched") or {}
    made = dict.fromkeys(matched.get("catalogs", ()), matched.get("at")) | matched.get("made", {})
    return {"made": made, "absent": matched.get("absent", []), "failed": matched.get("failed", [])}


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
                points = newest_that_fit({"candidates": candidates, **histories}, FED_ELSEWHERE // len(sight.others))
                yield other.survey.name, {**about, **points, **matches}
                break


def _readable(aux: Mapping[str, Any], history: History, jd: float, sight: Sight) -> list[Stored]:
    """Points of the last ``history_days``, of the permitted programmes, forced ones only where whole and processed without fault."""
    survey = sight.survey
    if history.forced and not (aux.get("first_alert") or {}).get("forced_complete", True):
        return []
    points, heads = known_at(aux, history, jd)
    seen = (jd - heads.jd < survey.history_days) & sight.sees_points(points, heads)
    visible = list(compress(points, seen.tolist()))
    return [point for point in visible if survey.forced_ok(point)] if history.forced else visible
