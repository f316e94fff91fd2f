"""A night's books: what became of every message, by topic and partition, and whether nothing is missing.

Each offset that was read must be found again in just one place: in a stored alert, among the copies of alerts that other messages
brought, or in quarantine. Each stored alert was passed by a filter, by none, or withdrawn before. Each that SkyPortal is to have is in the outbox.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kowalski.alerts.survey import known_surveys
from kowalski.database.client import MongoDatabase
from kowalski.database.ledger import EMPTY, Evidence, Ledger, Skip, Stand

#: reasons of quarantine of packets that could be decoded
AFTER_DECODING = frozenset({"failed", "kills_workers"})
NOTHING = np.empty(0, np.int64)

Ranges = list[tuple[int, int]]
"""First and last offset of each run."""


@dataclass
class Account:
    """What became of the messages of one partition in one night.

    Attributes
    ----------
    received : messages that were read, and are to be found again: stored, known or quarantined
    decoded : those that could be read as alerts
    known : copies of alerts that other messages brought
    quarantined : reason -> how many are in quarantine
    discarded : of these, those whose bytes an operator has removed
    passed, filtered : stored alerts that a filter let through, and that none did
    withdrawn : alerts that their survey took back
    candidates : state in the outbox -> how many candidates for SkyPortal; all of them delivered is ``passed`` by each filter
    unread : messages that Kafka had when the partition was last read, not done yet
    gaps : offsets that were not read, and why
    missing : offsets that were read, but are found nowhere
    unposted : offsets of alerts that SkyPortal is to have, but are not in the outbox
    """

    survey: str
    topic: str
    partition: int
    received: int = 0
    decoded: int = 0
    stored: int = 0
    known: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    discarded: int = 0
    filtered: int = 0
    passed: int = 0
    withdrawn: int = 0
    candidates: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    gaps: list[dict[str, Any]] = field(default_factory=list)
    missing: Ranges = field(default_factory=list)
    unposted: Ranges = field(default_factory=list)

    @property
    def balance(self) -> int:
        """What was received but not found again, and what is owed to SkyPortal but not in the outbox."""
        return sum(last - first + 1 for first, last in (*self.missing, *self.unposted))


@dataclass(frozen=True)
class Books:
    """All accounts of one night."""

    night: str
    accounts: list[Account]

    @property
    def balance(self) -> int:
        """Messages that are unaccounted for."""
        return sum(account.balance for account in self.accounts)

    def total(self) -> dict[str, int]:
        """The accounts' figures together; candidates and quarantined packets by ``name.kind``."""
        total: Counter[str] = Counter()
        for account in self.accounts:
            for name, value in asdict(account).items():
                if isinstance(value, int) and name != "partition":
                    total[name] += value
                elif isinstance(value, dict):
                    total.update({name: sum(value.values()), **{f"{name}.{kind}": n for kind, n in value.items()}})
            total["not_read"] += sum(gap["messages"] for gap in account.gaps)
        return dict(total)

    def as_dict(self) -> dict[str, Any]:
        """The books as JSON has them."""
        accounts = [{**asdict(account), "balance": account.balance} for account in self.accounts]
        return {"night": self.night, "balance": self.balance, "total": self.total(), "accounts": accounts}


def books_of(night: str, database: MongoDatabase, topics: Mapping[str, str]) -> Books:
    """The books of a night (YYYYMMDD), as far as it is read.

    Parameters
    ----------
    topics : ``kafka.topics`` of the settings

    Raises
    ------
    DatabaseError : the collections can't be read, or an index of theirs is missing
    """
    ledger, by_name = Ledger(database), {each.name: each.with_topic(topics.get(each.name)) for each in known_surveys()}
    marks, streams = ledger.marks(night), ledger.streams()
    with_gaps = {key for key, (_, skips) in streams.items() if any(skip.night == night for skip in skips)}
    accounts = []
    for name, topic, partition in sorted(marks.keys() | with_gaps):
        survey = by_name[name]
        found = marks.get((name, topic, partition), {})
        done = found.get("acknowledged", NOTHING)
        stand, skips = streams.get((name, topic, partition), (None, []))
        others = NOTHING
        if survey.night_of(topic) is None:  # messages of other nights lie around this one's
            others = np.setdiff1d(ledger.acknowledged(name, (topic, partition)), done)
            later = others.size and done.size and others[-1] > done[-1]
            stand = None if later else stand
        skips = [skip for skip in skips if skip.night == night]
        account = account_of(found, due_of(done, others, skips, stand), Evidence(database, survey, (topic, partition)))
        account.gaps = list(_gaps(skips, done))
        account.unread = stand.high - stand.position if stand else 0
        accounts.append(account)
    return Books(night, accounts)


def _gaps(skips: Iterable[Skip], done: np.ndarray) -> Iterator[dict[str, Any]]:
    """What was passed over and is still not done: a replay may have read it."""
    for skip in skips:
        if skip.why != EMPTY:
            for first, last in ranges_of(np.setdiff1d(np.arange(skip.first, skip.end), done)):
                yield {"first": first, "last": last, "messages": last - first + 1, "why": skip.why}


def due_of(acknowledged: np.ndarray, others: np.ndarray, skips: list[Skip], stand: Stand | None) -> np.ndarray:
    """The offsets that must be found again: all from the first that was read to the last one done, without what was passed over.

    Parameters
    ----------
    acknowledged : offsets that are done
    others : those of other nights among them
    stand : how far the partition is done, where it holds this night alone
    """
    if not acknowledged.size:
        return NOTHING
    end = max(acknowledged[-1] + 1, stand.position if stand else 0)
    span = np.arange(acknowledged[0], end)
    passed_over = [np.arange(skip.first, skip.end) for skip in skips]
    return np.union1d(acknowledged, np.setdiff1d(span, np.concatenate([others, *passed_over])))


def account_of(marks: Mapping[str, np.ndarray], due: np.ndarray, evidence: Evidence) -> Account:
    """The account of one partition, from its marks and what the collections have."""
    account = Account(evidence.survey.name, evidence.topic, evidence.partition, received=len(due))
    stored = np.intersect1d(evidence.stored(), due)
    known = np.setdiff1d(np.intersect1d(marks.get("known", NOTHING), due), stored)
    refused = evidence.refused()
    quarantined = np.setdiff1d(np.intersect1d(_offsets(refused), due), np.union1d(stored, known))
    account.stored, account.known = len(stored), len(known)
    account.quarantined = dict(Counter(refused[int(offset)][0] for offset in quarantined))
    account.discarded = sum(refused[int(offset)][1] for offset in quarantined)
    account.missing = ranges_of(np.setdiff1d(due, np.concatenate([stored, known, quarantined])))
    account.decoded = len(stored) + len(known) + sum(account.quarantined.get(reason, 0) for reason in AFTER_DECODING)
    entries = evidence.entries()
    candidates = [(offset, state) for offset, kind, state in entries if kind == "candidate"]
    told = _offsets(offset for offset, kind, _ in entries if kind == "withdrawal")
    early = np.intersect1d(marks.get("withdrawn", NOTHING), stored)
    passed = np.intersect1d(marks.get("passed", NOTHING), stored)
    account.passed = len(passed)
    account.filtered = len(np.setdiff1d(stored, np.union1d(passed, early)))
    account.withdrawn = len(np.union1d(early, told))
    account.candidates = dict(Counter(state for _, state in candidates))
    owed = np.intersect1d(marks.get("owed", NOTHING), stored)
    account.unposted = ranges_of(np.setdiff1d(owed, _offsets(offset for offset, _ in candidates)))
    return account


def ranges_of(offsets: np.ndarray) -> Ranges:
    """Ascending offsets as runs."""
    if not offsets.size:
        return []
    breaks = np.flatnonzero(np.diff(offsets) > 1)
    firsts, lasts = offsets[np.r_[0, breaks + 1]], offsets[np.r_[breaks, -1]]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def _offsets(offsets: Iterable[int]) -> np.ndarray:
    return np.unique(np.fromiter(offsets, np.int64))
