"""What came of alerts after they were stored, for who asks by alert: the filters that they passed, and what was sent of them."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from kowalski.database.passes import COLLECTION as PASSES
from kowalski.database.queries import Queries, Reading
from kowalski.gathering import listed

OUTBOX = "outbox"
#: kinds of entries that say that an alert passed a filter
PASSING = ("candidate", "result")
#: fields of an entry that tell what it is and what became of it
ENTRY = (
    "kind", "lane", "tells", "survey", "candid", "objectId", "jd", "filter_id", "group_id", "fid", "passed_at", "annotations", "permissions", "surveys", "state",
    "attempts", "next_attempt_at", "delivered_at", "error.message", "error.status", "passed.filter_id", "passed.group_id", "passed.fid",
    "passed.annotations",
)  # fmt: skip
#: ms that such a look may take
READING = Reading(max_time_ms=5000, comment="kowalski")

Document = dict[str, Any]


class Told:
    """Reads ``outbox`` and ``passes`` by alert."""

    def __init__(self, queries: Queries):
        self._queries = queries

    async def entries(self, survey: str, candids: Sequence[int]) -> list[Document]:
        """All entries of the outbox of some alerts; by the beginnings of their keys, so that no index is needed for it."""
        if not candids:
            return []
        keys = [re.compile(f"^{re.escape(f'{survey}:{candid}:')}") for candid in candids]
        return await self._read(OUTBOX, {"_id": {"$in": keys}}, fields=ENTRY)

    async def passes(self, survey: str, candids: Sequence[int]) -> list[Document]:
        """The passes of some alerts, where tables are kept of these."""
        if not candids:
            return []
        return await self._read(PASSES, {"survey": survey, "candid": {"$in": list(candids)}})

    async def newest_passes(
        self, number: int, groups: Collection[int] | None = None
    ) -> tuple[list[Document], list[Document]]:
        """The entries and the passes that say that filters, of some groups or of all, were passed last; so many of each at most."""
        of_groups: Document = {} if groups is None else {"group_id": {"$in": sorted(groups)}}
        last: list[tuple[str, Any]] = [("passed_at", -1)]
        return (
            await self._read(OUTBOX, of_groups | {"kind": {"$in": PASSING}}, fields=ENTRY, sort=last, limit=number),
            await self._read(PASSES, of_groups, sort=last, limit=number),
        )

    async def _read(
        self, collection: str, condition: Document, fields: Iterable[str] = (), **how: Any
    ) -> list[Document]:
        projection = dict.fromkeys(fields, 1) or None
        reading = Reading(READING.max_time_ms, READING.comment, projection=projection, **how)
        return await listed(self._queries.find(collection, condition, reading))
