"""Whether an alert may be of an extragalactic transient, and why, or why not.

It is one if its score is good, it is brighter than the reference, neither a star nor near a bright one, not of the solar system (no
known object, and seen before at its place), no active galaxy, and recent or rising. What a survey does not tell, or no catalogue
has, keeps nothing out. The thresholds are settings (``transients.cuts``), each with its source.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.points import NONE, heads_of, plain
from kowalski.alerts.survey import CatalogSource, Survey, TransientFields
from kowalski.transients_section import Cuts

POSITIVE = (True, 1, "y", "Y", "t", "1", "T")
#: star/galaxy score from which a bright source is taken for a star
MAYBE_A_STAR = 0.5
#: W2 (mag) beyond which its colour tells nothing (Stern et al. 2012)
FAINTEST_W2 = 15.05
MINUTES = 1440.0

Record = Mapping[str, Any]
Rows = Mapping[str, list[dict[str, Any]]]


class Verdict(NamedTuple):
    """Whether an alert is a candidate, for which reason (a short slug), and what was found, in words."""

    passed: bool
    reason: str
    detail: str


def judge(alert: Record, aux: Record, survey: Survey, cuts: Cuts) -> Verdict:
    """The verdict on an alert's document, given that of its object, its light curve decoded or not."""
    fields, candidate = survey.transients or TransientFields(), alert["candidate"]
    against = (
        _bogus(candidate, survey, cuts)
        or _in_the_solar_system(alert, fields, cuts)
        or _star(candidate, fields, cuts)
        or _matched(aux.get("cross_matches") or {}, cuts)
    )
    return against or _seen(candidate, aux, survey, fields, cuts)


def _bogus(candidate: Record, survey: Survey, cuts: Cuts) -> Verdict | None:
    if "isdiffpos" in candidate and candidate["isdiffpos"] not in POSITIVE:
        return Verdict(False, "negative", "fainter than the reference")
    name = next((name for name in survey.score_fields if candidate.get(name) is not None), None)
    score = _number(candidate, name)
    if score is not None and score < cuts.min_score:
        return Verdict(False, "bogus", f"{name} is {score:.2f}")
    return None


def _in_the_solar_system(alert: Record, fields: TransientFields, cuts: Cuts) -> Verdict | None:
    distance = _known(alert["candidate"], fields.solar_system_distance)
    if distance is not None and distance < cuts.solar_system_radius:
        return Verdict(False, "moving", f"{distance:.1f} arcsec from a known object of the solar system")
    if fields.solar_system_id is not None:
        found: Any = alert
        for name in fields.solar_system_id.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        if found:
            return Verdict(False, "moving", f"{fields.solar_system_id} is {found}")
    return None


def _star(candidate: Record, fields: TransientFields, cuts: Cuts) -> Verdict | None:
    if fields.star_flag is not None and candidate.get(fields.star_flag) == 1:
        return Verdict(False, "star", f"{fields.star_flag} is 1")
    for source in fields.sources:
        score, distance = _known(candidate, source.star_score), _known(candidate, source.distance)
        if score is None or distance is None:
            continue
        if score >= cuts.star_score and distance < cuts.star_radius:
            return Verdict(False, "star", f"{source.star_score} is {score:.2f}, {distance:.1f} arcsec away")
        if score >= MAYBE_A_STAR and (bright := _bright(candidate, source, cuts)):
            return bright
    return next(filter(None, (_bright(candidate, source, cuts) for source in fields.bright_stars)), None)


def _bright(candidate: Record, source: CatalogSource, cuts: Cuts) -> Verdict | None:
    distance, magnitude = _known(candidate, source.distance), _number(candidate, source.magnitude)
    if distance is None or magnitude is None or distance >= cuts.bright_star_radius:
        return None
    if not 0 < magnitude < cuts.bright_star_mag:
        return None
    return Verdict(False, "bright_star", f"a star of {magnitude:.1f} mag is {distance:.1f} arcsec away")


def _matched(rows: Rows, cuts: Cuts) -> Verdict | None:
    """What catalogues say against it, whose radius is that of their cross-match."""
    for name in cuts.gaia:
        for row in rows.get(name) or ():
            if found := _gaia_star(row, cuts):
                return Verdict(False, "star", f"{name}: {found}")
            magnitude = _number(row, "phot_g_mean_mag")
            if magnitude is not None and magnitude < cuts.bright_star_mag:
                return Verdict(False, "bright_star", f"{name}: a source of {magnitude:.1f} mag")
    for name in cuts.agn:
        if rows.get(name):
            return Verdict(False, "agn", f"{name}: {rows[name][0].get('Name') or rows[name][0].get('_id')}")
    for row in rows.get(cuts.strm or "") or ():
        for column, reason in (("prob_Star", "star"), ("prob_QSO", "agn")):
            probability = _number(row, column)
            if probability is not None and probability >= cuts.strm_probability:
                return Verdict(False, reason, f"{cuts.strm}: {column} is {probability:.2f}")
    for row in rows.get(cuts.wise or "") or ():
        first, second = _number(row, "w1mpro"), _number(row, "w2mpro")
        if first is not None and second is not None and second < FAINTEST_W2 and first - second >= cuts.wise_color:
            return Verdict(False, "agn", f"{cuts.wise}: W1 - W2 is {first - second:.2f} mag")
    return None


def _gaia_star(row: Record, cuts: Cuts) -> str | None:
    """That a source of Gaia has a parallax or a proper motion, in words; None: neither is sure."""
    for names in (("parallax",), ("pmra", "pmdec")):
        values = [(_number(row, name), _number(row, f"{name}_error")) for name in names]
        snr = math.hypot(*(value / error for value, error in values if value is not None and error))
        if snr >= cuts.gaia_snr and not (names == ("parallax",) and row["parallax"] < 0):
            return f"{'parallax' if len(names) == 1 else 'proper motion'} of {snr:.0f} sigma"
    return None


def _seen(candidate: Record, aux: Record, survey: Survey, fields: TransientFields, cuts: Cuts) -> Verdict:
    """The verdict by when it was seen before: once, lately or fainter."""
    jd, earlier = candidate["jd"], list(_earlier(candidate["jd"], aux, survey))
    first = min((float(jds.min()) for _, jds in earlier if len(jds)), default=jd)
    if first > jd - cuts.revisit_minutes / MINUTES:
        return Verdict(False, "seen_once", f"not seen {cuts.revisit_minutes:g} minutes before")
    since = _known(candidate, fields.first_jd)
    age = jd - min(first, since if since else first)
    if age <= cuts.recent_days:
        return Verdict(True, "recent", f"first seen {age:.1f} d before")
    if rise := _rise(candidate, earlier, survey, cuts):
        return Verdict(True, "rising", rise)
    return Verdict(False, "old", f"first seen {age:.0f} d before, and does not rise")


def _earlier(jd: float, aux: Record, survey: Survey) -> Iterator[tuple[list[Any], np.ndarray]]:
    """Detections before a jd, and their jds, list by list."""
    for history in survey.histories:
        points = aux.get(history.field)
        if points and not history.forced:
            heads = heads_of(points)
            places = np.flatnonzero((heads.candid != NONE) & (heads.jd < jd))
            yield [points[place] for place in places.tolist()], heads.jd[places]


def _rise(candidate: Record, earlier: list[tuple[list[Any], np.ndarray]], survey: Survey, cuts: Cuts) -> str | None:
    """That it is brighter than the last time before in its band, in words; None: it is not, or that is not sure."""
    detections = [(float(jd), point) for points, jds in earlier for jd, point in zip(jds, points, strict=True)]
    wanted, before = survey.fid_of(candidate), candidate["jd"] - cuts.revisit_minutes / MINUTES
    for jd, stored in sorted(detections, key=lambda each: -each[0]):
        point = plain(stored)
        fainter, now = _number(point, "magpsf"), _number(candidate, "magpsf")
        if jd > before or survey.fid_of(point) != wanted or fainter is None or now is None:
            continue
        if point.get("isdiffpos", True) not in POSITIVE:
            continue
        error = math.hypot(_number(candidate, "sigmapsf") or 0.0, _number(point, "sigmapsf") or 0.0)
        rise = fainter - now
        if rise <= cuts.rise_snr * error:
            return None
        return f"{rise:.2f} mag brighter than {candidate['jd'] - jd:.1f} d before"
    return None


def _known(candidate: Record, name: str | None) -> float | None:
    """A number of a candidate; None where there is none, or one below zero stands for that."""
    value = _number(candidate, name)
    return None if value is None or value < 0 else value


def _number(record: Record, name: str | None) -> float | None:
    """A finite number; None where there is none."""
    value = record.get(name) if name is not None else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
