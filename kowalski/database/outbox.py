"""The outbox: what is to be sent, once each, written with the alert that causes it and drained by the poster.

One document is one thing to send. Its key is (survey, candid, filter_id), so that a replayed packet adds nothing, and
``passed_at`` is fixed when it is made, so that posting it again carries the same key.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import bson
import numpy as np
from bson.codec_options import CodecOptions
from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from kowalski.alerts.times import jd_of
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.errors import TooLarge

#: when an entry never tried is due: long ago, whatever the clocks of broker and poster say
AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)

#: entries of an object are sent in order within a lane, whatever becomes of those in others
SKYPORTAL, FOLLOW_UP, KAFKA = "skyportal", "followup", "kafka"

#: what every new entry starts with
FRESH = {
    "lane": SKYPORTAL,
    "state": "pending",
    "attempts": 0,
    "stalled": 0,  # attempts in a row that got nothing done
    "next_attempt_at": AT_ONCE,
    "error": None,
    "delivered_at": None,
}

#: alerts younger than this many days are tonight's, and go first
TONIGHT = 1.0

#: bytes of an entry that MongoDB takes, with room for what `FRESH` adds
LARGEST = 16 * 1024 * 1024 - 1024

PENDING = {"state": "pending"}
OF_TARGET = {"_id": 0, "survey": 1, "objectId": 1, "lane": 1}
#: what an entry says of the alert and the filter that caused it, and what follows from it says too
CAUSE = ("survey", "candid", "objectId", "jd", "passed_at", "kafka", "filter_id", "group_id", "fid", "filter_state")
STATES = ("pending", "delivered", "failed", "expired")

Entry = dict[str, Any]


class Target(NamedTuple):
    """An object of a survey, in a lane: what the outbox keeps in order."""

    survey: str
    objectId: str
    lane: str = SKYPORTAL


def candidate_id(survey: str, candid: int, filter_id: int) -> str:
    """The key of the candidate that an alert is for a filter."""
    return f"{survey}:{candid}:{filter_id}"


def follow_up_id(survey: str, candid: int, filter_id: int) -> str:
    """The key of the follow-up request that an alert is for a filter."""
    return f"{survey}:{candid}:{filter_id}:followup"


def result_id(survey: str, candid: int, filter_id: int) -> str:
    """The key of what Kafka is told of an alert that passed a filter."""
    return f"{survey}:{candid}:{filter_id}:result"


def extragalactic_id(survey: str, candid: int) -> str:
    """The key of what Kafka is told of an alert that may be of an extragalactic transient."""
    return f"{survey}:{candid}:extragalactic"


def fit_id(survey: str, candid: int) -> str:
    """The key of what Kafka is told of the fit that an alert has asked for."""
    return f"{survey}:{candid}:fit"


def photometry_id(survey: str, candid: int) -> str:
    """The key of an alert's photometry for an object that SkyPortal knows."""
    return f"{survey}:{candid}:photometry"


def withdrawal_id(of: str) -> str:
    """The key of what is told of the withdrawal of an alert that another entry tells of."""
    return f"{of}:withdrawal"


def _of_pending(name: str, *keys: str) -> Index:
    return Index(name, [(key, 1) for key in keys], {"partialFilterExpression": PENDING})


class Outbox:
    """The collection ``outbox`` and everything that is done with it."""

    #: The partial ones hold only what is still to be done, so that looking for work stays cheap however much was
    #: delivered; ``state`` leads them since a covered query must find its predicate in the index.
    INDEXES = [
        _of_pending("pending_lane_jd", "state", "lane", "jd", "candid", "survey", "objectId"),
        _of_pending("pending_object", "survey", "objectId", "jd", "candid"),
        _of_pending("pending_lane_next_attempt", "state", "lane", "next_attempt_at", "survey", "objectId"),
        Index("state_delivered", [("state", 1), ("delivered_at", -1)]),
        Index("kafka_offset", [("kafka.topic", 1), ("kafka.partition", 1)], {"sparse": True}),
        _of_pending("pending_lane_passed", "state", "lane", "passed_at"),
        Index("group_passed", [("group_id", 1), ("passed_at", -1)]),
        Index("kind_passed", [("kind", 1), ("passed_at", -1)]),
    ]

    def __init__(self, db: MongoDatabase):
        self._entries = db.get_collection("outbox", codec_options=CodecOptions(tz_aware=True))
        self._in_passing = self._entries.with_options(write_concern=WriteConcern(w=1, j=False))

    @translated("outbox: indexes")
    def ensure_indexes(self) -> None:
        """Make the indexes that are missing."""
        ensure_indexes(self._entries, self.INDEXES)

    def add(self, entries: Sequence[Mapping[str, Any]]) -> int:
        """Store the entries that are not there yet and return how many; what is there already stays as it is.

        An entry needs ``_id``, ``kind``, ``survey``, ``candid``, ``objectId``, ``jd``, ``passed_at`` and what its kind
        needs; state and progress are filled in.

        Raises
        ------
        TooLarge : an entry is; the others are stored
        """
        try:
            return self._insert(entries)
        except TooLarge:  # all that came in the same message were refused with it
            self._insert([entry for entry in entries if len(bson.encode(entry)) <= LARGEST])
            raise

    @translated("outbox: add")
    def _insert(self, entries: Sequence[Mapping[str, Any]]) -> int:
        if not entries:
            return 0
        fresh = [{**FRESH, "done": [], **entry} for entry in entries]
        try:
            return len(self._entries.insert_many(fresh, ordered=False).inserted_ids)
        except BulkWriteError as error:
            if faults_of(error):
                raise
            return int(error.details["nInserted"])

    @translated("outbox: look for work")
    def objects_due(self, now: datetime, limit: int, lanes: Sequence[str] = (SKYPORTAL, FOLLOW_UP)) -> list[Target]:
        """At most ``limit`` objects with something to send now: tonight's first, within that the oldest alert first.

        An object with an entry that waits for its next attempt is left out, so that its entries stay in order.
        """
        resting = self._resting(now, lanes)
        tonight = jd_of(now) - TONIGHT
        due: dict[Target, None] = {}
        for window in ({"$gte": tonight}, {"$lt": tonight}):
            with self._entries.find(
                {**PENDING, "lane": {"$in": list(lanes)}, "jd": window}, OF_TARGET, sort=[("jd", 1), ("candid", 1)]
            ).hint("pending_lane_jd") as pending:
                for entry in pending:
                    target = Target(**entry)
                    if target in resting:
                        continue
                    due[target] = None
                    if len(due) >= limit:
                        return list(due)
        return list(due)

    def _resting(self, now: datetime, lanes: Sequence[str]) -> set[Target]:
        later = {**PENDING, "lane": {"$in": list(lanes)}, "next_attempt_at": {"$gt": now}}
        waiting = self._entries.find(later, OF_TARGET).hint("pending_lane_next_attempt")
        return {Target(**entry) for entry in waiting}

    @translated("outbox: read")
    def pending_of(self, target: Target) -> list[Entry]:
        """What is still to be sent for an object, oldest alert first."""
        return list(
            self._entries.find({**PENDING, **target._asdict()}, sort=[("jd", 1), ("candid", 1)]).hint("pending_object")
        )

    @translated("outbox: read a lane")
    def pending_in(self, lane: str, now: datetime, limit: int) -> list[Entry]:
        """At most so many entries of a lane that are due now, oldest alert first."""
        due = {**PENDING, "lane": lane, "next_attempt_at": {"$lte": now}}
        return list(self._entries.find(due, sort=[("jd", 1), ("candid", 1)], limit=limit).hint("pending_lane_jd"))

    @translated("outbox: look up alerts")
    def of_alerts(self, survey: str, candids: Iterable[int]) -> list[Entry]:
        """All entries of some alerts, whatever became of them."""
        return [
            entry
            for candid in candids
            for entry in self._entries.find({"_id": {"$regex": f"^{re.escape(survey)}:{candid}:"}})
        ]

    @translated("outbox: look up steps")
    def with_step(self, ids: Iterable[str], step: str) -> set[str]:
        """Those of these entries for which a step is done."""
        return {entry["_id"] for entry in self._entries.find({"_id": {"$in": list(ids)}, "done": step}, {"_id": 1})}

    @translated("outbox: step")
    def step_done(self, ids: Iterable[str], step: str, durable: bool = False) -> None:
        """Remember that a step of these entries is done, so that it isn't taken again.

        Marks of steps that may be repeated are not waited for until they are on disk: that would take most of the time.
        """
        collection = self._entries if durable else self._in_passing
        collection.update_many({"_id": {"$in": list(ids)}}, {"$addToSet": {"done": step}})

    @translated("outbox: deliver")
    def deliver(self, ids: Iterable[str]) -> None:
        """Close these entries: all that they asked for was sent."""
        changes = {"$set": {"state": "delivered", "error": None}, "$currentDate": {"delivered_at": True}}
        self._attempted(ids, changes)

    @translated("outbox: expire")
    def expire(self, ids: Iterable[str], error: Mapping[str, Any]) -> None:
        """Close these entries unsent: what they ask for has lost its sense, for the reason given."""
        self._attempted(ids, {"$set": {"state": "expired", "error": dict(error)}})

    @translated("outbox: note")
    def note(self, ids: Iterable[str], **fields: Any) -> None:
        """Keep what came of these entries with them, durably."""
        self._entries.update_many({"_id": {"$in": list(ids)}}, {"$set": fields})

    @translated("outbox: claim")
    def claim(self, key: str, seen: Mapping[str, Any], **fields: Any) -> bool:
        """Keep something with a pending entry, durably, if it still is as it was ``seen``; whether it is."""
        return self._entries.update_one({"_id": key, **PENDING, **seen}, {"$set": fields}).matched_count == 1

    @translated("outbox: fail")
    def fail(self, ids: Iterable[str], error: Mapping[str, Any]) -> None:
        """Close these entries with the answer that refused them, kept for whoever looks."""
        self._attempted(ids, {"$set": {"state": "failed", "error": dict(error)}})

    @translated("outbox: postpone")
    def postpone(self, ids: Iterable[str], error: Mapping[str, Any], wait_s: float, stalled: int = 1) -> None:
        """Keep these entries for another attempt, not before so many seconds, after so many in a row that got nothing done.

        The time is told by the server's clock: one that is wrong for a moment elsewhere must not make them wait for days.
        """
        due = {"$add": ["$$NOW", round(wait_s * 1000)]}
        changes = {"error": {"$literal": dict(error)}, "stalled": stalled, "next_attempt_at": due}
        attempts = {"$add": ["$attempts", 1]}
        self._entries.update_many({"_id": {"$in": list(ids)}, **PENDING}, [{"$set": {**changes, "attempts": attempts}}])

    def _attempted(self, ids: Iterable[str], changes: Mapping[str, Any]) -> None:
        self._entries.update_many({"_id": {"$in": list(ids)}, **PENDING}, {**changes, "$inc": {"attempts": 1}})

    @translated("outbox: count")
    def counts(self) -> dict[str, int]:
        """How many entries are in each of the `STATES`."""
        return {state: self._entries.count_documents({"state": state}) for state in STATES}

    @translated("outbox: count what waits of a night")
    def waiting_of(self, topics: Sequence[str]) -> int:
        """How many entries that alerts of these topics caused wait to be sent."""
        return self._entries.count_documents({"kafka.topic": {"$in": list(topics)}, **PENDING})

    @translated("outbox: count by lane")
    def counts_by_lane(self) -> dict[str, dict[str, int]]:
        """lane -> state -> how many entries."""
        counts: dict[str, dict[str, int]] = {lane: {} for lane in (SKYPORTAL, FOLLOW_UP, KAFKA)}
        group = {"$group": {"_id": {"lane": "$lane", "state": "$state"}, "n": {"$sum": 1}}}
        for found in self._entries.aggregate([group]):
            counts.setdefault(found["_id"]["lane"], {})[found["_id"]["state"]] = found["n"]
        return counts

    @translated("outbox: list")
    def latest(self, state: str, limit: int) -> list[Entry]:
        """The latest entries in a state."""
        return list(self._entries.find({"state": state}, sort=[("jd", -1), ("candid", -1)], limit=limit))

    @translated("outbox: retry")
    def retry(self, ids: Sequence[str] | None = None) -> int:
        """Send again what was refused, from the step that failed on: these entries, or all; how many there are."""
        chosen = {"state": "failed"} if ids is None else {"state": "failed", "_id": {"$in": list(ids)}}
        change = {"$set": {"state": "pending", "next_attempt_at": AT_ONCE, "stalled": 0}}
        return self._entries.update_many(chosen, change).modified_count

    @translated("outbox: watch")
    def new_entries(self, stop: threading.Event) -> Iterator[Entry]:
        """Entries as they are stored, by the majority, until told to stop; needs a replica set."""
        with self._entries.watch([{"$match": {"operationType": "insert"}}], max_await_time_ms=200) as changes:
            while not stop.is_set():
                if change := changes.try_next():
                    yield change["fullDocument"]

    @translated("outbox: count what is left")
    def backlog(self) -> dict[str, int]:
        """How many entries are pending and failed: what `counts` says, but cheap however much was delivered."""
        return {state: self._entries.count_documents({"state": state}) for state in ("pending", "failed")}

    @translated("outbox: latencies")
    def latency_seconds(
        self, kind: str = "candidate", last: int = 100_000, since: datetime = AT_ONCE
    ) -> dict[str, float] | None:
        """Seconds from Kafka's time stamp to delivery, p50 and p99 of the last entries delivered; None without any."""
        delivered = self._entries.find(
            {"state": "delivered", "kind": kind, "kafka.timestamp": {"$type": "date"}, "delivered_at": {"$gte": since}},
            {"_id": 0, "delivered_at": 1, "kafka.timestamp": 1},
            sort=[("delivered_at", -1)],
            limit=last,
        )
        seconds = [(entry["delivered_at"] - entry["kafka"]["timestamp"]).total_seconds() for entry in delivered]
        if not seconds:
            return None
        p50, p99 = np.percentile(seconds, (50, 99))
        return {"p50": float(p50), "p99": float(p99)}
