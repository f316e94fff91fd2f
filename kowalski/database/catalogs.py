"""Catalogues: cones around many positions in one round trip, for several catalogues where their rows have pixels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from pymongo.errors import OperationFailure

from kowalski.alerts.coordinates import separation
from kowalski.crossmatch.pixels import GRIDS, Grid, grid_for, pixels_around, with_pixels
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import GEO, Index, ensure_indexes
from kowalski.log import get_logger

log = get_logger(__name__)

Row = dict[str, Any]
Position = tuple[float, float]

#: server-side time limit of one catalogue and batch
MAX_TIME_MS = 30_000
#: cones of one round trip; MongoDB takes 1000 stages
MAX_CONES = 900
#: s for which it is not looked again which collections there are
FRESH = 1.0
#: s for which it is not looked again whether a catalogue has pixels
RECHECK = 60.0
#: MongoDB's code for a hint of an index that isn't there
BAD_VALUE = 2
#: where a row is, for the order of those around a position
PLACED: list[Row] = [{"$set": {"_place": "$coordinates.radec_geojson.coordinates"}}]
#: rows in the first answer, as far as its 16 MiB go, since another would be another round trip: all of them, or those of a
#: usual batch where there may be a whole catalogue without pixels
ALL_ROWS, FEW_ROWS = 100_000, 2000


def catalog_indexes(grids: Iterable[Grid] = GRIDS) -> list[Index]:
    """The indexes of a catalogue whose rows have the pixels of some grids."""
    return [Index("radec__id", [GEO, ("_id", 1)]), *(Index(grid.name, [(grid.field, 1)]) for grid in grids)]


class Search(NamedTuple):
    """What is looked for around positions: rows within a radius (rad) that meet a condition, projected.

    ``stages`` are what else becomes of the rows of one position, before they are projected.
    """

    radius: float
    condition: Row
    projection: Row
    stages: Sequence[Row] = ()


class _NoPixels(Exception):
    """A catalogue lacks its rows' pixels."""

    def __init__(self, catalog: str):
        super().__init__(catalog)
        self.catalog = catalog


class Catalogs:
    """Reads the catalogue collections."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        self._pixels: dict[tuple[str, str], tuple[bool, float]] = {}
        self._present: tuple[frozenset[str], float] = frozenset(), -math.inf

    def present(self) -> frozenset[str]:
        """Names of the collections that exist, or did `FRESH` s ago: each batch asks twice."""
        names, read_at = self._present
        if monotonic() >= read_at + FRESH:
            with translated("list collections"):
                names = frozenset(self.database.list_collection_names())
            self._present = names, monotonic()
        return names

    def replace(self, catalog: str, rows: list[dict[str, Any]]) -> None:
        """Make a catalogue of these rows, in place of what was there; it is indexed by position."""
        collection = self.database[catalog]
        with translated(f"write {catalog}"):
            collection.delete_many({})
            ensure_indexes(collection, catalog_indexes())
            if rows:
                collection.insert_many(with_pixels(rows), ordered=False)

    def cones(
        self,
        catalog: str,
        positions: list[Position],
        radius: float,
        condition: Row,
        projection: Row,
        stages: Sequence[Row] = (),
    ) -> list[list[Row]]:
        """Rows of a catalogue within a radius (rad) of each position (ra, dec in deg), in the order of the positions, the nearest first.

        With ``stages``, of which see `Search`, the order of the rows is theirs.
        """
        search = Search(radius, condition, projection, stages)
        with translated(f"cones in {catalog}"):
            found = self._at_once({catalog: search}, positions).get(catalog)
            return self._in_cones(catalog, positions, search) if found is None else found

    def at_once(self, searches: Mapping[str, Search], positions: list[Position]) -> dict[str, list[list[Row]]]:
        """What `cones` gives of those of some catalogues whose rows' pixels are indexed, in one round trip; the others are left out."""
        with translated("cones in catalogues"):
            return self._at_once(searches, positions)

    def _in_cones(self, catalog: str, positions: list[Position], search: Search) -> list[list[Row]]:
        """By the geographic index, for catalogues without pixels and for wide cones.

        The cones are joined by ``$unionWith``: a tenth of the time of one query each, and a quarter of that of one ``$or``.
        """
        pipelines = [
            [
                {"$match": {"coordinates.radec_geojson": _within(ra, dec, search.radius), **search.condition}},
                *(search.stages or PLACED),
                *_projected(search.projection),
                {"$set": {"_position": index}},
            ]
            for index, (ra, dec) in enumerate(positions)
        ]
        rows: list[list[Row]] = [[] for _ in positions]
        for first in range(0, len(positions), MAX_CONES):
            pipeline, *others = pipelines[first : first + MAX_CONES]
            union = [{"$unionWith": {"coll": catalog, "pipeline": other}} for other in others]
            found = self.database[catalog].aggregate(pipeline + union, maxTimeMS=MAX_TIME_MS, batchSize=ALL_ROWS)
            for row in found:
                rows[row.pop("_position")].append(row)
        if search.stages:
            return rows
        return [_nearest_first(each, place) for each, place in zip(rows, positions, strict=True)]

    def _at_once(self, searches: Mapping[str, Search], positions: list[Position]) -> dict[str, list[list[Row]]]:
        grids = {name: grid_for(search.radius) for name, search in searches.items() if positions and not search.stages}
        chosen = {name: grid for name, grid in grids.items() if grid is not None and self._has_pixels(name, grid)}
        while chosen:
            try:
                return self._in_pixels({name: (searches[name], grid) for name, grid in chosen.items()}, positions)
            except _NoPixels as lacking:
                self._pixels[lacking.catalog, chosen.pop(lacking.catalog).name] = (False, monotonic() + RECHECK)
                log.warning("%s has rows without pixels, or no index of them: it is searched by its geographic index, at ten times the CPU (./kowalski.py migrate)", lacking.catalog)  # fmt: skip
        return {}

    def _in_pixels(
        self, searches: Mapping[str, tuple[Search, Grid]], positions: list[Position]
    ) -> dict[str, list[list[Row]]]:
        """By the pixels that the cones touch, a twelfth of the time.

        Raises
        ------
        _NoPixels : rows of a catalogue have none, or there is no index of them
        """
        names, around = list(searches), {}
        pipelines = []
        for place, (search, grid) in enumerate(searches.values()):
            around[place] = pixels_around(tuple(positions), search.radius, grid)
            pipelines.append(
                [
                    {"$match": {grid.field: {"$in": [None, *around[place]]}, **search.condition}},
                    {"$set": {"_pixel": f"${grid.field}"}},
                    *PLACED,
                    *_projected(search.projection),
                    {"$set": {"_catalog": place}},
                ]
            )
        union = [{"$unionWith": {"coll": name, "pipeline": other}} for name, other in zip(names[1:], pipelines[1:], strict=True)]  # fmt: skip
        rows: list[list[list[Row]]] = [[[] for _ in positions] for _ in names]
        hint = searches[names[0]][1].name
        try:
            found = self.database[names[0]].aggregate(pipelines[0] + union, hint=hint, maxTimeMS=MAX_TIME_MS, batchSize=FEW_ROWS)  # fmt: skip
        except OperationFailure as error:
            if error.code == BAD_VALUE:
                raise _NoPixels(names[0]) from error
            raise
        with found:
            for row in found:
                place, pixel = row.pop("_catalog"), row.pop("_pixel", None)
                if pixel is None:
                    raise _NoPixels(names[place])
                for index in around[place][pixel]:
                    rows[place][index].append(dict(row))
        return {
            name: [_nearest_first(each, at, search.radius) for each, at in zip(own, positions, strict=True)]
            for (name, (search, _)), own in zip(searches.items(), rows, strict=True)
        }

    def _has_pixels(self, catalog: str, grid: Grid) -> bool:
        """Whether a catalogue has its rows' pixels indexed, looked up now and then."""
        known, until = self._pixels.get((catalog, grid.name), (False, 0.0))
        if monotonic() >= until:
            known = grid.name in self.database[catalog].index_information()
            self._pixels[catalog, grid.name] = (known, monotonic() + RECHECK)
        return known


def _within(ra: float, dec: float, radius: float) -> Row:
    return {"$geoWithin": {"$centerSphere": [[ra - 180.0, dec], radius]}}


def _projected(projection: Row) -> list[Row]:
    """The stage that leaves what a projection shows, and what is ours; none where it shows all."""
    if not projection:
        return []
    shows = any(shown for name, shown in projection.items() if name != "_id") or projection == {"_id": 1}
    return [{"$project": {**projection, "_place": 1, "_pixel": 1} if shows else projection}]


def _nearest_first(rows: list[Row], position: Position, radius: float = math.inf) -> list[Row]:
    """The rows within a radius (rad) of a position, by their distance from it; those without a place are the last."""
    if not rows:
        return []
    places = np.array([place_of(row.pop("_place", None)) or (math.nan, math.nan) for row in rows])
    distances = np.radians(separation(*position, places[:, 0] + 180.0, places[:, 1]))
    return [rows[index] for index in np.argsort(distances, kind="stable").tolist() if not distances[index] > radius]


def place_of(value: Any) -> Position | None:
    """Longitude and latitude (deg) of GeoJSON's coordinates; None: they are not those of a point."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(each, float | int) for each in value):
        return value[0], value[1]
    return None
