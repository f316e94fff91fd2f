"""The ledger: per night, topic and partition what became of each offset, and what the collections themselves have of it.

``ledger`` holds marks, in blocks of offsets; ``ledger_streams`` one document per partition: how far it is read, how far it goes, and the
offsets that were passed over, with the reason. Every write can be repeated. Alerts and refused packets are not marked: they name the
message that brought them, so what is stored is counted where it is stored.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from bson.int64 import Int64
from pymongo import UpdateOne

from kowalski.alerts.marks import Marks, offsets_of
from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes

#: index of alerts by the message that brought them; of old alerts, which name none, it has nothing
KAFKA_INDEX = Index("kafka_offset", [("kafka.topic", 1), ("kafka.partition", 1), ("kafka.offset", 1)], {"sparse": True})

Partition = tuple[str, int]

#: why offsets were passed over: Kafka had removed them; ``auto.offset.reset`` is latest; Kafka has no message there (transactions and
#: compaction leave such offsets)
EXPIRED, PASSED_OVER, EMPTY = "expired", "passed_over", "empty"


class Skip(NamedTuple):
    """Offsets from ``first`` up to, not including, ``end`` of which nothing was read, and why."""

    first: int
    end: int
    why: str
    night: str


class Stand(NamedTuple):
    """How far a partition is read and stored: ``position`` is the next offset; it goes up to, not including, ``high``."""

    position: int
    high: int


class Ledger:
    """Writes the ledger, and reads its marks."""

    def __init__(self, database: MongoDatabase):
        self._blocks = database["ledger"]
        self._streams = database["ledger_streams"]

    @translated("indexes of ledger")
    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        ensure_indexes(self._blocks, [Index("night_survey", [("night", 1), ("survey", 1)])])
        ensure_indexes(self._streams, [Index("survey", [("survey", 1)])])

    @translated("write the ledger")
    def add(self, marks: Marks) -> None:
        """Keep marks durably."""
        writes = [
            UpdateOne(
                {"_id": f"{place.topic}:{place.partition}:{place.night}:{place.block}"},
                {
                    "$bit": {key: {"or": Int64(word)} for key, word in words.items()},
                    "$setOnInsert": {"survey": marks.survey.name, **place._asdict()},
                },
                upsert=True,
            )
            for place, words in marks.words()
        ]
        if writes:
            self._blocks.bulk_write(writes, ordered=False)

    @translated("write how far partitions are read")
    def stand(self, survey: str, stands: Mapping[Partition, Stand]) -> None:
        """Keep how far partitions are read."""
        at = datetime.now(UTC)
        writes = [
            UpdateOne(
                {"_id": f"{topic}:{partition}"},
                {"$set": {"survey": survey, "topic": topic, "partition": partition, **stand._asdict(), "at": at}},
                upsert=True,
            )
            for (topic, partition), stand in stands.items()
        ]
        if writes:
            self._streams.bulk_write(writes, ordered=False)

    @translated("write what was passed over")
    def skip(self, survey: str, partition: Partition, skips: Iterable[Skip]) -> None:
        """Keep, durably, that offsets of a partition were passed over."""
        topic, number = partition
        about = {"survey": survey, "topic": topic, "partition": number}
        found = {f"skipped.{skip.first}": {**skip._asdict(), "at": datetime.now(UTC)} for skip in skips}
        self._streams.update_one({"_id": f"{topic}:{number}"}, {"$set": {**about, **found}}, upsert=True)

    @translated("read the ledger's nights")
    def nights(self) -> list[str]:
        """The nights (YYYYMMDD) of which anything was read, latest first."""
        return sorted(self._blocks.distinct("night"), reverse=True)

    @translated("read the ledger")
    def marks(self, night: str) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
        """(survey, topic, partition) -> outcome -> the offsets of a night that have it."""
        return self._marks({"night": night})

    @translated("read the ledger")
    def acknowledged(self, survey: str, partition: Partition) -> np.ndarray:
        """All offsets of a partition that are done, in whichever night."""
        topic, number = partition
        found = self._marks({"survey": survey, "topic": topic, "partition": number})
        return found.get((survey, topic, number), {}).get("acknowledged", np.empty(0, np.int64))

    def _marks(self, condition: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
        found: dict[tuple[str, str, int], dict[str, list[np.ndarray]]] = {}
        about = {"survey", "topic", "partition", "night", "block", "_id"}
        for document in self._blocks.find(condition).sort("block", 1):
            outcomes = found.setdefault((document["survey"], document["topic"], document["partition"]), {})
            for outcome in document.keys() - about:
                outcomes.setdefault(outcome, []).append(offsets_of(document["block"], document[outcome]))
        return {
            key: {outcome: np.unique(np.concatenate(parts)) for outcome, parts in outcomes.items()}
            for key, outcomes in found.items()
        }

    @translated("read how far partitions are read")
    def streams(self) -> dict[tuple[str, str, int], tuple[Stand | None, list[Skip]]]:
        """(survey, topic, partition) -> how far it is read, if that is known, and what was passed over."""
        streams = {}
        for document in self._streams.find():
            skips = [Skip(each["first"], each["end"], each["why"], each["night"]) for each in document.get("skipped", {}).values()]  # fmt: skip
            stand = Stand(document["position"], document["high"]) if "position" in document else None
            streams[document["survey"], document["topic"], document["partition"]] = stand, sorted(skips)
        return streams


class Evidence:
    """What a survey's own collections have of the messages of one partition."""

    def __init__(self, database: MongoDatabase, survey: Survey, partition: Partition):
        self._database, self.survey = database, survey
        self.topic, self.partition = partition

    def stored(self) -> np.ndarray:
        """The offsets that brought a stored alert each; read from the index alone.

        Raises
        ------
        DatabaseError : the alerts have no such index
        """
        with translated(
            f"alerts of {self.topic} by offset (if there is no index: ./kowalski.py migrate --run --indexes)"
        ):
            alerts = self._database[self.survey.alerts].find(
                {"kafka.topic": self.topic, "kafka.partition": self.partition}, {"_id": 0, "kafka.offset": 1}
            )
            return _sorted(each["kafka"]["offset"] for each in alerts.hint(KAFKA_INDEX.name))

    @translated("quarantine by offset")
    def refused(self) -> dict[int, tuple[str, bool]]:
        """offset -> reason, and whether it was discarded."""
        fields = {"_id": 0, "offset": 1, "reason": 1, "discarded.at": 1}
        found = self._database["quarantine"].find({"topic": self.topic, "partition": self.partition}, fields)
        return {each["offset"]: (each["reason"], (each.get("discarded") or {}).get("at") is not None) for each in found}

    @translated("outbox by offset")
    def entries(self) -> list[tuple[int, str, str]]:
        """Offset, kind and state of each entry of the outbox."""
        chosen = {"kafka.topic": self.topic, "kafka.partition": self.partition}
        found = self._database["outbox"].find(chosen, {"_id": 0, "kafka.offset": 1, "kind": 1, "state": 1})
        return [(each["kafka"]["offset"], each["kind"], each["state"]) for each in found]


def _sorted(offsets: Iterable[int]) -> np.ndarray:
    return np.unique(np.fromiter(offsets, np.int64))
