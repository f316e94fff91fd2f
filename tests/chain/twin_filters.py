"""Twenty-five filters of five groups, each written twice: as a pipeline, and as plain Python that judges one alert."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Stage = dict[str, Any]
Point = dict[str, Any]


class Seen(NamedTuple):
    """What a filter may know of an alert: its detection and the earlier points of its object, without their nulls."""

    candidate: Point
    history: list[Point]

    @property
    def detections(self) -> list[Point]:
        """The earlier detections."""
        return [point for point in self.history if "magpsf" in point]


Judge = Callable[[Seen], Any]


class Twin(NamedTuple):
    """A pipeline, and what it gives for one alert (None: it does not pass)."""

    pipeline: list[Stage]
    judge: Judge


@dataclass(frozen=True)
class Action:
    """What a filter does for those that pass: its settings as stored, and the twin of its pipeline (None: for all)."""

    stored: dict[str, Any]
    twin: Twin | None = None

    def document(self) -> dict[str, Any]:
        """As a filter document has it."""
        return {"active": True, **self.stored} | ({"pipeline": self.twin.pipeline} if self.twin else {})

    def judge(self, seen: Seen) -> Any:
        """What it gives for an alert; None: nothing is done."""
        return {} if self.twin is None else self.twin.judge(seen)


@dataclass(frozen=True)
class TwinFilter:
    """A filter of a group, with what goes with it."""

    filter_id: int
    group_id: int
    twin: Twin
    permissions: tuple[int, ...] = (1, 2, 3)
    update: bool = False
    autosave: Action | None = None
    follow_up: Action | None = None

    def document(self) -> dict[str, Any]:
        """Changes to the usual filter document."""
        return {
            "group_id": self.group_id,
            "permissions": list(self.permissions),
            "update_annotations": self.update,
            "autosave": self.autosave.document() if self.autosave else False,
            "auto_followup": self.follow_up.document() if self.follow_up else {},
        }


def _brighter(mag: float) -> Stage:
    return {"$match": {"candidate.drb": {"$gt": 0.5}, "candidate.magpsf": {"$lt": mag}}}


def _is_brighter(seen: Seen, mag: float) -> bool:
    drb = seen.candidate["drb"]
    return drb is not None and drb > 0.5 and seen.candidate["magpsf"] < mag


def bright(mag: float, *fids: int) -> Twin:
    """Brighter than a magnitude, in some bands."""
    pipeline = [
        _brighter(mag),
        {"$match": {"candidate.fid": {"$in": list(fids)}}},
        {"$project": {"annotations": {"mag": "$candidate.magpsf", "fid": "$candidate.fid"}}},
    ]

    def judge(seen: Seen) -> Any:
        candidate = seen.candidate
        passes = _is_brighter(seen, mag) and candidate["fid"] in fids
        return {"mag": candidate["magpsf"], "fid": candidate["fid"]} if passes else None

    return Twin(pipeline, judge)


def detected_often(mag: float, times: int) -> Twin:
    """Detected so many times before."""
    earlier = {"$filter": {"input": "$prv_candidates", "as": "p", "cond": {"$gt": ["$$p.magpsf", None]}}}
    pipeline = [
        _brighter(mag),
        {"$addFields": {"n": {"$size": earlier}}},
        {"$match": {"n": {"$gte": times}}},
        {"$project": {"annotations": {"n": "$n"}}},
    ]

    def judge(seen: Seen) -> Any:
        number = len(seen.detections)
        return {"n": number} if _is_brighter(seen, mag) and number >= times else None

    return Twin(pipeline, judge)


def rising(mag: float, by: float) -> Twin:
    """Brighter than at its faintest before, in the same band, by so many magnitudes."""
    same_band = {"$and": [{"$eq": ["$$p.fid", "$candidate.fid"]}, {"$gt": ["$$p.magpsf", 0]}]}
    pipeline = [
        _brighter(mag),
        {"$addFields": {"before": {"$filter": {"input": "$prv_candidates", "as": "p", "cond": same_band}}}},
        {"$addFields": {"rise": {"$subtract": [{"$max": "$before.magpsf"}, "$candidate.magpsf"]}}},
        {"$match": {"rise": {"$gt": by}}},
        {"$project": {"candid": 1, "annotations.rise": "$rise"}},
    ]

    def judge(seen: Seen) -> Any:
        before = [point["magpsf"] for point in seen.detections if point["fid"] == seen.candidate["fid"]]
        if not before or not _is_brighter(seen, mag):
            return None
        rise = max(before) - seen.candidate["magpsf"]
        return {"rise": rise} if rise > by else None

    return Twin(pipeline, judge)


def grouped(mag: float, times: int) -> Twin:
    """Looks across documents: the number and the faintest of the earlier detections, by ``$group``."""
    pipeline = [
        _brighter(mag),
        {"$unwind": "$prv_candidates"},
        {"$match": {"prv_candidates.magpsf": {"$gt": 0}}},
        {"$group": {"_id": None, "n": {"$sum": 1}, "faintest": {"$max": "$prv_candidates.magpsf"}}},
        {"$match": {"n": {"$gte": times}}},
        {"$project": {"annotations": {"n": "$n", "faintest": "$faintest"}}},
    ]

    def judge(seen: Seen) -> Any:
        mags = [point["magpsf"] for point in seen.detections]
        return {"n": len(mags), "faintest": max(mags)} if _is_brighter(seen, mag) and len(mags) >= times else None

    return Twin(pipeline, judge)


def seen_lately(mag: float, days: float) -> Twin:
    """The last earlier detection, by ``$sort`` and ``$limit``, is not older than so many days."""
    pipeline = [
        _brighter(mag),
        {"$unwind": "$prv_candidates"},
        {"$match": {"prv_candidates.magpsf": {"$gt": 0}}},
        {"$sort": {"prv_candidates.jd": -1}},
        {"$limit": 1},
        {"$match": {"$expr": {"$lt": [{"$subtract": ["$candidate.jd", "$prv_candidates.jd"]}, days]}}},
        {"$project": {"annotations": {"last": "$prv_candidates.jd"}}},
    ]

    def judge(seen: Seen) -> Any:
        last = max((point["jd"] for point in seen.detections), default=None)
        passes = last is not None and _is_brighter(seen, mag) and seen.candidate["jd"] - last < days
        return {"last": last} if passes else None

    return Twin(pipeline, judge)


def seen_once(mag: float, days: float) -> Twin:
    """Exactly one document comes out: that of the only detection in the days before."""
    age = {"$subtract": ["$candidate.jd", "$prv_candidates.jd"]}
    pipeline = [
        _brighter(mag),
        {"$unwind": "$prv_candidates"},
        {"$match": {"prv_candidates.magpsf": {"$gt": 0}, "$expr": {"$lt": [age, days]}}},
        {"$project": {"annotations": {"only": "$prv_candidates.jd"}}},
    ]

    def judge(seen: Seen) -> Any:
        jds = [point["jd"] for point in seen.detections if seen.candidate["jd"] - point["jd"] < days]
        return {"only": jds[0]} if _is_brighter(seen, mag) and len(jds) == 1 else None

    return Twin(pipeline, judge)


def faceted(mag: float) -> Twin:
    """A pipeline inside a pipeline."""
    pipeline = [
        _brighter(mag),
        {"$facet": {"green": [{"$match": {"candidate.fid": 1}}], "all": [{"$count": "n"}]}},
        {"$match": {"green.0": {"$exists": True}}},
        {"$project": {"annotations": {"n": {"$first": "$all.n"}}}},
    ]

    def judge(seen: Seen) -> Any:
        return {"n": 1} if _is_brighter(seen, mag) and seen.candidate["fid"] == 1 else None

    return Twin(pipeline, judge)


def failing_in_i(mag: float) -> Twin:
    """MongoDB can't run it on alerts in the i band, which keeps no others from passing."""
    inverse = {"$divide": [1, {"$subtract": ["$candidate.fid", 3]}]}
    pipeline = [_brighter(mag), {"$project": {"annotations": {"inverse": inverse}}}]

    def judge(seen: Seen) -> Any:
        fid = seen.candidate["fid"]
        return {"inverse": 1 / (fid - 3)} if fid != 3 and _is_brighter(seen, mag) else None

    return Twin(pipeline, judge)


def far_from_asteroids(mag: float) -> Twin:
    """An ``$or`` over a field that may be null."""
    pipeline = [
        _brighter(mag),
        {"$match": {"$or": [{"candidate.ssdistnr": None}, {"candidate.ssdistnr": {"$lt": 0}}]}},
        {"$project": {"annotations": {"ndethist": "$candidate.ndethist"}}},
    ]

    def judge(seen: Seen) -> Any:
        distance = seen.candidate["ssdistnr"]
        passes = _is_brighter(seen, mag) and (distance is None or distance < 0)
        return {"ndethist": seen.candidate["ndethist"]} if passes else None

    return Twin(pipeline, judge)


def only_brighter(mag: float, **fields: Any) -> Twin:
    """A further pipeline: brighter than that; it gives ``fields``."""
    pipeline = [{"$match": {"candidate.magpsf": {"$lt": mag}}}, {"$addFields": fields}]
    return Twin(pipeline if fields else pipeline[:1], lambda seen: fields if seen.candidate["magpsf"] < mag else None)


def more_urgent_in(fid: int) -> Twin:
    """A further pipeline for all: its payload has priority 3 in one band, else 1."""
    urgency = {"$cond": [{"$eq": ["$candidate.fid", fid]}, 3, 1]}
    pipeline = [{"$addFields": {"payload": {"priority": urgency}}}]
    return Twin(pipeline, lambda seen: {"payload": {"priority": 3 if seen.candidate["fid"] == fid else 1}})


#: of ordinary brightness, and rarer ones, mag
ORDINARY, RARE = 17.0, 16.0

UPDATED = Action(
    {"allocation_id": 5, "comment": "IFU please", "payload": {"observation_type": "IFU", "priority": 1}, "validity_days": 3, "target_group_ids": [2]},
    more_urgent_in(2),
)  # fmt: skip
NOT_UPDATED = Action(
    {"allocation_id": 7, "payload": {"observation_type": "3-shot"}, "priority_order": "desc", "implements_update": False},
    only_brighter(RARE, comment="from the pipeline"),
)  # fmt: skip

FILTERS = [
    TwinFilter(1, 1, bright(ORDINARY, 1), autosave=Action({"comment": "first look", "saver_id": 42})),
    TwinFilter(2, 1, bright(ORDINARY - 0.5, 2, 3), update=True),
    TwinFilter(3, 1, detected_often(ORDINARY - 0.5, 9), update=True),
    TwinFilter(4, 1, grouped(ORDINARY - 0.5, 12)),
    TwinFilter(5, 1, faceted(RARE)),
    TwinFilter(6, 2, far_from_asteroids(RARE), autosave=Action({"comment": "rare"}, only_brighter(RARE)), follow_up=UPDATED),
    TwinFilter(7, 2, rising(ORDINARY, 0.3), update=True),
    TwinFilter(8, 2, seen_lately(RARE, 5.0)),
    TwinFilter(9, 2, seen_once(ORDINARY + 0.5, 3.0), permissions=(1, 2)),
    TwinFilter(10, 2, failing_in_i(RARE)),
    TwinFilter(11, 3, bright(RARE, 1, 2, 3), permissions=(1,), autosave=Action({})),
    TwinFilter(12, 3, detected_often(RARE, 1), permissions=(1,), update=True),
    TwinFilter(13, 3, grouped(RARE, 1), permissions=(1, 2), update=True),
    TwinFilter(14, 3, rising(ORDINARY, 1.0)),
    TwinFilter(15, 3, seen_once(RARE, 0.5)),
    TwinFilter(16, 4, bright(ORDINARY, 2), autosave=Action({"comment": "unless the first have it", "ignore_group_ids": [1]})),
    TwinFilter(17, 4, far_from_asteroids(RARE - 0.5), update=True),
    TwinFilter(18, 4, seen_lately(ORDINARY - 0.5, 0.1)),
    TwinFilter(19, 4, faceted(RARE - 0.5)),
    TwinFilter(20, 4, bright(10.0, 1, 2, 3)),
    TwinFilter(21, 5, rising(ORDINARY, 0.1), autosave=Action({"comment": "rises", "saver_id": 43}), follow_up=NOT_UPDATED),
    TwinFilter(22, 5, detected_often(RARE, 6)),
    TwinFilter(23, 5, grouped(RARE - 0.5, 2), update=True),
    TwinFilter(24, 5, failing_in_i(RARE - 0.5), update=True),
    TwinFilter(25, 5, seen_lately(RARE - 0.5, 1.0), permissions=(2, 3)),
]  # fmt: skip
