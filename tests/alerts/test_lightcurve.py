"""Light curves: neither order nor repetition of packets matters, and the past can be told from what is stored."""

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from histories import DETECTIONS, FORCED, ZTF, bare, expected, identities, random_arrivals
from packets import JD, forced_point, prv_point, real_packets, ztf_alerts, ztf_record

from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.lightcurve import Arrival, as_of, by_jd, changes, detection_or_limit, merged
from kowalski.alerts.points import plain

SEEDS = range(40)
FORCED_FIELD = "fp_hists"
POINTS = {"prv_candidates", FORCED_FIELD, f"{FORCED_FIELD}_replaced"}


def apply(document: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """What MongoDB's ``$set`` makes of a document (tests/database/test_objects.py asks MongoDB itself)."""
    document = deepcopy(document)
    for path, value in sorted(update.items()):
        field, _, index = path.partition(".")
        if index:
            points = document[field]
            points.extend([None] * (int(index) + 1 - len(points)))
            points[int(index)] = value
        else:
            document[field] = value
    return document


def undecoded(document: dict[str, Any]) -> dict[str, Any]:
    """As the worker has it from MongoDB."""
    return {
        name: [RawBSONDocument(bson.encode(point)) for point in value] if name in POINTS else value
        for name, value in decoded(document).items()
    }


def decoded(document: dict[str, Any]) -> dict[str, Any]:
    return {name: [plain(point) for point in value] if name in POINTS else value for name, value in document.items()}


def in_pieces(
    arrivals: list[Arrival], chance: random.Random, read: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> dict[str, Any]:
    """The document after the packets came in merges of one to three, each changing what the last one left."""
    document: dict[str, Any] = {}
    rest = list(arrivals)
    while rest:
        size = chance.randrange(1, 4)
        document = read(document)
        document = apply(document, changes(document, merged(document, rest[:size], ZTF)))
        rest = rest[size:]
    return document


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_repetition_in_one_merge(seed: int) -> None:
    arrivals = random_arrivals(seed)
    chance = random.Random(seed)
    want = expected(arrivals)
    for _ in range(5):
        shuffled = arrivals + chance.choices(arrivals, k=3)
        chance.shuffle(shuffled)
        assert merged({}, shuffled, ZTF) == want


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_repetition_in_several_merges(seed: int) -> None:
    arrivals = random_arrivals(seed)
    chance = random.Random(seed)
    want = expected(arrivals)
    for _ in range(10):
        shuffled = arrivals + chance.choices(arrivals, k=3)
        chance.shuffle(shuffled)
        assert in_pieces(shuffled, chance) == want
        assert decoded(in_pieces(shuffled, chance, undecoded)) == want


@pytest.mark.parametrize("seed", SEEDS)
def test_the_past_is_what_it_was(seed: int) -> None:
    """At each jd the forced photometry is that of the packets made by then; of detections and limits, all that was known."""
    arrivals = random_arrivals(seed, packets=7)
    document = merged({}, arrivals, ZTF)
    jds = {each.source[0] for each in arrivals}
    raw = undecoded(document)
    for jd in sorted(jds | {jd - 0.1 for jd in jds} | {jd + 0.1 for jd in jds}):
        then = [each for each in arrivals if each.source[0] <= jd]
        want = expected(then) if then else {"prv_candidates": [], FORCED_FIELD: []}
        assert bare(as_of(document, FORCED, jd)) == bare(want[FORCED_FIELD])
        assert [plain(point) for point in as_of(raw, FORCED, jd)] == as_of(document, FORCED, jd)
        assert identities(DETECTIONS, as_of(document, DETECTIONS, jd)) == identities(DETECTIONS, want["prv_candidates"])


def test_merging_changes_nothing_it_was_given() -> None:
    arrivals = random_arrivals(1)
    document = merged({}, arrivals[:3], ZTF)
    before = deepcopy((document, arrivals))
    merged(document, arrivals, ZTF)
    assert (document, arrivals) == before


def test_a_repetition_changes_nothing() -> None:
    arrivals = random_arrivals(2)
    document = merged({}, arrivals, ZTF)
    for again in (arrivals, arrivals[:1], arrivals[-1:], []):
        assert changes(document, merged(document, again, ZTF)) == {}


def test_a_new_packet_that_repeats_what_is_known_changes_little() -> None:
    def packet(day: int) -> dict[str, Any]:
        history = [prv_point(JD - 50 + earlier, candid=earlier + 1) for earlier in range(50 + day)]
        return ztf_record(100 + day, prv=history, jd=JD + day)

    first, second = (arrival(alert, ZTF) for alert in ztf_alerts([packet(0), packet(1)]))
    document = merged({}, [first], ZTF)
    assert set(changes(document, merged(document, [second], ZTF))) == {"last_packet", "prv_candidates.50"}


def test_points_are_identified_by_candid_or_by_jd_fid_and_pid() -> None:
    limit = {"jd": JD, "fid": 1, "pid": 5}
    assert detection_or_limit(limit) == detection_or_limit({**limit, "diffmaglim": 20.0})
    assert (
        len(
            {
                detection_or_limit({**limit, **other})
                for other in ({}, {"jd": JD + 1}, {"fid": 2}, {"pid": 6}, {"candid": 5})
            }
        )
        == 5
    )
    assert detection_or_limit({"candid": 5, "jd": JD}) == detection_or_limit({"candid": 5, "jd": JD + 1, "pid": 3})
    assert by_jd({"jd": JD, "fid": 1}) == by_jd({"jd": JD, "fid": 2})


def test_the_latest_of_unequal_copies_is_kept_and_the_first_sight_remembered() -> None:
    def seen(candid: int, jd: float, rb: float) -> Arrival:
        return arrival(ztf_alerts([ztf_record(candid, prv=[prv_point(JD - 9, candid=1, rb=rb)], jd=jd)])[0], ZTF)

    packets = [seen(11, JD, 0.1), seen(12, JD + 2, 0.2), seen(13, JD + 1, 0.3), seen(10, JD + 2, 0.4)]
    (point,) = merged({}, packets, ZTF)["prv_candidates"]
    assert (point["rb"], point["first_jd"]) == (pytest.approx(0.2), JD)


def test_the_earliest_alert_is_that_of_the_smallest_jd_and_candid() -> None:
    records = [ztf_record(5, jd=JD, ra=1.0), ztf_record(4, jd=JD, ra=2.0), ztf_record(3, jd=JD + 1, ra=3.0)]
    arrivals = [arrival(alert, ZTF) for alert in ztf_alerts(records)]
    first = merged({}, arrivals, ZTF)["first_alert"]
    assert (first["candid"], first["ra"]) == (4, 2.0)
    assert merged({"first_alert": first}, arrivals[2:], ZTF)["first_alert"] == first


def test_two_packets_of_one_moment() -> None:
    """Of equal jd the packets follow each other by candid."""
    packets = [
        Arrival(
            (JD, candid), {"jd": JD, "candid": candid}, {FORCED_FIELD: [{"jd": JD - 1, "alert_mag": mag, "n": candid}]}
        )
        for candid, mag in ((1, 19.0), (2, 18.0), (3, 18.5))
    ] + [Arrival((JD + 5, 9), {"jd": JD + 5, "candid": 9}, {FORCED_FIELD: [{"jd": JD - 1, "alert_mag": 15.0, "n": 9}]})]
    document = merged({}, packets, ZTF)
    assert [point["n"] for point in as_of(document, FORCED, JD)] == [2]
    assert [point["n"] for point in as_of(document, FORCED, JD + 5)] == [9]


def test_a_brighter_alert_that_comes_late_undoes_what_was_replaced() -> None:
    def forced(jd: float, candid: int, mag: float) -> Arrival:
        return Arrival((jd, candid), {"jd": jd, "candid": candid}, {FORCED_FIELD: [{"jd": JD - 1, "alert_mag": mag}]})

    document = merged({}, [forced(JD + 1, 2, 19.0), forced(JD + 2, 3, 18.0)], ZTF)
    assert len(document["fp_hists_replaced"]) == 1
    document = apply(document, changes(document, merged(document, [forced(JD, 1, 15.0)], ZTF)))
    assert [point["alert_mag"] for point in document[FORCED_FIELD]] == [15.0]
    assert document["fp_hists_replaced"] == []


class TestTheReferencesForcedPhotometry:
    """Section 8 of the reference: 14 points, then [-10:-2] by a magpsf 30 alert, then the last 10 by a magpsf 15 alert."""

    POINTS = [forced_point(JD - 30 + day) for day in range(21)]

    def arrival(self, candid: int, magpsf: float, points: list[dict[str, Any]]) -> Arrival:
        record = ztf_record(candid, forced=points, magpsf=magpsf, jd=JD + candid)
        return arrival(ztf_alerts([record])[0], ZTF)

    def mags(self, document: dict[str, Any]) -> list[float]:
        points = document[FORCED_FIELD]
        assert [point["jd"] for point in points] == sorted(point["jd"] for point in points)
        return [point["alert_mag"] for point in points]

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
    def test_it(self, order: tuple[int, ...]) -> None:
        steps = [
            self.arrival(1, 20.0, self.POINTS[:14]),
            self.arrival(2, 30.0, self.POINTS[-10:-2]),
            self.arrival(3, 15.0, self.POINTS[-10:]),
        ]
        document: dict[str, Any] = {}
        for number in order:
            document = merged(document, [steps[number]], ZTF)
        assert self.mags(document) == [20.0] * 11 + [15.0] * 10
        assert self.mags(merged({}, steps[:2], ZTF)) == [20.0] * 14 + [30.0] * 5
        at_second = as_of(document, FORCED, JD + 2)
        assert [point["alert_mag"] for point in at_second] == [20.0] * 14 + [30.0] * 5


class TestOldDocuments:
    """Documents of the original have no provenance: their points are older than any packet's, and always were known."""

    OLD = {
        "_id": "ZTF18old",
        "cross_matches": {},
        "prv_candidates": [{"jd": JD - 3, "candid": 33, "rb": 0.3}, {"jd": JD - 5, "fid": 1, "pid": 4}],
        "fp_hists": [{"jd": JD - 4, "alert_mag": 19.0, "n": 1}, {"jd": JD - 3, "n": 2}],
    }

    def packet(self, jd: float, mag: float, rb: float = 0.9) -> Arrival:
        histories = {
            "prv_candidates": [{"jd": JD - 3, "candid": 33, "rb": rb}, {"jd": JD - 1, "candid": 44}],
            "fp_hists": [
                {"jd": jd_, "alert_mag": mag, "n": 100 + number} for number, jd_ in enumerate((JD - 4, JD - 3, JD - 2))
            ],
        }
        return Arrival((jd, 50), {"jd": jd, "candid": 50, "ra": 1.0, "dec": 1.0, "forced_complete": True}, histories)

    def test_a_packet_is_added(self) -> None:
        document = self.OLD | merged(self.OLD, [self.packet(JD, 18.0)], ZTF)
        assert [(point["jd"], point.get("rb")) for point in document["prv_candidates"]] == [
            (JD - 5, None), (JD - 3, 0.9), (JD - 1, None),
        ]  # fmt: skip
        assert ["first_jd" in point for point in document["prv_candidates"]] == [False, False, True]
        assert [point["n"] for point in document["fp_hists"]] == [100, 2, 102], "unknown magnitudes win, as they did"
        assert (document["first_alert"]["candid"], document["last_packet"]["candid"]) == (50, 50)

    def test_what_was_there_is_seen_at_any_time(self) -> None:
        document = self.OLD | merged(self.OLD, [self.packet(JD, 18.0)], ZTF)
        assert [point["jd"] for point in as_of(document, DETECTIONS, JD - 10)] == [JD - 5, JD - 3]
        assert [point["n"] for point in as_of(document, FORCED, JD - 10)] == [1, 2]
        assert [point["n"] for point in as_of(document, FORCED, JD)] == [100, 2, 102]

    def test_without_packets_it_is_seen_whole(self) -> None:
        assert as_of(self.OLD, FORCED, JD - 10) == self.OLD["fp_hists"]
        assert as_of({}, FORCED, JD) == []

    def test_order_does_not_matter_for_it_either(self) -> None:
        packets = [self.packet(JD, 18.0), self.packet(JD + 1, 18.5, rb=0.8)]
        one_way, other_way, together = dict(self.OLD), dict(self.OLD), dict(self.OLD)
        for packet in packets:
            one_way = apply(one_way, changes(one_way, merged(one_way, [packet], ZTF)))
        for packet in reversed(packets):
            other_way = apply(other_way, changes(other_way, merged(other_way, [packet], ZTF)))
        together = apply(together, changes(together, merged(together, packets, ZTF)))
        assert one_way == other_way == together


@pytest.mark.parametrize(
    ("before", "after", "update"),
    [
        ([], [1], {"f": [1]}),
        ([1, 2, 3, 4], [1, 2, 3, 4], {}),
        ([1, 2, 3, 4], [1, 2, 3, 4, 5], {"f.4": 5}),
        ([1, 2, 3, 4], [1, 9, 3, 4], {"f.1": 9}),
        ([1, 2, 3, 4], [9, 8, 7, 4], {"f": [9, 8, 7, 4]}),
        ([1, 2, 3, 4], [1, 2, 3], {"f": [1, 2, 3]}),
        ([1, 2, 3, 4], [], {"f": []}),
    ],
)
def test_only_what_changed_is_written(before: list[int], after: list[int], update: dict[str, Any]) -> None:
    old = {"f": [{"n": n} for n in before]}
    new = {"f": [{"n": n} for n in after]}
    wrapped = {
        key: [{"n": n} for n in value] if isinstance(value, list) else {"n": value} for key, value in update.items()
    }
    assert changes(old, new) == wrapped
    assert apply(old, changes(old, new)) == new


def test_a_field_that_was_not_there_is_written() -> None:
    assert changes({}, {"f": [], "g": 1}) == {"f": [], "g": 1}


def test_real_packets_in_any_order(test_data: Path) -> None:
    alerts, _ = read_batch(real_packets(test_data), ZTF)
    by_object: dict[str, list[Arrival]] = {}
    for alert in alerts:
        by_object.setdefault(alert.object_id, []).append(arrival(alert, ZTF))
    (twice,) = (arrivals for arrivals in by_object.values() if len(arrivals) > 1)
    want = expected(twice)
    for order in (twice, twice[::-1], twice + twice[:1]):
        assert merged({}, order, ZTF) == want
        assert in_pieces(order, random.Random(1)) == want
    for arrivals in by_object.values():
        assert merged({}, arrivals, ZTF) == expected(arrivals)
