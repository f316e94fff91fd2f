"""What filters are fed: enriched alerts, each made once for all that may see and read the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from kowalski.alerts.survey import Survey
from kowalski.filters.companions import Companion
from kowalski.filters.compile import Reads
from kowalski.filters.enrich import enriched
from kowalski.filters.sight import Sight
from kowalski.filters.watching import NOTHING, WATCHED, Watched

Row = dict[str, Any]


class Fed:
    """The alerts of a batch as filters see them, each made when it is first asked for."""

    def __init__(
        self,
        documents: Sequence[Row],
        objects: Mapping[str, Mapping[str, Any]],
        elsewhere: Mapping[str, list[Companion]],
        survey: Survey,
        sight: Sight,
        reads: Reads,
        watched: Watched = NOTHING,
    ):
        self.documents, self.objects, self.elsewhere = documents, objects, elsewhere
        self.survey, self.sight, self.reads = survey, sight, reads
        self.watched = watched
        self._made: dict[int, RawBSONDocument] = {}

    def document(self, place: int) -> RawBSONDocument:
        """The alert at that place of the batch."""
        if place not in self._made:
            document = self.documents[place]
            key = document[self.survey.object_id]
            rows = self.watched.rows(place, self.sight.watchlists if self.reads.wants(WATCHED) else ())
            whole = enriched(document, self.objects[key], self.sight, self.reads, self.elsewhere.get(key, ()), rows)
            self._made[place] = RawBSONDocument(bson.encode(whole))
        return self._made[place]
