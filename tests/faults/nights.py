"""Small nights for rounds of faults, and what each must leave behind, worked out from its packets one at a time."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import histories
from bson import json_util

from kowalski.alerts.decode import Packet, decode
from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.survey import get_survey
from kowalski.simulation.night import simulate

ZTF = get_survey("ZTF")
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
#: each round streams the alerts of another night, so that no candid comes twice
FIRST_NIGHT = datetime(2018, 1, 1, tzinfo=UTC)
#: candid and filter of something that SkyPortal must get once
Passing = tuple[int, int]


@dataclass(frozen=True)
class RoundFilter:
    """A filter of the rounds, as a pipeline and as plain Python."""

    filter_id: int
    match: dict[str, Any]
    passes: Callable[[dict[str, Any]], bool]
    autosave: dict[str, Any] | bool = False

    def document(self) -> dict[str, Any]:
        """The filter as stored: active, of group 1, for all programmes."""
        pipeline = [{"$match": self.match}, {"$project": {"annotations": {"mag": "$candidate.magpsf"}}}]
        version = {"fid": f"r{self.filter_id:05d}", "pipeline": json_util.dumps(pipeline), "created_at": CREATED}
        return {
            "filter_id": self.filter_id,
            "group_id": 1,
            "catalog": "ZTF_alerts",
            "permissions": [1, 2, 3],
            "active": True,
            "autosave": self.autosave,
            "auto_followup": {},
            "update_annotations": False,
            "active_fid": version["fid"],
            "fv": [version],
            "created_at": CREATED,
            "last_modified": CREATED,
        }


def _passes(candidate: dict[str, Any], brighter: float, drb: float = -1.0, fid: int | None = None) -> bool:
    """Whether a candidate is brighter than so many magnitudes, real, and of a band."""
    real = drb < 0 or (candidate["drb"] or 0) > drb
    return candidate["magpsf"] < brighter and real and fid in (None, candidate["fid"])


def _filters(first: float, second: float, third: float) -> tuple[RoundFilter, ...]:
    """Three filters, each of alerts brighter than so many magnitudes; the first saves what passes."""
    saves = {"active": True, "comment": "saved by a filter"}
    return (
        RoundFilter(1, {"candidate.magpsf": {"$lt": first}, "candidate.drb": {"$gt": 0.9}}, partial(_passes, brighter=first, drb=0.9), saves),
        RoundFilter(2, {"candidate.magpsf": {"$lt": second}, "candidate.drb": {"$gt": 0.5}}, partial(_passes, brighter=second, drb=0.5)),
        RoundFilter(3, {"candidate.magpsf": {"$lt": third}, "candidate.fid": 2}, partial(_passes, brighter=third, fid=2)),
    )  # fmt: skip


#: of rounds, in which there are few alerts and much is to be posted: three of four pass something
FILTERS = _filters(30.0, 18.5, 30.0)
#: of a stream that is fast: one alert in twenty passes something, which still is more than in any survey
SELECTIVE = _filters(16.0, 15.5, 17.0)


@dataclass(frozen=True)
class Night:
    """What a round streams, and what must come of it.

    Attributes
    ----------
    messages : good and bad packets, mixed
    objects : object -> the light-curve part of its document
    saved : objects that a filter saves
    bad : the packets that can't be processed
    """

    messages: list[bytes]
    candids: dict[int, str]
    objects: dict[str, dict[str, Any]]
    passing: set[Passing]
    saved: set[str]
    bad: set[bytes]


def make_night(number: int, seed: int, alerts: int, filters: tuple[RoundFilter, ...] = FILTERS) -> Night:
    """The night of a round: the same arguments give the same one; nights of different numbers share nothing."""
    date = FIRST_NIGHT + timedelta(days=number % 2500)
    packets = list(simulate(alerts, seed=1000 * (seed % 1000) + number, night=f"{date:%Y%m%d}"))
    data = [packet.data for packet in packets]
    chance = random.Random(f"bad packets of {seed}:{number}")
    bad = [
        f"not avro: {seed}:{number}".encode(),
        data[0][: len(data[0]) // 2],
        data[1][:-16] + bytes(16),
    ]
    messages = list(data)
    for packet in bad:
        messages.insert(chance.randrange(len(messages) + 1), packet)
    records = [record for each in data for record in decode(each)]
    return Night(
        messages,
        {record["candid"]: record["objectId"] for record in records},
        _objects(data),
        {(record["candid"], each.filter_id) for record in records for each in filters if each.passes(record["candidate"])},
        {record["objectId"] for record in records for each in filters if each.autosave and each.passes(record["candidate"])},
        set(bad),
    )  # fmt: skip


def _objects(packets: list[bytes]) -> dict[str, dict[str, Any]]:
    """Each object's document, as the plain union of what its packets bring."""
    arrivals: dict[str, list[Any]] = {}
    for data in packets:
        [alert], _ = read_batch([Packet(data)], ZTF)
        arrivals.setdefault(alert.object_id, []).append(arrival(alert, ZTF))
    return {object_id: histories.expected(those) for object_id, those in arrivals.items()}
