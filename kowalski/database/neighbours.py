"""What the database knows of places on the sky: alerts, catalogues' rows, light curves of matchfiles."""

import math
from collections.abc import Sequence
from typing import Any

from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase, translated

ARCSEC = math.radians(1 / 3600)
Position = tuple[float, float]


class Neighbours:
    """Looks up what else is at the places of documents that are being ingested."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self.catalogs = Catalogs(database)

    def alerts(self, collection: str, places: list[Position], radius: float) -> list[tuple[int, float | None]]:
        """How many alerts lie within a radius (arcsec) of each place (ra, dec in deg), and their mean braai score."""
        if collection not in self.catalogs.present():
            return [(0, None)] * len(places)
        found = self.catalogs.cones(collection, places, radius * ARCSEC, {}, {"_id": 1, "classifications.braai": 1})
        counted = []
        for rows in found:
            scores = [row.get("classifications", {}).get("braai") for row in rows]
            known = [score for score in scores if isinstance(score, int | float)]
            counted.append((len(rows), sum(known) / len(known) if known else None))
        return counted

    def nearest(
        self, catalog: str, places: list[Position], radius: float, fields: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Some fields, and ``_id``, of a catalogue's row nearest to each place within a radius (arcsec); empty where there is none."""
        if catalog not in self.catalogs.present():
            return [{}] * len(places)
        found = self.catalogs.cones(catalog, places, radius * ARCSEC, {}, dict.fromkeys(("_id", *fields), 1))
        return [rows[0] if rows else {} for rows in found]

    def places(self, catalog: str, ids: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        """``ra`` and ``dec`` (deg) and ``coordinates`` of a catalogue's rows, by ``_id``; of those that are there."""
        with translated(f"positions of {catalog}"):
            found = self.database[catalog].find({"_id": {"$in": list(ids)}}, {"ra": 1, "dec": 1, "coordinates": 1})
            return {each.pop("_id"): each for each in found if "coordinates" in each}

    def light_curves(self, collection: str, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """The points of matchfiles' sources, by ``_id``; of those that are there."""
        with translated(f"light curves of {collection}"):
            found = self.database[collection].find({"_id": {"$in": list(ids)}}, {"data": 1})
            return {each["_id"]: each.get("data", []) for each in found}
