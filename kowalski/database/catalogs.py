"""Catalogues: cones around many positions in one round trip."""

from collections.abc import Sequence
from typing import Any

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import GEO, Index, ensure_indexes

#: server-side time limit of one catalogue and batch
MAX_TIME_MS = 30_000
#: cones of one round trip; MongoDB takes 1000 stages
MAX_CONES = 900
#: of every catalogue
INDEXES = [Index("radec__id", [GEO, ("_id", 1)])]
#: rows in the first answer: all of them, as far as its 16 MiB go, since another would be another round trip
FIRST_ROWS = 100_000


class Catalogs:
    """Reads the catalogue collections."""

    def __init__(self, database: MongoDatabase):
        self.database = database

    def present(self) -> set[str]:
        """Names of the collections that exist."""
        with translated("list collections"):
            return set(self.database.list_collection_names())

    def replace(self, catalog: str, rows: list[dict[str, Any]]) -> None:
        """Make a catalogue of these rows, in place of what was there; it is indexed by position."""
        collection = self.database[catalog]
        with translated(f"write {catalog}"):
            collection.delete_many({})
            ensure_indexes(collection, INDEXES)
            if rows:
                collection.insert_many(rows, ordered=False)

    def cones(
        self,
        catalog: str,
        positions: list[tuple[float, float]],
        radius: float,
        condition: dict[str, Any],
        projection: dict[str, Any],
        stages: Sequence[dict[str, Any]] = (),
    ) -> list[list[dict[str, Any]]]:
        """Rows of a catalogue within a radius (rad) of each position (ra, dec in deg), in the order of the positions.

        ``stages`` are what else becomes of the rows of one position, before they are projected.

        The cones are joined by ``$unionWith``: a tenth of the time of one query each, and a quarter of that of one ``$or``.
        """
        pipelines = [
            [
                {"$match": {"coordinates.radec_geojson": _within(ra, dec, radius), **condition}},
                *stages,
                *([{"$project": projection}] if projection else []),
                {"$set": {"_position": index}},
            ]
            for index, (ra, dec) in enumerate(positions)
        ]
        rows: list[list[dict[str, Any]]] = [[] for _ in positions]
        with translated(f"cones in {catalog}"):
            for first in range(0, len(positions), MAX_CONES):
                pipeline, *others = pipelines[first : first + MAX_CONES]
                union = [{"$unionWith": {"coll": catalog, "pipeline": other}} for other in others]
                found = self.database[catalog].aggregate(pipeline + union, maxTimeMS=MAX_TIME_MS, batchSize=FIRST_ROWS)
                for row in found:
                    rows[row.pop("_position")].append(row)
        return rows


def _within(ra: float, dec: float, radius: float) -> dict[str, Any]:
    return {"$geoWithin": {"$centerSphere": [[ra - 180.0, dec], radius]}}
