"""Cross-matches of a batch of objects: one round trip for the catalogues with pixels, one for each other, and what became of each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64

from kowalski.crossmatch.galaxies import near_galaxies
from kowalski.crossmatch.versions import MatchVersions
from kowalski.database.catalogs import Catalogs, Row, Search
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger
from kowalski.settings import Recipe

log = get_logger(__name__)

TO_RADIANS = {"arcsec": math.radians(1 / 3600), "arcmin": math.radians(1 / 60), "deg": math.radians(1), "rad": 1.0}


def radius_of(recipe: Recipe) -> float:
    """Radius of a recipe's cones, rad."""
    return recipe.cone_search_radius * TO_RADIANS[recipe.cone_search_unit]


def search_of(recipe: Recipe) -> Search:
    """What a recipe asks for."""
    projection = recipe.projection
    if recipe.use_distance and projection:
        projection = {**projection, "coordinates.radec_geojson": 1, str(recipe.distance_value): 1}
    latest: list[Row] = [{"$sort": {recipe.latest_by: -1}}, {"$limit": 1}] if recipe.latest_by else []
    return Search(radius_of(recipe), recipe.filter, projection, latest)


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

    def fields(self, absent: list[str], versions: str | None) -> dict[str, Any]:
        """What the object's document says of it."""
        matched = {
            "candid": Int64(self.target.candid),
            "at": datetime.now(UTC),
            "catalogs": [name for name in self.rows if name not in absent],
            "absent": absent,
            "failed": self.failed,
        }
        return {"cross_matches": self.rows, "matched": matched | ({"versions": versions} if versions else {})}


class Matcher:
    """Matches objects with the catalogues of one survey's recipes; given ``versions``, says with which versions of these."""

    def __init__(self, catalogs: Catalogs, recipes: Mapping[str, Recipe], versions: MatchVersions | None = None):
        self.catalogs = catalogs
        self.recipes = recipes
        self.versions = versions

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
        positions = [(target.ra, target.dec) for target in targets]
        there = {name: recipe for name, recipe in self.recipes.items() if name in present}
        versions = self.versions.reference(there) if self.versions else None
        at_once = self._at_once(list(there), positions)
        for name, recipe in self.recipes.items():
            try:
                if name in at_once:
                    rows = at_once[name]
                elif name in present:
                    rows = self.catalogs.cones(name, positions, *search_of(recipe))
                else:
                    rows = [[] for _ in targets]
            except DatabaseUnavailable:
                raise
            except DatabaseError as error:
                log.error("cross-match of %d objects with %s failed: %s", len(targets), name, error)
                for match in matches:
                    match.failed.append(name)
                continue
            for match, found in zip(matches, rows, strict=True):
                if recipe.use_distance:  # of the galaxies known without a catalogue too
                    found = near_galaxies(found, match.target.ra, match.target.dec, recipe)
                match.rows[name] = found
        return {match.target.object_id: match.fields(absent, versions) for match in matches}

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

    def _at_once(self, names: list[str], positions: list[tuple[float, float]]) -> dict[str, list[list[Row]]]:
        """The rows of those catalogues that can be searched together; of none where one of them fails."""
        try:
            return self.catalogs.at_once({name: search_of(self.recipes[name]) for name in names}, positions)
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            log.warning("catalogues are searched one by one: %s", error)
            return {}
