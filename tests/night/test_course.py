"""The course of a night, look by look."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kowalski.night.course import Rules, Sight, State, next_step, unfinished

RULES = Rules(quiet=timedelta(minutes=30), longest_drain=timedelta(hours=12))
NOON = datetime(2024, 1, 1, 19, 47, tzinfo=UTC)
DARK, LIGHT = datetime(2024, 1, 1, 1, 0, tzinfo=UTC), datetime(2024, 1, 1, 14, 30, tzinfo=UTC)
#: by day, an hour after the last alert, everything finished
SIGHT = Sight(
    now=LIGHT + timedelta(hours=1),
    begins=DARK,
    ends=LIGHT,
    closes=NOON,
    messages=1000,
    grew_at=LIGHT,
    lag=0,
    balance=0,
    drained_since=LIGHT + timedelta(minutes=30),
)


def test_a_whole_night() -> None:
    """Each state follows from the one before, and from nothing else than what is seen."""
    states = [State.WAITING]
    for seen in (
        {"now": DARK - timedelta(hours=3), "messages": 0},
        {"now": DARK + timedelta(hours=1), "messages": 0},
        {"now": DARK + timedelta(hours=2), "messages": 10, "lag": 10},
        {"now": LIGHT - timedelta(minutes=1)},
        {"now": LIGHT + timedelta(minutes=29)},
        {"now": LIGHT + timedelta(minutes=30), "lag": 7},
        {"lag": 7},
        {"under_way": 2},
        {"outbox": 1},
        {"balance": None},
        {"balance": 3},
        {},
        {},
    ):
        states.append(next_step(states[-1], replace(SIGHT, **seen), RULES).state)  # type: ignore[arg-type]
    W, R, D = State.WAITING, State.RUNNING, State.DRAINING
    assert states == [W, W, W, R, R, R, D, D, D, D, D, D, State.DONE, State.DONE]


@pytest.mark.parametrize(
    ("state", "seen", "expected", "why"),
    [
        ("waiting", {"messages": 0, "now": DARK - timedelta(hours=1)}, "waiting", "it gets dark at 01:00 UTC"),
        ("waiting", {"messages": 0, "now": DARK}, "waiting", "no alert yet; it gets light at 14:30 UTC"),
        ("waiting", {"messages": 0, "now": NOON}, "done", "no alert came"),
        ("waiting", {"messages": 0, "stopped": True}, "done", "stopped; no alert came"),
        ("waiting", {"now": DARK - timedelta(hours=1)}, "running", "its first alerts are there"),
        ("running", {"now": DARK}, "running", "it gets light at 14:30 UTC"),
        ("running", {"now": LIGHT + timedelta(minutes=5)}, "running", "it is day; over 25 min from now if no alert comes"),
        ("running", {"now": DARK, "stopped": True}, "draining", "stopped"),
        ("running", {"grew_at": LIGHT - timedelta(hours=5), "now": LIGHT + timedelta(minutes=29, seconds=30)}, "running", "it is day; over 30 s from now if no alert comes"),
        ("running", {}, "draining", "it is day, and no alert came for 30 min"),
        ("draining", {"lag": None}, "draining", "Kafka does not say how far it is read"),
        ("draining", {"lag": 5}, "draining", "5 messages are not stored yet"),
        ("draining", {"under_way": 5}, "draining", "5 messages are under way"),
        ("draining", {"outbox": 5}, "draining", "5 entries wait in the outbox"),
        ("draining", {"balance": 2}, "draining", "the ledger has 2 messages unaccounted for"),
        ("draining", {"grew_at": LIGHT + timedelta(minutes=40)}, "running", "alerts come in again"),
        ("draining", {"grew_at": LIGHT + timedelta(minutes=40), "stopped": True}, "done", "everything is stored and sent, and the ledger balances"),
        ("draining", {"outbox": 5, "now": LIGHT + timedelta(hours=13)}, "done", "given up after 720 min: 5 entries wait in the outbox"),
        ("done", {}, "done", "finished"),
        ("reported", {}, "reported", "finished"),
        ("reported", {"lag": 4}, "running", "4 messages came after its end"),
    ],
)  # fmt: skip
def test_every_step_has_its_reason(state: str, seen: dict, expected: str, why: str) -> None:
    assert next_step(State(state), replace(SIGHT, **seen), RULES) == (State(expected), why)


def test_the_ledger_is_asked_for_last() -> None:
    assert unfinished(replace(SIGHT, balance=None)) is None
