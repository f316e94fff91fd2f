"""A night's books, from what is really in the collections."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from kowalski.alert_broker_lsst import SURVEY as LSST
from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.decode import Packet
from kowalski.alerts.marks import Marks, night_of
from kowalski.alerts.survey import Survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.ledger import EMPTY, EXPIRED, Ledger, Skip, Stand
from kowalski.database.quarantine import Quarantine
from kowalski.errors import DatabaseError, StreamError
from kowalski.night.dates import night_from
from kowalski.night.ledger import Account, books_of, due_of, ranges_of

TOPIC = "ztf_20261126_programid1"
PARTITION = (TOPIC, 0)


class Night:
    """A night that a test makes up, message by message."""

    def __init__(self, database: MongoDatabase, survey: Survey = SURVEY, topic: str = TOPIC):
        self.database, self.survey, self.topic = database, survey, topic
        self.ledger = Ledger(database)
        self.ledger.ensure_indexes()
        Alerts(database, survey).ensure_indexes()
        Quarantine(database, 1).ensure_indexes()

    def mark(self, outcome: str, *offsets: int, day: int = 26) -> None:
        marks = Marks(self.survey)
        for offset in offsets:
            marks.add(outcome, Packet(b"", self.topic, 0, offset, datetime(2026, 11, day, 23, tzinfo=UTC)))
        self.ledger.add(marks)

    def store(self, *offsets: int) -> None:
        self.database[self.survey.alerts].insert_many(
            {"candid": 1000 + offset, "kafka": self._from(offset)} for offset in offsets
        )

    def refuse(self, offset: int, reason: str, **fields: Any) -> None:
        self.database["quarantine"].insert_one(
            {"_id": f"{self.topic}:0:{offset}", "topic": self.topic, "partition": 0, "offset": offset, "reason": reason, **fields}
        )  # fmt: skip

    def owe(self, offset: int, filter_id: int, state: str, kind: str = "candidate") -> None:
        self.database["outbox"].insert_one(
            {"_id": f"{offset}:{filter_id}:{kind}", "kind": kind, "state": state, "kafka": self._from(offset)}
        )

    def account(self, night: str = "20261126") -> Account:
        [account] = books_of(night, self.database, {}).accounts
        return account

    def _from(self, offset: int) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "partition": 0,
            "offset": Int64(offset),
            "timestamp": datetime(2026, 11, 26, tzinfo=UTC),
        }


@pytest.fixture
def night(mongo: MongoDatabase) -> Night:
    return Night(mongo)


def test_every_message_is_found_again_in_one_place(night: Night) -> None:
    night.mark("acknowledged", *range(100, 120))
    night.store(*range(100, 110))
    night.mark("known", *range(110, 114))
    for offset, reason in ((114, "truncated"), (115, "truncated"), (116, "failed")):
        night.refuse(offset, reason)
    night.refuse(117, "empty", discarded={"at": datetime.now(UTC), "because": "noise"})
    night.store(118)
    night.refuse(118, "failed")  # and replayed since
    night.mark("known", 119)
    night.mark("passed", 100, 101, 119)
    night.mark("owed", 100, 101)
    night.mark("withdrawn", 102)
    night.owe(100, 1, "delivered")
    night.owe(100, 2, "pending")
    night.owe(101, 1, "delivered")
    night.owe(101, 1, "pending", kind="withdrawal")
    night.owe(103, 0, "delivered", kind="photometry")
    night.ledger.stand("ZTF", {PARTITION: Stand(120, 125)})
    account = night.account()
    assert (account.received, account.stored, account.known, account.decoded) == (20, 11, 5, 17)
    assert account.quarantined == {"truncated": 2, "failed": 1, "empty": 1}
    assert (account.discarded, account.passed, account.filtered, account.withdrawn) == (1, 2, 8, 2)
    assert account.candidates == {"delivered": 2, "pending": 1}
    assert (account.unread, account.gaps, account.missing, account.unposted, account.balance) == (5, [], [], [], 0)


def test_what_is_found_nowhere_is_missing(night: Night) -> None:
    """A lost alert, a message done with that nobody marked so, a candidate that is not in the outbox."""
    night.mark("acknowledged", *range(10), 12, 13)
    night.store(0, 1, 2, 5, 6, 7, 8, 9, 12, 13)
    night.mark("passed", 0, 1)
    night.mark("owed", 0, 1)
    night.owe(0, 1, "delivered")
    night.ledger.stand("ZTF", {PARTITION: Stand(16, 16)})
    account = night.account()
    assert account.missing == [(3, 4), (10, 11), (14, 15)]
    assert account.unposted == [(1, 1)]
    books = books_of("20261126", night.database, {})
    assert account.balance == books.balance == books.as_dict()["balance"] == 7


def test_gaps_are_gaps_until_a_replay_has_filled_them(night: Night) -> None:
    night.mark("acknowledged", 50, 51, 60, 62)
    night.store(50, 51, 60, 62)
    skips = [Skip(40, 50, EXPIRED, "20261126"), Skip(52, 60, EXPIRED, "20261126"), Skip(61, 62, EMPTY, "20261126")]
    for _ in range(2):
        night.ledger.skip("ZTF", PARTITION, skips)
    account = night.account()
    assert [(gap["first"], gap["last"], gap["messages"], gap["why"]) for gap in account.gaps] == [
        (40, 49, 10, "expired"),
        (52, 59, 8, "expired"),
    ]
    assert (account.received, account.balance) == (4, 0)
    night.mark("acknowledged", *range(52, 60))
    night.store(*range(52, 60))
    account = night.account()
    assert [(gap["first"], gap["last"]) for gap in account.gaps] == [(40, 49)]
    assert (account.received, account.balance) == (12, 0)


def test_a_night_of_which_everything_had_expired_is_a_gap(night: Night) -> None:
    night.ledger.skip("ZTF", PARTITION, [Skip(0, 7, EXPIRED, "20261126")])
    account = night.account()
    assert (account.received, account.balance, account.gaps[0]["messages"]) == (0, 0, 7)


def test_a_topic_of_all_nights_has_one_account_for_each(mongo: MongoDatabase) -> None:
    """The messages around a night's are other nights'; what lies between is missing all the same."""
    night = Night(mongo, LSST, "lsst-alerts")
    night.mark("acknowledged", 0, 1, 2, 4)
    night.mark("acknowledged", 3, 5, 6, 8, day=27)
    night.store(0, 1, 2, 3, 4, 5, 6, 8)
    night.ledger.stand("LSST", {("lsst-alerts", 0): Stand(9, 12)})
    first, second = night.account(), night.account("20261127")
    assert (first.received, first.missing, first.unread) == (4, [], 0)
    assert (second.received, second.missing, second.unread) == (5, [(7, 7)], 3)
    assert night.ledger.nights() == ["20261127", "20261126"]


def test_quarantine_is_counted_without_reading_its_packets(night: Night) -> None:
    night.refuse(5, "truncated")
    asked = {"topic": TOPIC, "partition": 0}
    fields = {"_id": 0, "offset": 1, "reason": 1, "discarded.at": 1}
    plan = night.database["quarantine"].find(asked, fields).explain()
    assert plan["executionStats"]["totalDocsExamined"] == 0
    assert plan["executionStats"]["nReturned"] == 1


def test_without_its_index_the_ledger_says_what_to_do(night: Night) -> None:
    night.mark("acknowledged", 1)
    night.database["ZTF_alerts"].drop_index("kafka_offset")
    with pytest.raises(DatabaseError, match="migrate --run --indexes"):
        night.account()


@given(st.lists(st.lists(st.integers(0, 20_000), max_size=20), max_size=4))
def test_marks_are_sets(parts: list[list[int]]) -> None:
    """Bits of several writes, each repeated, or-ed as MongoDB does it, are the set of all offsets."""
    from kowalski.alerts.marks import offsets_of

    kept: dict[int, dict[str, int]] = {}
    for offsets in [*parts, *parts]:
        marks = Marks(SURVEY)
        for offset in offsets:
            marks.add("known", Packet(b"", TOPIC, 0, offset))
        for place, words in marks.words():
            block = kept.setdefault(place.block, {})
            for key, word in words.items():
                number = key.removeprefix("known.")
                block[number] = block.get(number, 0) | word
    found = [offset for block, words in sorted(kept.items()) for offset in offsets_of(block, words)]
    assert found == sorted({offset for offsets in parts for offset in offsets})


def test_all_bits_come_back_from_mongodb(night: Night) -> None:
    """The last bit of a word is its sign."""
    offsets = [0, 62, 63, 64, 127, 4095, 4096, 4096 + 63, 10_000_000_063]
    for offset in offsets:
        night.mark("acknowledged", offset)
    night.mark("acknowledged", *offsets)
    assert night.ledger.acknowledged("ZTF", PARTITION).tolist() == offsets


def test_files_have_no_place_in_the_ledger() -> None:
    marks = Marks(SURVEY)
    marks.add("known", Packet(b"", "dir:night.avro", 0, 5))
    assert not marks
    assert list(marks.words()) == []


@given(st.sets(st.integers(0, 60)))
def test_ranges(offsets: set[int]) -> None:
    ranges = ranges_of(np.array(sorted(offsets), np.int64))
    assert {offset for first, last in ranges for offset in range(first, last + 1)} == offsets
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))


def test_nothing_read_owes_nothing() -> None:
    nothing = np.empty(0, np.int64)
    assert due_of(nothing, nothing, [], Stand(9, 9)).size == 0


def test_nights() -> None:
    midnight = datetime(2026, 11, 27, 0, 1, tzinfo=UTC)
    assert night_of(SURVEY, Packet(b"", TOPIC, 0, 0, midnight)) == "20261126"
    assert night_of(LSST, Packet(b"", "lsst-alerts", 0, 0, midnight)) == "20261126", "of the evening at its site"
    assert night_from("2026-11-26") == night_from("20261126") == date(2026, 11, 26)
    with pytest.raises(StreamError, match="yesterday is not a night: give YYYYMMDD"):
        night_from("yesterday")
