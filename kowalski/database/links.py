"""Objects of different surveys at the same place on the sky: each pair is one document, found from both ends.

Who may see only one of the two must not learn of the other, so the pairs are a collection of their own, which users can't query.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import BulkWriteError

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, faults_of, translated
from kowalski.database.indexes import Index, ensure_indexes

COLLECTION = "object_links"
INDEXES = [Index("objects", [("objects", 1)])]


@dataclass(frozen=True, slots=True)
class Link:
    """Two objects of different surveys, and how far they are apart (arcsec)."""

    survey: str
    object_id: str
    other_survey: str
    other_id: str
    distance: float

    def document(self) -> dict[str, Any]:
        """As it is stored, whichever of the two came first."""
        ends = sorted([end_of(self.survey, self.object_id), end_of(self.other_survey, self.other_id)])
        return {"_id": " ".join(ends), "objects": ends, "distance_arcsec": self.distance, "at": datetime.now(UTC)}

    @classmethod
    def seen_from(cls, end: str, document: dict[str, Any]) -> "Link":
        """A stored pair, from one of its ends."""
        (other,) = (each for each in document["objects"] if each != end)
        survey, _, object_id = end.partition(":")
        other_survey, _, other_id = other.partition(":")
        return cls(survey, object_id, other_survey, other_id, document["distance_arcsec"])


def end_of(survey: str, object_id: str) -> str:
    """One end of a link; no two surveys' objects have the same."""
    return f"{survey}:{object_id}"


class Links:
    """Reads and writes `COLLECTION`."""

    def __init__(self, database: MongoDatabase):
        self.collection = database[COLLECTION]

    def ensure_indexes(self) -> None:
        """Make the missing indexes."""
        with translated("indexes of links"):
            ensure_indexes(self.collection, INDEXES)

    def add(self, links: Iterable[Link]) -> None:
        """Store links durably; those that are there stay as they are."""
        documents = list({document["_id"]: document for document in (link.document() for link in links)}.values())
        if not documents:
            return
        with translated("add links"):
            try:
                self.collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                if faults_of(error):
                    raise

    def of(self, survey: Survey, object_ids: Iterable[str]) -> list[Link]:
        """The links of some objects, each seen from there."""
        with translated("read links"):
            wanted = [end_of(survey.name, object_id) for object_id in object_ids]
            return links_of(wanted, self.collection.find({"objects": {"$in": wanted}}))


def links_of(ends: Iterable[str], documents: Iterable[dict[str, Any]]) -> list[Link]:
    """Stored pairs, as seen from those of some ends that they have."""
    wanted = set(ends)
    return [Link.seen_from(end, document) for document in documents for end in document["objects"] if end in wanted]
