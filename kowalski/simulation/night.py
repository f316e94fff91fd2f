"""A simulated night: visits of a few hundred alerts each, as packets in the order a telescope would send them."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from kowalski.simulation.sky import FIELD_OBJECTS, Exposure, Field, expose, generator, make_field, night_id
from kowalski.simulation.sources import make_source
from kowalski.simulation.species import SPECIES
from kowalski.simulation.tracking import SimulatedPacket, Tracked, track

VISIT_SECONDS = 40.0
"""Time between visits, s, as Rubin's; shortened where the night would not hold them all."""

NIGHT_START, NIGHT_LENGTH = 15_000, 39_000
"""Dusk and length of a Palomar night, 1e-5 d of the UT day."""

FIELDS_AT_ONCE = 8
"""Fields visited in turn before the telescope moves on: what bounds the memory."""

PROGRAMS = (1, 1, 2, 1, 3, 1, 1, 2, 1, 1)
"""Programme of one visit after the other: mostly public."""


class Share(NamedTuple):
    """What one field gives to a night: objects, alerts beyond one of each, and visits."""

    objects: int
    extra: int
    visits: int


def simulate(n: int, objects: int | None = None, seed: int = 1, night: str = "20240101") -> Iterator[SimulatedPacket]:
    """Exactly ``n`` packets of ``objects`` objects (a third of ``n`` by default), candids increasing.

    Packets are made as they are read: memory stays below that of `FIELDS_AT_ONCE` fields, however many there are. The
    same arguments give the same bytes; an object's place and surroundings depend on ``seed`` alone.

    Raises
    ------
    ValueError : not 1 <= objects <= n, too many alerts per object for one night, or a night that isn't YYYYMMDD since
        2017-03-01
    """
    objects = default_objects(n) if objects is None else objects
    if not 1 <= objects <= n:
        raise ValueError(f"{objects} objects can't give {n} alerts: one object at least, and one alert each")
    shares = _shares(n, objects)
    if (visits := sum(share.visits for share in shares)) > NIGHT_LENGTH:
        raise ValueError(f"{n} alerts of {objects} objects take {visits} visits, a night holds {NIGHT_LENGTH}")
    return _visits(shares, seed, night_id(night))


def default_objects(n: int) -> int:
    """Objects of a simulation of ``n`` alerts unless said otherwise."""
    return max(1, n // 3)


def topic(night: str, programid: int) -> str:
    """ZTF's topic of one programme's alerts of a night."""
    return f"ztf_{night}_programid{programid}"


def paced(
    packets: Iterable[SimulatedPacket], rate: float | None = None, burst: float | None = None
) -> Iterator[SimulatedPacket]:
    """The packets, held back: ``rate`` alerts/s at most, and the visits ``burst`` s apart; None: no holding back."""
    due = time.monotonic()
    visit_due, jd = due, None
    for packet in packets:
        if burst is not None and packet.jd != jd:
            due = max(due, visit_due)
            visit_due, jd = due + burst, packet.jd
        time.sleep(max(0.0, due - time.monotonic()))
        yield packet
        due += 1 / rate if rate else 0.0


def _shares(n: int, objects: int) -> list[Share]:
    """How the night is split into fields; extra alerts go by their sizes."""
    sizes = [min(FIELD_OBJECTS, objects - done) for done in range(0, objects, FIELD_OBJECTS)]
    extras = np.diff((n - objects) * np.cumsum([0, *sizes]) // objects).tolist()
    # Twice the visits that the extra alerts need, so that most objects are missed by some.
    return [Share(size, extra, 1 + -(-2 * extra // size)) for size, extra in zip(sizes, extras, strict=True)]


def _visits(shares: list[Share], seed: int, nid: int) -> Iterator[SimulatedPacket]:
    step = min(VISIT_SECONDS / 86400e-5, NIGHT_LENGTH / sum(share.visits for share in shares))
    done = 0
    for first in range(0, len(shares), FIELDS_AT_ONCE):
        group = [
            _Observed(seed, nid, first + place, share)
            for place, share in enumerate(shares[first : first + FIELDS_AT_ONCE])
        ]
        for turn in range(max(target.visits for target in group)):
            for target in group:
                if turn < target.visits:
                    yield from target.visit(turn, NIGHT_START + int(done * step), PROGRAMS[done % len(PROGRAMS)])
                    done += 1


class _Observed:
    """A field under observation: which of its objects each of its visits detects, and what is known of them so far."""

    def __init__(self, seed: int, nid: int, number: int, share: Share):
        self.seed, self.nid, self.visits = seed, nid, share.visits
        self.field = make_field(seed, number, nid)
        self.plan = _plan(self.field, share, generator(seed, 7, number, nid))
        self.tracked: dict[int, Tracked] = {}
        self.exposures: list[Exposure] = []

    def visit(self, turn: int, fraction: int, programid: int) -> list[SimulatedPacket]:
        """The packets of one visit, by candid."""
        fid = 3 if programid == 2 and turn % 2 else 1 + turn % 2
        exposure = expose(self.seed, self.field.number, self.nid, fraction, fid, programid)
        packets = [self._alert(slot, turn, exposure) for slot in np.flatnonzero(self.plan[:, turn]).tolist()]
        for slot in self.tracked.keys() - np.flatnonzero(self.plan[:, turn]).tolist():
            self.tracked[slot].miss(exposure)
        self.exposures.append(exposure)
        return sorted(packets, key=lambda packet: packet.candid)

    def _alert(self, slot: int, turn: int, exposure: Exposure) -> SimulatedPacket:
        state = self.tracked.pop(slot, None) or self._begin(slot)
        if self.plan[slot, turn + 1 :].any():
            self.tracked[slot] = state
        return state.packet(exposure, generator(self.seed, 8, state.source.index, self.nid, exposure.fraction))

    def _begin(self, slot: int) -> Tracked:
        source = make_source(self.seed, self.field, slot, self.nid)
        rng = generator(self.seed, 9, source.index, self.nid)
        return track(source, self.field.past, self.exposures, rng)


def _plan(target: Field, share: Share, rng: np.random.Generator) -> np.ndarray:
    """Which objects (rows) each visit (columns) detects: every one once, and ``share.extra`` times more in all.

    What passes by or isn't there is seen once, as long as the others can take all of the extra detections.
    """
    repeats = np.array([SPECIES[name].repeats for name in target.species[: share.objects]])
    times = np.ones(share.objects, int)
    extra = share.extra
    for pool in (np.flatnonzero(repeats), np.flatnonzero(~repeats)):
        if pool.size:
            take = min(extra, pool.size * (share.visits - 1))
            each, rest = divmod(take, pool.size)
            times[rng.permutation(pool)] += each + (np.arange(pool.size) < rest)
            extra -= take
    rank = rng.random((share.objects, share.visits)).argsort(axis=1).argsort(axis=1)
    return rank < times[:, None]
