"""Several pipelines in one aggregation: the alerts go to MongoDB once for all of them, a sixth of the CPU of one aggregation each."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

from kowalski.database.filters import Filters
from kowalski.filters.language import Stage
from kowalski.filters.portions import Batch, chunks

Row = dict[str, Any]

#: pipelines of one aggregation
FACETS = 100


def run_together(filters: Filters, pipelines: Sequence[list[Stage]], batch: Batch, max_time_ms: int) -> list[list[Row]]:
    """The rows of each pipeline, over all of the alerts.

    Raises
    ------
    DatabaseError : one of them fails, or all together take longer than they may, or give more than 16 MiB
    """
    deadline = monotonic() + max_time_ms / 1000
    rows: list[list[Row]] = [[] for _ in pipelines]
    for chunk in chunks(batch):
        for first in range(0, len(pipelines), FACETS):
            facets = {str(place): stages for place, stages in enumerate(pipelines[first : first + FACETS], first)}
            left = max(1, int(1000 * (deadline - monotonic())))
            (found,) = filters.run([{"$facet": facets}], chunk, left)
            for place, own in found.items():
                rows[int(place)] += own
    return rows
