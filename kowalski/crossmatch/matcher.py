"""Cross-matches of a batch of objects: one round trip per catalogue, and what became of each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64

from kowalski.crossmatch.galaxies import near_galaxies
from kowalski.database.catalogs import Catalogs
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger
from kowalski.settings import Recipe

log = get_logger(__name__)

TO_RADIANS = {"arcsec": math.radians(1 / 3600), "arcmin": math.radians(1 / 60), "deg": math.radians(1), "rad": 1.0}


@dataclass(frozen=True, slots=True)
class Target:
    """A position to match: that of an object's first alert."""

    object_id: str
    candid: int
    ra: float
    dec: float


@dataclass(slots=True)
class Match:
    """The catalogue rows at one target; catalogues that failed are named and have no list."""

    target: Target
    rows: dict[str, list[dict[str, Any]]]
    failed: list[str]

    def fields(self, absent: list[str]) -> dict[str, Any]:
        """What the object's document says of it."""
        return {
            "cross_matches": self.rows,
            "matched": {
                "candid": Int64(self.target.candid),
                "at": datetime.now(UTC),
                "catalogs": [name for name in self.rows if name not in absent],
                "absent": absent,
                "failed": self.failed,
            },
        }


class Matcher:
    """Matches objects with the catalogues of one survey's recipes."""

    def __init__(self, catalogs: Catalogs, recipes: Mapping[str, Recipe]):
        self.catalogs = catalogs
        self.recipes = recipes

    def match(self, targets: list[Target]) -> dict[str, dict[str, Any]]:
        """``cross_matches`` and ``matched`` of each target, by object.

        A catalogue whose collection does not exist gives an empty list and stands under ``matched.absent``. One that
        fails stands under ``matched.failed`` without a list: it is to be tried again, and is never "no match".

        Raises
        ------
        DatabaseUnavailable : MongoDB as a whole is out of reach
        """
        if not targets:
            return {}
        matches = [Match(target, {}, []) for target in targets]
        present = self.catalogs.present()
        absent = [name for name in self.recipes if name not in present]
        for name, recipe in self.recipes.items():
            try:
                rows = self._rows(name, recipe, targets) if name in present else self._elsewhere(recipe, targets)
            except DatabaseUnavailable:
                raise
            except DatabaseError as error:
                log.error("cross-match of %d objects with %s failed: %s", len(targets), name, error)
                for match in matches:
                    match.failed.append(name)
                continue
            for match, found in zip(matches, rows, strict=True):
                match.rows[name] = found
        return {match.target.object_id: match.fields(absent) for match in matches}

    def refresh(self, targets: list[Target]) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """The matches that each new alert asks for anew (``latest_by``): object -> catalogue -> rows.

        A catalogue that fails is left out: what is known of it stays.

        Raises
        ------
        DatabaseUnavailable : MongoDB as a whole is out of reach
        """
        moving = {name: recipe for name, recipe in self.recipes.items() if recipe.latest_by}
        if not moving or not targets:
            return {}
        matched = Matcher(self.catalogs, moving).match(targets)
        return {object_id: fields["cross_matches"] for object_id, fields in matched.items()}

    def _rows(self, name: str, recipe: Recipe, targets: list[Target]) -> list[list[dict[str, Any]]]:
        radius = recipe.cone_search_radius * TO_RADIANS[recipe.cone_search_unit]
        positions = [(target.ra, target.dec) for target in targets]
        projection = recipe.projection
        if recipe.use_distance and projection:
            projection = {**projection, "coordinates.radec_geojson": 1, str(recipe.distance_value): 1}
        latest: list[dict[str, Any]] = [{"$sort": {recipe.latest_by: -1}}, {"$limit": 1}] if recipe.latest_by else []
        rows = self.catalogs.cones(name, positions, radius, recipe.filter, projection, latest)
        if not recipe.use_distance:
            return rows
        return [
            near_galaxies(found, target.ra, target.dec, recipe) for found, target in zip(rows, targets, strict=True)
        ]

    @staticmethod
    def _elsewhere(recipe: Recipe, targets: list[Target]) -> list[list[dict[str, Any]]]:
        """Matches of a catalogue that isn't there: the two galaxies known without one."""
        if not recipe.use_distance:
            return [[] for _ in targets]
        return [near_galaxies([], target.ra, target.dec, recipe) for target in targets]
