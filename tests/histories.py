"""Random histories of an object, and what its document has to be by DESIGN's rules, worked out the plain way."""

import random
from math import inf
from typing import Any

from packets import JD

from kowalski.alerts.lightcurve import Arrival
from kowalski.alerts.survey import History, get_survey

ZTF = get_survey("ZTF")
DETECTIONS, FORCED = ZTF.histories
PROVENANCE = ("first_jd", "alert_jd", "alert_candid")
FIRST_CANDID = 2_000_000_000_000_000_000

Point = dict[str, Any]


def random_arrivals(seed: int, packets: int = 6) -> list[Arrival]:
    """What some packets of one object say: histories that overlap, with unequal copies, equal magnitudes and equal jds."""
    chance = random.Random(seed)
    visits = sorted(JD + chance.randrange(80) / 2 for _ in range(3 * packets))
    seen = {number: chance.random() < 0.6 for number in range(len(visits))}
    makers = sorted(chance.sample(range(len(visits)), packets))
    return [_arrival(number, visits, seen, chance) for number in makers]


def _arrival(number: int, visits: list[float], seen: dict[int, bool], chance: random.Random) -> Arrival:
    jd = visits[number]
    earlier = [n for n in range(number) if visits[n] < jd and chance.random() < 0.8]
    first = {
        "jd": jd,
        "candid": FIRST_CANDID + number,
        "ra": 10.0 + number,
        "dec": 20.0,
        "forced_complete": number % 2 == 0,
    }
    histories = {
        "prv_candidates": [_earlier_point(n, visits[n], seen[n], chance) for n in earlier],
        "fp_hists": _forced(sorted({visits[n] for n in (*earlier, number)}), chance),
    }
    chance.shuffle(histories["prv_candidates"])
    return Arrival((jd, FIRST_CANDID + number), first, histories)


def _earlier_point(number: int, jd: float, detected: bool, chance: random.Random) -> Point:
    point: Point = {"jd": jd, "fid": 1 + number % 2, "pid": 1000 + number, "programid": 1}
    if detected:
        point |= {"candid": FIRST_CANDID + number, "magpsf": 18.0, "rb": chance.choice((0.5, 0.5, 0.5, 0.7))}
    return point


def _forced(jds: list[float], chance: random.Random) -> list[Point]:
    alert_mag = chance.choice((17.5, 18.0, 18.0, 18.5))
    return [
        {"jd": jd, "pid": 7, "forcediffimflux": chance.random(), "alert_mag": alert_mag}
        for jd in jds
        if chance.random() < 0.9
    ]


def expected(arrivals: list[Arrival]) -> dict[str, Any]:
    """The document of an object after these packets, whatever their order."""
    unique = {arrival.source: arrival for arrival in arrivals}
    ordered = [unique[source] for source in sorted(unique)]
    document: dict[str, Any] = {
        "first_alert": min((each.first_alert for each in ordered), key=lambda first: (first["jd"], first["candid"])),
        "last_packet": {"jd": ordered[-1].source[0], "candid": ordered[-1].source[1]},
        "prv_candidates": [],
        "fp_hists": [],
        "fp_hists_replaced": [],
    }
    if programmes := {each.programme for each in ordered} - {None}:
        document["programids"] = sorted(programmes)
    for history in (DETECTIONS, FORCED):
        for identity in {history.identity(point) for each in ordered for point in each.histories[history.field]}:
            copies = [
                (each.source, point)
                for each in ordered
                for point in each.histories[history.field]
                if history.identity(point) == identity
            ]
            first_jd = min(source[0] for source, _ in copies)
            if history is DETECTIONS:
                shown, replaced = copies[-1], []
            else:
                *replaced, shown = _ever_brightest(copies)
            document[history.field].append(_stored(*shown, first_jd, ordered[-1].source))
            document["fp_hists_replaced"] += [_stored(*copy, copy[0][0], ordered[-1].source) for copy in replaced]
    for field, history in (("prv_candidates", DETECTIONS), ("fp_hists", FORCED), ("fp_hists_replaced", FORCED)):
        document[field].sort(key=lambda point: (point["jd"], history.identity(point), point.get("alert_jd", inf)))
    return document


def _ever_brightest(copies: list[tuple[tuple[float, int], Point]]) -> list[tuple[tuple[float, int], Point]]:
    """The copies, in the order of their packets, that no earlier packet's brighter alert kept from being shown."""
    return [
        (source, point)
        for number, (source, point) in enumerate(copies)
        if all(point["alert_mag"] <= earlier["alert_mag"] for _, earlier in copies[:number])
    ]


def _stored(source: tuple[float, int], point: Point, first_jd: float, last: tuple[float, int]) -> Point:
    stored = {**point, "first_jd": first_jd}
    return stored if source == last else {**stored, "alert_jd": source[0], "alert_candid": source[1]}


def bare(points: list[Point]) -> list[Point]:
    """Points without the fields that say where they came from."""
    return [{key: value for key, value in point.items() if key not in PROVENANCE} for point in points]


def identities(history: History, points: list[Point]) -> list[tuple[Any, ...]]:
    return [history.identity(point) for point in points]
