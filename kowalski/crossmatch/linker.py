"""Objects of other surveys at the places of new ones: one round trip per survey and batch."""

import math
from collections.abc import Iterable

import numpy as np

from kowalski.alerts.coordinates import separation
from kowalski.alerts.survey import Survey
from kowalski.crossmatch.matcher import Target
from kowalski.database.catalogs import Catalogs
from kowalski.database.links import Link, Links

ARCSEC = math.radians(1 / 3600)


class Linker:
    """Links a survey's objects with those of the others within a radius (arcsec) of their first alerts.

    Alerts are stored before their objects are linked: of two surveys that see the same for the first time in the same moment, the
    later one finds the other.
    """

    def __init__(self, survey: Survey, others: Iterable[Survey], catalogs: Catalogs, links: Links, radius: float):
        self.survey = survey
        self.others = [other for other in others if other.name != survey.name]
        self.catalogs = catalogs
        self.links = links
        self.radius = radius

    def link(self, targets: list[Target]) -> int:
        """Store the links of some objects, given the places of their first alerts; how many were found.

        Raises
        ------
        DatabaseError : MongoDB is out of reach, or can't search a survey's alerts by place
        """
        if not targets:
            return 0
        present = self.catalogs.present()
        found = [link for other in self.others if other.alerts in present for link in self._with(other, targets)]
        self.links.add(found)
        return len(found)

    def _with(self, other: Survey, targets: list[Target]) -> Iterable[Link]:
        """The links with objects of one other survey, whose place is that of any of their alerts."""
        one_each = [
            {"$group": {"_id": f"${other.object_id}", "place": {"$first": "$coordinates.radec_geojson.coordinates"}}}
        ]
        positions = [(target.ra, target.dec) for target in targets]
        rows = self.catalogs.cones(other.alerts, positions, self.radius * ARCSEC, {}, {}, one_each)
        for target, found in zip(targets, rows, strict=True):
            places = np.array([row["place"] for row in found]).reshape(-1, 2)
            distances = 3600 * separation(target.ra, target.dec, places[:, 0] + 180.0, places[:, 1])
            for row, distance in zip(found, distances.tolist(), strict=True):
                yield Link(self.survey.name, target.object_id, other.name, row["_id"], round(distance, 3))
