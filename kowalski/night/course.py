"""The course of a survey's night: what is seen of it decides its next state. No step but those written here, and none without a reason.

    waiting -> running -> draining -> done -> reported

A night that gets alerts after its end goes back to running, so that these are not left lying.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a night is."""

    #: no alert of it is there yet
    WAITING = "waiting"
    #: alerts come in
    RUNNING = "running"
    #: it is over; what came in is being finished
    DRAINING = "draining"
    #: all of it is finished; tables are made and programs stopped
    DONE = "done"
    #: its report is written
    REPORTED = "reported"


#: states in which a survey's broker and dask cluster are needed
AT_WORK = (State.RUNNING, State.DRAINING)


@dataclass(frozen=True)
class Sight:
    """What is seen of a night at one moment.

    Attributes
    ----------
    begins, ends : when it gets dark and light at the site
    closes : the noon with which the night's date ends
    messages : how many Kafka has got of the night so far
    grew_at : when that number was last found to have grown
    lag : messages whose batches are not acknowledged and committed yet; None: that can't be known now
    under_way : messages that the brokers have in hand
    outbox : what waits to be sent, of this night
    balance : of the night's ledger; None where it was not made up, as nothing else is finished
    stopped : whether an operator said that it is over
    drained_since : since when it has been draining
    """

    now: datetime
    begins: datetime
    ends: datetime
    closes: datetime
    messages: int
    grew_at: datetime
    lag: int | None = None
    under_way: int = 0
    outbox: int = 0
    balance: int | None = None
    stopped: bool = False
    drained_since: datetime | None = None


@dataclass(frozen=True)
class Rules:
    """How long is waited.

    Attributes
    ----------
    quiet : without a new message, by day, before a night is over
    longest_drain : after which a night is done though something of it can't be finished
    """

    quiet: timedelta
    longest_drain: timedelta


class Step(NamedTuple):
    """The state to be in now, and why: what led there, or what is waited for."""

    state: State
    why: str


def next_step(state: State, sight: Sight, rules: Rules) -> Step:
    """The state after one look; done is left for reported by whoever writes the report."""
    if state is State.WAITING:
        return _waiting(sight)
    if state is State.RUNNING:
        return _running(sight, rules)
    if state is State.DRAINING:
        return _draining(sight, rules)
    if state is State.REPORTED and sight.lag:
        return Step(State.RUNNING, f"{sight.lag} messages came after its end")
    return Step(state, "finished")


def unfinished(sight: Sight) -> str | None:
    """What of a night has to be finished before its ledger can be made up; None: nothing."""
    if sight.lag is None:
        return "Kafka does not say how far it is read"
    if sight.lag:
        return f"{sight.lag} messages are not stored yet"
    if sight.under_way:
        return f"{sight.under_way} messages are under way"
    if sight.outbox:
        return f"{sight.outbox} entries wait in the outbox"
    return None


def _waiting(sight: Sight) -> Step:
    if sight.messages:
        return Step(State.RUNNING, "its first alerts are there")
    if sight.stopped:
        return Step(State.DONE, "stopped; no alert came")
    if sight.now >= sight.closes:
        return Step(State.DONE, "no alert came")
    if sight.now < sight.begins:
        return Step(State.WAITING, f"it gets dark at {sight.begins:%H:%M} UTC")
    return Step(State.WAITING, f"no alert yet; it gets light at {sight.ends:%H:%M} UTC")


def _running(sight: Sight, rules: Rules) -> Step:
    if sight.stopped:
        return Step(State.DRAINING, "stopped")
    if sight.now < sight.ends:
        return Step(State.RUNNING, f"it gets light at {sight.ends:%H:%M} UTC")
    silent = sight.now - max(sight.grew_at, sight.ends)
    if silent < rules.quiet:
        return Step(State.RUNNING, f"it is day; over {_minutes(rules.quiet - silent)} from now if no alert comes")
    return Step(State.DRAINING, f"it is day, and no alert came for {_minutes(rules.quiet)}")


def _draining(sight: Sight, rules: Rules) -> Step:
    if not sight.stopped and sight.drained_since and sight.grew_at > sight.drained_since:
        return Step(State.RUNNING, "alerts come in again")
    waits = unfinished(sight)
    if waits is None and sight.balance == 0:
        return Step(State.DONE, "everything is stored and sent, and the ledger balances")
    waits = waits or f"the ledger has {sight.balance} messages unaccounted for"
    if sight.drained_since and sight.now - sight.drained_since > rules.longest_drain:
        return Step(State.DONE, f"given up after {_minutes(rules.longest_drain)}: {waits}")
    return Step(State.DRAINING, waits)


def _minutes(span: timedelta) -> str:
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    return f"{minutes} min" if minutes else f"{seconds} s"
