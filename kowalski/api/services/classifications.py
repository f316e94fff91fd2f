"""Labels and scores that users add to alerts that they see."""

from dataclasses import replace
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.api.errors import BadRequest
from kowalski.api.models.classifications import Labels, Names
from kowalski.api.models.cutouts import find_survey
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.database.classifications import Classifications


class ClassificationService:
    """Adds, removes and shows classifications."""

    def __init__(self, stored: Classifications):
        self.stored = stored

    async def add(self, name: str, labels: Labels, reads: Reads) -> None:
        """Labels and scores are added to alerts, of which the user sees all."""
        survey, fields = find_survey(name), _fields(labels)
        found = await self._objects(survey, list(fields), reads)
        if found.keys() != fields.keys():
            raise BadRequest(f"not all alerts found in {name.lower()} collection")
        await self.stored.add(survey, found, fields)

    async def remove(self, name: str, names: Names, reads: Reads) -> None:
        """Labels and scores are removed from alerts, which all have classifications."""
        survey, fields = find_survey(name), _fields(names)
        reading = replace(PLAIN, projection={"_id": 1})
        found = reads.find(survey.classifications, {"_id": {"$in": list(fields)}}, reading)
        if {row["_id"] async for row in found} != fields.keys():
            raise BadRequest(f"not all classifications found in {name.lower()} collection")
        await self.stored.remove(survey, fields)

    async def get(self, name: str, candid: int, reads: Reads) -> dict[str, Any]:
        """An alert's labels and scores."""
        survey = find_survey(name)
        found = await reads.find_one(survey.classifications, {"_id": candid}, PLAIN)
        if found is None:
            raise BadRequest(f"classifications for {name.lower()} alert {candid} not found")
        shown = {"candid": candid, survey.object_id: found.get(survey.object_id)}
        return shown | {kind: found.get(kind) or {} for kind in ("human_labels", "ml_scores")}

    async def _objects(self, survey: Survey, candids: list[int], reads: Reads) -> dict[int, str]:
        """The object of each alert that the user sees."""
        reading = replace(PLAIN, projection={"_id": 0, "candid": 1, survey.object_id: 1})
        found = reads.find(survey.alerts, {"candid": {"$in": candids}}, reading)
        return {row["candid"]: row[survey.object_id] async for row in found}


def _fields(given: Labels | Names) -> Any:
    try:
        return given.fields()
    except ValueError as error:
        raise BadRequest(str(error)) from None
