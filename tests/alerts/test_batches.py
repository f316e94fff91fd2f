"""What becomes of batches that come back: nothing is lost, and only the packet at fault is given up."""

import random
from typing import Any

import pytest
from packets import packet

from kowalski.alerts.batches import Batch, Culprit, Fault, Queue, fault_of
from kowalski.errors import DatabaseError, DatabaseUnavailable, ModelError, PacketError, SkyPortalError, TooLarge

SOON = 10.0


def batch(*offsets: int, suspect: bool = False) -> Batch:
    return Batch([packet(b"", offset) for offset in offsets], suspect)


def offsets(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [packet.offset for packet in batch.packets]


def came_back(queue: Queue, batch: Batch, fault: Fault, retry_at: float = SOON) -> Culprit | None:
    return queue.came_back(batch, fault, ValueError("no"), retry_at)


def test_an_empty_queue() -> None:
    queue = Queue()
    assert not queue
    assert not queue.is_closed([])
    assert queue.take(now=0, under_way=[]) is None


def test_batches_are_numbered_and_know_their_messages() -> None:
    first, second = batch(1, 2), batch(3)
    assert first.number != second.number
    assert first.messages == [(("ztf_20230101_programid1", 0), 1), (("ztf_20230101_programid1", 0), 2)]


def test_a_lost_batch_goes_again_at_once() -> None:
    queue, lost = Queue(), batch(1, 2)
    assert came_back(queue, lost, Fault.LOST) is None
    assert queue.take(now=0, under_way=[batch(9)]) is lost
    assert not queue


def test_a_batch_whose_service_was_away_waits() -> None:
    queue, waiting = Queue(), batch(1)
    came_back(queue, waiting, Fault.UNAVAILABLE, retry_at=SOON)
    assert queue
    assert queue.take(now=SOON - 0.1, under_way=[]) is None
    assert queue.take(now=SOON, under_way=[batch(9)]) is waiting


def test_a_failed_batch_is_halved_until_the_culprit_is_alone() -> None:
    queue = Queue()
    came_back(queue, batch(0, 1, 2, 3, 4), Fault.FAILED)
    assert offsets(queue.take(0, [])) == [0, 1]
    rest = queue.take(0, [])
    assert offsets(rest) == [2, 3, 4]
    assert rest is not None
    came_back(queue, rest, Fault.FAILED)
    alone = queue.take(0, [])
    assert offsets(alone) == [2]
    assert alone is not None
    culprit = came_back(queue, alone, Fault.FAILED)
    assert culprit is not None
    assert (culprit.packet.offset, culprit.reason, culprit.detail) == (2, "failed", "ValueError('no')")
    assert offsets(queue.take(0, [])) == [3, 4]


def test_a_batch_whose_workers_died_runs_alone_before_it_is_judged() -> None:
    queue, killed, other = Queue(), batch(0, 1), batch(5)
    assert came_back(queue, killed, Fault.KILLED) is None
    assert queue.is_closed([])
    came_back(queue, other, Fault.LOST)
    assert queue.take(now=0, under_way=[batch(9)]) is None, "something is under way, and nothing new may begin"
    assert queue.take(now=0, under_way=[]) is killed
    assert queue.take(now=0, under_way=[killed]) is None, "and nothing beside it"
    assert queue.is_closed([killed])
    assert queue.take(now=0, under_way=[]) is other


def test_a_suspect_that_kills_again_is_halved_and_its_halves_run_alone() -> None:
    queue = Queue()
    came_back(queue, batch(0, 1, 2), Fault.KILLED)
    suspect = queue.take(0, [])
    assert suspect is not None
    came_back(queue, suspect, Fault.KILLED)
    first = queue.take(0, [])
    assert offsets(first) == [0]
    assert queue.take(0, under_way=[batch(9)]) is None
    assert first is not None
    culprit = came_back(queue, first, Fault.KILLED)
    assert culprit is not None
    assert culprit.reason == "kills_workers"
    assert offsets(queue.take(0, [])) == [1, 2]


def test_a_single_packet_that_fails_is_kept_under_its_fault() -> None:
    reasons = []
    for error in (DatabaseError("no"), TooLarge("insert alerts: object to insert too large")):
        culprit = Queue().came_back(batch(1), fault_of(error), error, retry_at=0)
        assert culprit is not None
        reasons.append(culprit.reason)
    assert reasons == ["failed", "too_large"]


def test_a_single_packet_beside_which_workers_died_gets_a_trial() -> None:
    queue, single = Queue(), batch(3)
    assert came_back(queue, single, Fault.KILLED) is None
    assert queue.take(0, []) is single
    assert came_back(queue, single, Fault.KILLED) is not None


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNAVAILABLE])
def test_a_suspect_stays_alone_whatever_else_befalls_it(fault: Fault) -> None:
    """Beside others that kill, it would be convicted for their doing."""
    queue = Queue()
    came_back(queue, batch(0), Fault.KILLED)
    suspect = queue.take(0, [])
    assert suspect is not None
    came_back(queue, suspect, fault, retry_at=0)
    assert queue.take(now=1, under_way=[batch(9)]) is None
    assert queue.take(now=1, under_way=[]) is suspect


def run(poison: dict[int, Fault], size: int, chance: random.Random) -> tuple[list[int], list[Culprit]]:
    """Offsets stored and culprits found when some packets fail or kill, with up to three batches under way."""
    queue, waiting = Queue(), [batch(*range(start, start + size)) for start in range(0, 3 * size, size)]
    under_way: list[Batch] = []
    stored: list[int] = []
    culprits: list[Culprit] = []
    for _ in range(1000):
        while len(under_way) < 3:
            each = queue.take(now=0, under_way=under_way)
            if each is None and waiting and not queue.is_closed(under_way):
                each = waiting.pop()
            if each is None:
                break
            under_way.append(each)
        assert len(under_way) == 1 or not any(each.suspect for each in under_way)
        if not under_way:
            break
        done = under_way.pop(chance.randrange(len(under_way)))
        faults = {poison[offset] for offset in offsets(done) if offset in poison}
        if Fault.KILLED in faults:  # takes the others with it
            for victim in (done, *under_way):
                note(queue.came_back(victim, Fault.KILLED, ValueError("died"), 0), culprits)
            under_way = []
        elif faults:
            note(queue.came_back(done, Fault.FAILED, ValueError("failed"), 0), culprits)
        else:
            stored += offsets(done)
    assert not queue
    return stored, culprits


def note(culprit: Culprit | None, culprits: list[Culprit]) -> None:
    if culprit:
        culprits.append(culprit)


@pytest.mark.parametrize("seed", range(20))
def test_only_culprits_are_given_up(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.choice((1, 2, 7, 16))
    poison = {
        offset: chance.choice((Fault.KILLED, Fault.FAILED)) for offset in chance.sample(range(3 * size), min(3, size))
    }
    stored, culprits = run(poison, size, chance)
    assert {culprit.packet.offset for culprit in culprits} == set(poison)
    assert sorted(stored) == [offset for offset in range(3 * size) if offset not in poison]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (DatabaseUnavailable("away"), Fault.UNAVAILABLE),
        (SkyPortalError("busy", 503, retriable=True), Fault.UNAVAILABLE),
        (DatabaseError("too large"), Fault.FAILED),
        (PacketError("field", "x"), Fault.FAILED),
        (ModelError("x"), Fault.FAILED),
        (KeyError("x"), Fault.FAILED),
    ],
)
def test_faults_of_errors(error: Any, fault: Fault) -> None:
    assert fault_of(error) is fault
