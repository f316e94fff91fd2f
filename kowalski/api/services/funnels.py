"""How far alerts get in a filter: how many are left after each of its stages."""

from typing import Any

from bson.raw_bson import RawBSONDocument

from kowalski.database.queries import Queries, QueryError
from kowalski.filters.compile import CARRIER, CompiledStages
from kowalski.filters.portions import portions

#: how many alerts there are among documents: each may have become several
NUMBER: list[dict[str, Any]] = [{"$group": {"_id": f"${CARRIER}"}}, {"$count": "n"}]
#: the same of one alert that goes by itself
ANY: list[dict[str, Any]] = [{"$limit": 1}, {"$count": "n"}]


class Funnel:
    """Counts alerts by stage.

    Attributes
    ----------
    alerts : how many were counted
    left : how many of them are left after the first, second, ... stage
    refused : why MongoDB could not count others; empty where it could
    """

    def __init__(self) -> None:
        self.alerts = 0
        self.left: list[int] = []
        self.refused = ""

    async def take(
        self, compiled: CompiledStages, documents: list[RawBSONDocument], queries: Queries, time_ms: int
    ) -> None:
        """Some more alerts are counted."""
        stages, parts = portions(compiled, documents)
        ours = len(stages) - len(compiled.stages)  # the first ones, which are not the user's
        number = NUMBER if compiled.by_batch else ANY
        places = range(1, len(compiled.stages) + 1)
        facets = {f"after{place}": [*stages[: ours + place], *number] for place in places}
        self.left = self.left or [0 for _ in places]
        for part in parts:
            try:
                (told,) = await queries.run([{"$facet": facets}], part, time_ms)
            except QueryError as error:
                self.refused = str(error)
                continue
            self.alerts += len(part)
            for place in places:
                self.left[place - 1] += sum(row["n"] for row in told[f"after{place}"])
