"""Objects of other surveys at the places of a batch's objects, for filters that ask for them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kowalski.alerts.survey import Survey, get_survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.links import Link, Links
from kowalski.database.objects import Objects

Document = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Any]]
"""survey -> object -> what is stored of it."""


@dataclass(frozen=True, slots=True)
class Companion:
    """An object of another survey at the same place, with the candidates of its alerts."""

    survey: Survey
    object_id: str
    distance: float
    aux: Document
    candidates: list[dict[str, Any]]


class Companions:
    """Reads companions: one look for the links, and two for each survey that is asked for."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self.links = Links(database)

    def of(self, survey: Survey, object_ids: Iterable[str], names: Collection[str]) -> dict[str, list[Companion]]:
        """The companions of some objects in the surveys of these names, the nearest first."""
        links = [link for link in self.links.of(survey, object_ids) if link.other_survey in names]
        auxes, candidates = {}, {}
        for name in {link.other_survey for link in links}:
            other, ids = get_survey(name), {link.other_id for link in links if link.other_survey == name}
            auxes[name] = Objects(self.database, other).read(ids)
            candidates[name] = Alerts(self.database, other).candidates(ids)
        return companions_of(links, auxes, candidates)


def companions_of(links: Iterable[Link], auxes: Rows, candidates: Rows) -> dict[str, list[Companion]]:
    """Object -> its companions, the nearest first, of links and of what is stored of the objects at their other ends."""
    found: dict[str, list[Companion]] = {}
    for link in sorted(links, key=lambda link: link.distance):
        name, other = link.other_survey, link.other_id
        found.setdefault(link.object_id, []).append(
            Companion(
                get_survey(name),
                other,
                link.distance,
                auxes[name].get(other, {}),
                list(candidates[name].get(other, ())),
            )
        )
    return found
