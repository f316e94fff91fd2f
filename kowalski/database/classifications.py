"""Labels that people gave to alerts, and scores of models that run elsewhere."""

from collections.abc import Mapping
from typing import Any

from pymongo import UpdateOne

from kowalski.alerts.survey import Survey
from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.settings import Database


class Classifications:
    """Writes ``<SURVEY>_alerts_classifications``: ``{_id: candid, objectId, human_labels, ml_scores}``; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.database = self.client[settings.db]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def add(self, survey: Survey, objects: Mapping[int, str], fields: Mapping[int, Mapping[str, float]]) -> None:
        """Labels and scores of alerts are set, each candid's own; ``objects``: candid -> object."""
        operations = [
            UpdateOne({"_id": candid}, {"$set": {**values, survey.object_id: objects[candid]}}, upsert=True)
            for candid, values in fields.items()
        ]
        with translated("store classifications"):
            await self._collection(survey).bulk_write(operations, ordered=False)

    async def remove(self, survey: Survey, fields: Mapping[int, list[str]]) -> None:
        """Labels and scores of alerts are gone."""
        operations = [
            UpdateOne({"_id": candid}, {"$unset": dict.fromkeys(names, "")}) for candid, names in fields.items()
        ]
        with translated("remove classifications"):
            await self._collection(survey).bulk_write(operations, ordered=False)

    def _collection(self, survey: Survey) -> Any:
        return self.database[survey.classifications]
