"""Nights under way: one document for each night of each survey, with its state, what led there, and what was seen of it; and the reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions
from bson.int64 import Int64
from pymongo import ReturnDocument

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.errors import DatabaseError

#: states that are kept of a night
MOST_STEPS = 200
#: s after which samples disappear
FORGOTTEN_AFTER = 30 * 86400
#: bytes of a report: MongoDB takes documents of 16 MB
LARGEST_REPORT = 15 << 20


@dataclass(frozen=True)
class Night:
    """What is kept of a survey's night (YYYYMMDD).

    Attributes
    ----------
    since : when it came into its state
    why : what it waits for, or what led there
    steps : state, moment and reason of each state that it was in
    messages, grew_at : as `kowalski.night.course.Sight` has them
    stopped : whether an operator said that it is over
    """

    survey: str
    night: str
    state: str
    since: datetime
    why: str
    steps: Sequence[Mapping[str, Any]]
    messages: int
    grew_at: datetime
    stopped: bool

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        times = {"since": self.since.isoformat(), "grew_at": self.grew_at.isoformat()}
        steps = [{**step, "at": step["at"].isoformat()} for step in self.steps]
        return {**self.__dict__, **times, "steps": steps}


class Nights:
    """The collections ``nights``, ``night_samples`` and ``night_reports``. Every write can be repeated."""

    def __init__(self, database: MongoDatabase):
        aware: CodecOptions[Any] = CodecOptions(tz_aware=True)
        self._nights = database.get_collection("nights", codec_options=aware)
        self._samples = database.get_collection("night_samples", codec_options=aware)
        self._reports = database.get_collection("night_reports", codec_options=aware)

    @translated("indexes of nights")
    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        ensure_indexes(self._nights, [Index("state", [("state", 1)]), Index("night", [("night", 1)])])
        at = Index("at", [("at", 1)], {"expireAfterSeconds": FORGOTTEN_AFTER})
        ensure_indexes(self._samples, [Index("night_survey_at", [("night", 1), ("survey", 1), ("at", 1)]), at])

    @translated("begin a night")
    def begin(self, survey: str, night: str, state: str, why: str) -> Night:
        """A survey's night is there, in that state if it is new; the night as it is."""
        now = _now()
        new = {
            "survey": survey,
            "night": night,
            "state": state,
            "since": now,
            "why": why,
            "steps": [{"state": state, "at": now, "why": why}],
            "messages": Int64(0),
            "grew_at": now,
            "stopped": False,
        }
        document = self._nights.find_one_and_update(
            {"_id": f"{survey}:{night}"}, {"$setOnInsert": new}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert document is not None  # it was made if it was not there
        return _night(document)

    @translated("look up a night")
    def of(self, survey: str, night: str) -> Night | None:
        """A survey's night, if it is known."""
        document = self._nights.find_one({"_id": f"{survey}:{night}"})
        return _night(document) if document else None

    @translated("list nights")
    def in_states(self, states: Sequence[str]) -> list[Night]:
        """The nights that are in one of these states, the oldest first."""
        return [_night(each) for each in self._nights.find({"state": {"$in": list(states)}}, sort=[("night", 1), ("survey", 1)])]  # fmt: skip

    @translated("list nights")
    def not_in(self, state: str, since: str) -> list[Night]:
        """The nights that are in another state, and all from a date (YYYYMMDD) on, the oldest first."""
        wanted = {"night": {"$exists": True}, "$or": [{"state": {"$ne": state}}, {"night": {"$gte": since}}]}
        return [_night(each) for each in self._nights.find(wanted, sort=[("night", 1), ("survey", 1)])]

    @translated("list nights")
    def on(self, night: str) -> list[Night]:
        """That night, of every survey that has one."""
        return [_night(each) for each in self._nights.find({"night": night}, sort=[("survey", 1)])]

    @translated("list nights")
    def latest(self, number: int) -> list[Night]:
        """The nights of the last dates, as many of them, the latest first."""
        dates = sorted(self._nights.distinct("night"), reverse=True)[:number]
        found = self._nights.find({"night": {"$in": dates}}, sort=[("night", -1), ("survey", 1)])
        return [_night(each) for each in found]

    @translated("step of a night")
    def step(self, night: Night, state: str, why: str) -> None:
        """A night that is in the state in which it was read is in another one, or has another reason for the same."""
        now = _now()
        change: dict[str, Any] = {"$set": {"why": why}}
        if state != night.state:
            change["$set"] |= {"state": state, "since": now}
            change["$push"] = {"steps": {"$each": [{"state": state, "at": now, "why": why}], "$slice": -MOST_STEPS}}
        self._nights.update_one({"_id": f"{night.survey}:{night.night}", "state": night.state}, change)

    @translated("messages of a night")
    def grown(self, night: Night, messages: int) -> None:
        """So many messages of a night are in Kafka, more than were known."""
        self._nights.update_one(
            {"_id": f"{night.survey}:{night.night}"}, {"$set": {"messages": Int64(messages), "grew_at": _now()}}
        )

    @translated("stop a night")
    def stop(self, survey: str, night: str, stopped: bool = True) -> None:
        """A night is over by an operator's word, or is no longer."""
        self._nights.update_one({"_id": f"{survey}:{night}"}, {"$set": {"stopped": stopped}})

    @translated("samples of a night")
    def sample(self, survey: str, night: str, **figures: int) -> None:
        """Note how much waits now."""
        self._samples.insert_one({"survey": survey, "night": night, "at": _now(), **figures})

    @translated("read the samples of a night")
    def samples(self, night: str) -> list[dict[str, Any]]:
        """What was noted of a night, of all surveys, in order."""
        return list(self._samples.find({"night": night}, {"_id": 0}, sort=[("survey", 1), ("at", 1)]))

    @translated("keep a report")
    def keep_report(self, night: str, page: bytes) -> None:
        """The report of a night, an HTML page, is kept in place of the one before.

        Raises
        ------
        DatabaseError : it is larger than a document may be
        """
        if len(page) > LARGEST_REPORT:
            raise DatabaseError(f"the report of {night} has {len(page)} bytes, {LARGEST_REPORT} are possible")
        self._reports.update_one({"_id": night}, {"$set": {"made_at": _now(), "page": page}}, upsert=True)

    @translated("read a report")
    def report(self, night: str) -> bytes | None:
        """The report of a night, if there is one."""
        document = self._reports.find_one({"_id": night})
        return bytes(document["page"]) if document else None

    @translated("look up what was sent")
    def was_sent(self, night: str, surveys: Sequence[str]) -> bool:
        """Whether the report of a night was sent with these surveys in it."""
        return self._reports.find_one({"_id": night, "sent": sorted(surveys)}, {"_id": 1}) is not None

    @translated("note what was sent")
    def note_sent(self, night: str, surveys: Sequence[str]) -> None:
        """The report of a night was sent with these surveys in it."""
        self._reports.update_one({"_id": night}, {"$set": {"sent": sorted(surveys)}})

    @translated("whether a survey rests")
    def rest(self, survey: str, resting: bool) -> None:
        """A survey's programs are stopped until its next night, or are wanted."""
        self._nights.update_one({"_id": f"crew:{survey}"}, {"$set": {"resting": resting}}, upsert=True)

    @translated("which surveys rest")
    def resting(self) -> set[str]:
        """The surveys whose programs are stopped until their next night."""
        found = self._nights.find({"_id": {"$regex": "^crew:"}, "resting": True})
        return {str(each["_id"]).partition(":")[2] for each in found}


def _night(document: Mapping[str, Any]) -> Night:
    names = ("survey", "night", "state", "since", "why", "steps", "messages", "grew_at", "stopped")
    return Night(**{name: document[name] for name in names})


def _now() -> datetime:
    """Now, to the millisecond, as MongoDB keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
