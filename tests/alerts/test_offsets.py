"""Offsets: what is committed is stored, per partition and without a gap."""

import random

from kowalski.alerts.offsets import OffsetTracker, Partition

A: Partition = ("ztf_20230101_programid1", 0)
B: Partition = ("ztf_20230101_programid1", 1)


def messages(partition: Partition, *offsets: int) -> list[tuple[Partition, int]]:
    return [(partition, offset) for offset in offsets]


def tracking(*offsets: int) -> OffsetTracker:
    tracker = OffsetTracker()
    tracker.started(messages(A, *offsets))
    return tracker


def test_nothing_to_commit_at_the_start() -> None:
    assert OffsetTracker().to_commit() == {}
    assert OffsetTracker().positions() == {}


def test_the_next_offset_is_committed_once_all_is_done() -> None:
    tracker = tracking(5, 6, 7)
    tracker.finished(messages(A, 5, 6, 7))
    assert tracker.to_commit() == {A: 8}
    assert tracker.under_way == 0


def test_what_is_under_way_is_read_again() -> None:
    tracker = tracking(5, 6, 7)
    assert tracker.to_commit() == {A: 5}
    assert tracker.under_way == 3


def test_out_of_order_completion_waits_for_the_gap() -> None:
    tracker = tracking(0, 1, 2, 3)
    tracker.finished(messages(A, 3, 1))
    assert tracker.positions() == {A: 0}
    tracker.finished(messages(A, 0))
    assert tracker.positions() == {A: 2}
    tracker.finished(messages(A, 2))
    assert tracker.positions() == {A: 4}


def test_gaps_in_the_stream_are_no_gaps() -> None:
    """Kafka leaves out offsets: transaction markers, compacted messages."""
    tracker = tracking(3, 10, 11, 50)
    tracker.finished(messages(A, 3, 10))
    assert tracker.positions() == {A: 11}
    tracker.finished(messages(A, 11, 50))
    assert tracker.positions() == {A: 51}


def test_partitions_are_independent() -> None:
    tracker = tracking(0, 1)
    tracker.started(messages(B, 7))
    tracker.finished(messages(B, 7))
    assert tracker.positions() == {A: 0, B: 8}


def test_only_progress_is_committed() -> None:
    tracker = tracking(0, 1)
    tracker.finished(messages(A, 0))
    tracker.committed(tracker.to_commit())
    assert tracker.to_commit() == {}
    tracker.finished(messages(A, 1))
    assert tracker.to_commit() == {A: 2}


def test_a_commit_that_failed_is_tried_again() -> None:
    tracker = tracking(0)
    tracker.finished(messages(A, 0))
    assert tracker.to_commit() == tracker.to_commit() == {A: 1}


def test_revoked_partitions_are_not_committed() -> None:
    tracker = tracking(0, 1)
    tracker.started(messages(B, 4))
    tracker.give_up([A, ("unknown", 3)])
    tracker.finished(messages(A, 0, 1))
    tracker.finished(messages(B, 4))
    assert tracker.positions() == {B: 5}
    assert tracker.under_way == 0


def test_a_partition_that_comes_back_starts_anew() -> None:
    tracker = tracking(0, 1, 2)
    tracker.finished(messages(A, 0, 1, 2))
    tracker.committed(tracker.to_commit())
    tracker.give_up([A])
    tracker.started(messages(A, 1, 2))
    assert tracker.to_commit() == {A: 1}
    tracker.finished(messages(A, 1, 2))
    assert tracker.to_commit() == {A: 3}


def test_finishing_twice_or_something_unknown_is_harmless() -> None:
    tracker = tracking(0, 1)
    tracker.finished(messages(A, 0, 0, 99))
    tracker.finished(messages(B, 5))
    assert tracker.positions() == {A: 1}


def test_any_order_of_completion() -> None:
    chance = random.Random(4)
    for _ in range(50):
        tracker = tracking(*range(30))
        left = list(range(30))
        chance.shuffle(left)
        while left:
            done, left = left[:4], left[4:]
            tracker.finished(messages(A, *done))
            assert tracker.positions() == {A: min(left, default=30)}
