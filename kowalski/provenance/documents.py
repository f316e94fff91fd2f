"""An alert's document beside its packet, and the points that the packet brought beside the object's light curve."""

from collections.abc import Iterator, Mapping
from typing import Any

from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.points import PROVENANCE as POINT_PROVENANCE
from kowalski.alerts.survey import History, Survey
from kowalski.filters.enrich import OWN
from kowalski.provenance.comparing import DIFFERS, MISSING, NOT_RECORDED, SAME, Row, as_read, differences, leaves

#: fields of a stored alert that its packet does not have: ours, or with rows of their own
ADDED = frozenset({"_id", "classifications", *OWN})
#: fields of a candidate that are added when its survey withdraws it
ADDED_LATER = "candidate.withdrawn_jd"
#: deg by which galactic coordinates may differ: a batch's are computed at once, whose last digit depends on how many there are
PLACE = 1e-9
#: differing points of a history that get rows of their own
NAMED = 5

Document = Mapping[str, Any]


def document_rows(stored: Document, packet: Document) -> Iterator[Row]:
    """A stored alert beside that of its packet: each field that differs, and how many are the same; exactly, but for `PLACE`.

    What Kowalski 3 did not store is not recorded.
    """
    told, made = (
        {name: value for name, value in each.items() if name not in ADDED} for each in (stored, as_read(packet))
    )
    old = "kafka" not in stored
    for name in [*made, *(name for name in told if name not in made)]:
        group, one, other = name, told.get(name, MISSING), made.get(name, MISSING)
        found = list(differences(one, other, name, absolute=PLACE if name == "coordinates" else 0.0))
        found = [each for each in found if not (each.path == ADDED_LATER and each.made is MISSING)]
        for each in found:
            lacking = old and each.stored is MISSING
            note = "Kowalski 3 did not store it" if lacking else ""
            verdict = NOT_RECORDED if lacking else DIFFERS
            yield Row("document", each.path, each.stored, each.made, verdict, note)
        if isinstance(other, Mapping) and (rest := leaves(other) - len(found)) > 0:
            others = "its other " if found else ""
            yield Row("document", group, f"{others}{rest} values", f"{others}{rest} values", SAME)
        elif not found:
            yield Row("document", group, one, other, SAME)


def point_rows(alert: Alert, aux: Document, survey: Survey) -> Iterator[Row]:
    """The points that a packet brought: all are in its object's light curve, those that no other packet has replaced as it had them."""
    said = arrival(alert, survey)
    first, last = aux.get("first_alert") or {}, aux.get("last_packet") or {}
    begins = (first.get("jd", MISSING), first.get("candid", MISSING))
    known = first and begins <= (alert.jd, alert.candid)
    yield Row("light curve", "first alert", begins[1], f"not later than {alert.candid}", SAME if known else DIFFERS)
    newest = (last.get("jd"), last.get("candid")) == (alert.jd, alert.candid)
    for history in survey.histories:
        yield from _history_rows(history, list(said.histories[history.field]), alert, aux, newest)


def _history_rows(history: History, brought: list[Any], alert: Alert, aux: Document, newest: bool) -> Iterator[Row]:
    kept = {history.identity(each): each for each in aux.get(history.field) or ()}
    replaced: dict[Any, list[Document]] = {}
    for each in aux.get(f"{history.field}_replaced") or () if history.brightest_wins else ():
        replaced.setdefault(history.identity(each), []).append(each)
    wrong = []
    for point in as_read({"points": brought})["points"]:
        key = history.identity(point)
        copies = [kept[key], *replaced.get(key, ())] if key in kept else []
        own = [copy for copy in copies if _is_of(copy, alert, newest)]
        if not copies:
            wrong.append(Row("light curve", _name(history, point), MISSING, "brought by the packet", DIFFERS))
        for copy in own[:1]:
            bare = {name: value for name, value in copy.items() if name not in POINT_PROVENANCE}
            wrong += [Row("light curve", f"{_name(history, point)} {each.path}", each.stored, each.made, DIFFERS) for each in differences(bare, point)]  # fmt: skip
        if copies and copies[0].get("first_jd", alert.jd) > alert.jd:
            wrong.append(Row("light curve", f"{_name(history, point)} first_jd", copies[0]["first_jd"], alert.jd, DIFFERS, "known from this packet on"))  # fmt: skip
    yield from wrong[:NAMED]
    if len(wrong) > NAMED:
        yield Row("light curve", history.field, f"{len(wrong) - NAMED} more", "as in the packet", DIFFERS)
    if not wrong:
        yield Row("light curve", history.field, f"{len(brought)} points", f"{len(brought)} points", SAME)


def _is_of(copy: Document, alert: Alert, newest: bool) -> bool:
    """Whether a stored copy of a point is that of an alert's packet: one that names none is of the object's last packet."""
    candid = copy.get("alert_candid")
    return newest if candid is None else (copy.get("alert_jd"), candid) == (alert.jd, alert.candid)


def _name(history: History, point: Document) -> str:
    candid = point.get("candid")
    return f"{history.field} candid {candid}" if candid is not None else f"{history.field} jd {point['jd']!r}"
