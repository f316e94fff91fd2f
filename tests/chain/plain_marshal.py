"""What SkyPortal must have after a night, calculated one alert at a time from the packets and nothing else."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from twin_filters import FILTERS, Point, Seen, TwinFilter

from kowalski.alerts.decode import decode

BANDS = {1: "ztfg", 2: "ztfr", 3: "ztfi"}
MJD_OFFSET = 2400000.5
#: days of history that a filter sees
HISTORY = 365


@dataclass
class Marshalled:
    """What is known of one object.

    Attributes
    ----------
    candidates : (candid, filter_id) of all that passed
    annotations : filter_id -> data
    groups : group -> who saved it
    comments : text and groups
    requests : allocation -> priority and target groups
    """

    candidates: set[tuple[int, int]] = field(default_factory=set)
    annotations: dict[int, Any] = field(default_factory=dict)
    groups: dict[int, int | None] = field(default_factory=dict)
    comments: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    requests: dict[int, tuple[float, tuple[int, ...]]] = field(default_factory=dict)
    points: dict[tuple[float, str], float | None] = field(default_factory=dict)
    forced: set[float] = field(default_factory=set)


def marshalled(packets: Iterable[bytes]) -> dict[str, Marshalled]:
    """What SkyPortal must have of each object that passed a filter, given all packets of a night in their order."""
    by_object: dict[str, list[dict[str, Any]]] = {}
    for data in packets:
        [record] = decode(data)
        by_object.setdefault(record["objectId"], []).append(record)
    found = {name: _object(sorted(records, key=_age)) for name, records in by_object.items()}
    return {name: known for name, known in found.items() if known.candidates}


def _age(record: dict[str, Any]) -> tuple[float, int]:
    return record["candidate"]["jd"], record["candid"]


def _object(records: list[dict[str, Any]]) -> Marshalled:
    known, history = Marshalled(), dict[Any, Point]()
    for record in records:
        for point in record["prv_candidates"] or ():
            history[_identity(point)] = {key: value for key, value in point.items() if value is not None}
        _alert(known, record, list(history.values()))
    known.points = {key: flux for record in records for key, flux in _light_curve(record)}
    known.forced = set(_forced(records))
    return known


def _identity(point: Point) -> Any:
    return point["candid"] if point["candid"] is not None else (point["jd"], point["fid"], point["pid"])


def _alert(known: Marshalled, record: dict[str, Any], history: list[Point]) -> None:
    """One alert through all filters, and what they do for it."""
    candidate, saving = record["candidate"], list[TwinFilter]()
    for each in FILTERS:
        seen = _seen(candidate, history, each.permissions)
        annotations = each.twin.judge(seen) if candidate["programid"] in each.permissions else None
        if annotations is None:
            continue
        known.candidates.add((record["candid"], each.filter_id))
        if each.update or each.filter_id not in known.annotations:
            known.annotations[each.filter_id] = annotations
        if each.autosave is not None and each.autosave.judge(seen) is not None:
            saving.append(each)
    there = set(known.groups)
    for each in saving:
        stored = each.autosave.stored if each.autosave else {}
        if each.group_id not in there and not there & set(stored.get("ignore_group_ids", ())):
            known.groups[each.group_id] = stored.get("saver_id")
            if "comment" in stored:
                known.comments.add((stored["comment"], (each.group_id,)))
    for each in saving:
        if each.follow_up is not None:
            _follow_up(known, each, _seen(candidate, history, each.permissions))


def _seen(candidate: Point, history: list[Point], permissions: tuple[int, ...]) -> Seen:
    recent = [point for point in history if candidate["jd"] - point["jd"] < HISTORY]
    return Seen(candidate, [point for point in recent if point["programid"] in permissions])


def _follow_up(known: Marshalled, each: TwinFilter, seen: Seen) -> None:
    """One request per allocation; a more urgent one later makes it more urgent, where that is wanted."""
    assert each.follow_up is not None
    answer = each.follow_up.judge(seen)
    if answer is None:
        return
    stored = each.follow_up.stored
    descending = stored.get("priority_order") == "desc"
    payload = {"priority": 5 if descending else 0} | stored["payload"] | answer.get("payload", {})
    priority, allocation = float(payload["priority"]), stored["allocation_id"]
    groups = (each.group_id, *(one for one in stored.get("target_group_ids", ()) if one != each.group_id))
    if allocation not in known.requests:
        known.requests[allocation] = priority, groups
        if comment := answer.get("comment") or stored.get("comment"):
            known.comments.add((f"{comment} (priority: {priority:g})", groups))
    elif stored.get("implements_update", True):
        known.requests[allocation] = max(priority, known.requests[allocation][0]), groups


def _light_curve(record: dict[str, Any]) -> Iterator[tuple[tuple[float, str], float | None]]:
    """The points of a packet: (mjd, band) and flux in microjansky, None for upper limits."""
    for point in [record["candidate"], *(record["prv_candidates"] or ())]:
        if (point["diffmaglim"] or 0) > 0:
            flux = None
            if point["magpsf"] is not None:
                flux = 10 ** (-0.4 * (point["magpsf"] - 23.9)) * (1 if point["isdiffpos"] in ("t", "1") else -1)
            yield (point["jd"] - MJD_OFFSET, BANDS[point["fid"]]), flux


def _forced(records: list[dict[str, Any]]) -> Iterator[float]:
    """mjd of the forced points that may be sent: of young objects only, and processed without fault."""
    first = records[0]["candidate"]
    young = first["ndethist"] <= 1 or (first["jdstarthist"] is not None and first["jd"] - first["jdstarthist"] < 30)
    for record in records if young else ():
        for point in record["fp_hists"] or ():
            if str(point["procstatus"]) == "0" and (point["diffmaglim"] or 0) > 0:
                yield point["jd"] - MJD_OFFSET
