"""What the tables are made of, read from the collections; and how far they have got."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from bson.objectid import ObjectId

from kowalski.alerts.survey import Survey
from kowalski.alerts.times import jd_of
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.objects import Objects
from kowalski.database.outbox import candidate_id
from kowalski.database.passes import COLLECTION as PASSES
from kowalski.night.dates import night_of_alert

#: how far tables have got, by survey
COLLECTION = "tabled"
#: documents that are asked for by name at once
CHUNK = 1000
#: topics that are there: by this condition MongoDB reads them from their index, which has no others
NAMED = {"kafka.topic": {"$gt": ""}}
#: what tables have of a pass
PASS = ("candid", "objectId", "jd", "filter_id", "group_id", "fid", "filter_state", "passed_at", "annotations")

Document = dict[str, Any]


class Tabled:
    """Reads one survey's collections for its tables.

    Parameters
    ----------
    cutouts : whether alerts are read with their images
    """

    def __init__(self, database: MongoDatabase, survey: Survey, cutouts: bool = False):
        self.survey = survey
        self._alerts, self._objects = database[survey.alerts], Objects(database, survey)
        self._aux, self._fits, self._outbox = database[survey.aux], database["fits"], database["outbox"]
        self._passes, self._marks = database[PASSES], database[COLLECTION]
        self._fields = None if cutouts else dict.fromkeys(survey.cutouts.values(), 0)

    # a night

    def night_of(self, topic: str | None, jd: float) -> date:
        """The night of an alert."""
        return night_of_alert(self.survey, topic, jd)

    def alerts_of(self, night: date) -> Iterator[Document]:
        """The alerts of a night, one by one: those of its topics, and those of topics that name no night by their jd."""
        with translated("read the alerts of a night"):
            topics = self._alerts.distinct("kafka.topic", NAMED)
            dated = [topic for topic in topics if self.survey.night_of(topic)]
            own = [topic for topic in dated if self.night_of(topic, 0.0) == night]
            if own:
                found = self._alerts.find({"kafka.topic": {"$in": own}}, self._fields, batch_size=CHUNK)
                yield from map(self._named, found)
            noons = [jd_of(noon) for noon in self.survey.noons_around(night)]
            around = {"candidate.jd": {"$gte": noons[0] - 0.1, "$lt": noons[1] + 0.1}, "kafka.topic": {"$nin": dated}}
            for document in self._alerts.find(around, self._fields, batch_size=CHUNK):
                if self.night_of(topic_of(document), document["candidate"]["jd"]) == night:
                    yield self._named(document)

    def _named(self, alert: Document) -> Document:
        """An alert that has ``objectId``, which older versions did not add to the survey's own name."""
        alert.setdefault("objectId", alert.get(self.survey.object_id))
        return alert

    def objects(self, object_ids: Iterable[str]) -> dict[str, Document]:
        """The documents of some objects, with all their points."""
        return self._objects.read(object_ids)

    def passes_of(self, candids: Iterable[int], topics: Iterable[str], jds: tuple[float, float]) -> Iterator[Document]:
        """The passes of some alerts of these topics and between these jds, those of which only the outbox knows included."""
        wanted, seen = set(candids), set[str]()
        with translated("read passes"):
            for chunk in _chunks(wanted):
                for document in self._passes.find({"survey": self.survey.name, "candid": {"$in": chunk}}):
                    seen.add(document["_id"])
                    yield {name: document.get(name) for name in PASS}
            sent = {"kafka.topic": {"$in": list(topics)}, "jd": {"$gte": jds[0], "$lte": jds[1]}}
            kinds = {"survey": self.survey.name, "kind": {"$in": ["candidate", "result"]}}
            for entry in self._outbox.find(sent | kinds):
                key = candidate_id(self.survey.name, entry["candid"], entry["filter_id"])
                if entry["candid"] in wanted and key not in seen:
                    seen.add(key)
                    yield _pass_of(entry)

    def fits_of(self, object_ids: Iterable[str]) -> Iterator[Document]:
        """The fits of some objects' light curves that are made."""
        with translated("read fits"):
            for chunk in _chunks(object_ids):
                names = [f"{self.survey.name}:{object_id}" for object_id in chunk]
                yield from self._fits.find({"_id": {"$in": names}, "made_at": {"$ne": None}})

    # what is stored

    def stored(self, candids: Iterable[int]) -> set[int]:
        """Those of some candids that are alerts; read from the index alone."""
        with translated("look up candids"):
            return {
                document["candid"]
                for chunk in _chunks(candids)
                for document in self._alerts.find({"candid": {"$in": chunk}}, {"_id": 0, "candid": 1})
            }

    def stored_objects(self, object_ids: Iterable[str]) -> set[str]:
        """Those of some objects that have a document."""
        with translated("look up objects"):
            return {
                document["_id"]
                for chunk in _chunks(object_ids)
                for document in self._aux.find({"_id": {"$in": chunk}}, {"_id": 1})
            }

    # what is new

    def new_alerts(self, since: datetime, until: datetime) -> list[ObjectId]:
        """Ids of the alerts that were made into documents in a span of time (UTC), the oldest first."""
        span = {"$gte": ObjectId.from_datetime(since), "$lt": ObjectId.from_datetime(until)}
        with translated("look for new alerts"):
            return [document["_id"] for document in self._alerts.find({"_id": span}, {"_id": 1}).sort("_id", 1)]

    def alerts(self, ids: Sequence[ObjectId]) -> list[Document]:
        """Some alerts."""
        with translated("read new alerts"):
            return [self._named(alert) for alert in self._alerts.find({"_id": {"$in": list(ids)}}, self._fields)]

    def new_passes(self, since: datetime) -> Iterator[tuple[str | None, Document]]:
        """Passes from some time on, each with the topic of its alert."""
        with translated("look for new passes"):
            for document in self._passes.find({"passed_at": {"$gte": since}, "survey": self.survey.name}):
                yield document.get("topic"), {name: document.get(name) for name in PASS}

    def new_fits(self, since: datetime) -> list[Document]:
        """Fits that were made from some time on."""
        with translated("look for new fits"):
            return list(self._fits.find({"survey": self.survey.name, "made_at": {"$gte": since}}))

    def topics(self, candids: Iterable[int]) -> dict[int, str | None]:
        """The topics of some alerts."""
        with translated("look up topics"):
            return {
                document["candid"]: topic_of(document)
                for chunk in _chunks(candids)
                for document in self._alerts.find({"candid": {"$in": chunk}}, {"candid": 1, "kafka.topic": 1})
            }

    # how far tables have got

    @translated("read how far tables are")
    def mark(self) -> datetime | None:
        """Until when (UTC) all that is new is in tables; None: nothing yet."""
        document = self._marks.find_one({"_id": self.survey.name})
        return document["until"].replace(tzinfo=UTC) if document else None

    @translated("write how far tables are")
    def keep_mark(self, until: datetime) -> None:
        """Remember that, durably."""
        self._marks.update_one({"_id": self.survey.name}, {"$set": {"until": until}}, upsert=True)


def topic_of(document: Document) -> str | None:
    """The topic of the message that brought an alert; older versions did not note it."""
    topic = (document.get("kafka") or {}).get("topic")
    return topic if isinstance(topic, str) else None


def _pass_of(entry: Document) -> Document:
    """A pass as the outbox tells of it, to SkyPortal or to Kafka."""
    passed = entry.get("passed")
    told = {**passed, "annotations": json.loads(passed["annotations"])} if passed else entry
    return {name: told.get(name, entry.get(name)) for name in PASS}


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    listed = list(values)
    for first in range(0, len(listed), CHUNK):
        yield listed[first : first + CHUNK]
