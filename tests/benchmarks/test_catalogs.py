"""The benchmark's catalogues: as many, as large and with such fields as a real night's."""

import numpy as np
import pytest
from emptied import mongo_settings, shared_settings

from benchmarks.catalogs import FIRST_ID, OTHERS, fill, rows_anywhere, sizes_of
from kowalski.config import build, settings_tree
from kowalski.crossmatch.matcher import Matcher, Target
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.settings import Recipe
from kowalski.simulation.catalogs import catalogs

__all__ = ["mongo_settings", "shared_settings"]

SEED = 7


@pytest.fixture(scope="module")
def recipes() -> dict[str, Recipe]:
    return dict(build(settings_tree([], {})).database.xmatch["ZTF"])


@pytest.fixture(scope="module")
def sample(recipes: dict[str, Recipe]) -> dict[str, list[dict[str, object]]]:
    return {name: list(rows_anywhere(recipe, 300, np.random.default_rng(1))) for name, recipe in recipes.items()}


def test_full_is_14_of_which_one_has_two_million_rows_and_one_a_million(recipes: dict[str, Recipe]) -> None:
    sizes = sizes_of(recipes)
    assert sizes.keys() == recipes.keys()
    assert sorted(sizes.values()) == [OTHERS] * 12 + [1_000_000, 2_000_000]


def test_collections_of_alerts_are_no_catalogues() -> None:
    assert list(sizes_of(["Gaia_EDR3", "ZTF_alerts"])) == ["Gaia_EDR3"]


def test_rows_have_what_the_recipes_project(
    recipes: dict[str, Recipe], sample: dict[str, list[dict[str, object]]]
) -> None:
    for name, rows in sample.items():
        wanted = {key.split(".")[0] for key, shown in recipes[name].projection.items() if shown} | {"_id"}
        assert all(wanted <= row.keys() for row in rows), name
        assert len({row["_id"] for row in rows}) == len(rows) == 300


def test_rows_lie_evenly_on_the_sphere() -> None:
    """A half of them within 30 deg of the equator, as it has half of the sphere's area."""
    rows = list(rows_anywhere(Recipe(cone_search_radius=2, cone_search_unit="arcsec"), 4000, np.random.default_rng(2)))
    assert abs(np.mean([abs(row["dec"]) < 30 for row in rows]) - 0.5) < 0.04
    assert abs(np.mean([row["ra"] < 90 for row in rows]) - 0.25) < 0.04


def test_stored_rows_are_counted_indexed_and_matched(mongo: MongoDatabase, recipes: dict[str, Recipe]) -> None:
    told: list[int] = []
    wanted = dict.fromkeys(recipes, 500) | {"PS1_STRM": 12_000}
    assert fill(mongo, "full", recipes, SEED, told.append, wanted) == wanted
    assert {name: mongo[name].count_documents({}) for name in recipes} == wanted
    assert sum(told) == sum(wanted.values())
    assert all("radec__id" in mongo[name].index_information() for name in recipes)
    anywhere = mongo["GALEX"].find_one({"_id": {"$gte": FIRST_ID}})
    near = catalogs(SEED)["Gaia_EDR3"][0]
    assert anywhere is not None
    matcher = Matcher(Catalogs(mongo), recipes)
    found = matcher.match(
        [Target(name, 1, row["ra"], row["dec"]) for name, row in (("anywhere", anywhere), ("near", near))]
    )
    assert found["anywhere"]["matched"]["failed"] == found["anywhere"]["matched"]["absent"] == []
    assert len(found["anywhere"]["cross_matches"]["GALEX"]) == 1
    assert near["_id"] in [row["_id"] for row in found["near"]["cross_matches"]["Gaia_EDR3"]]


def test_small_is_what_surrounds_the_simulated_objects(mongo: MongoDatabase, recipes: dict[str, Recipe]) -> None:
    sizes = fill(mongo, "small", recipes, SEED)
    assert sizes == {name: len(rows) for name, rows in catalogs(SEED).items()}
    assert {name: mongo[name].count_documents({}) for name in sizes} == sizes
