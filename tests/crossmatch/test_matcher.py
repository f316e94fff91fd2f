"""Cross-matches of batches with catalogues in a real MongoDB."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from kowalski.alerts.coordinates import position, unit_vectors
from kowalski.config import build, settings_tree
from kowalski.crossmatch.galaxies import M31
from kowalski.crossmatch.matcher import Matcher, Target
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase, client_options
from kowalski.errors import DatabaseUnavailable
from kowalski.settings import Database, Recipe

RECIPES = build(settings_tree([], {})).database.xmatch["ZTF"]
RANDOM = np.random.default_rng(5)


class Commands(CommandListener):
    """Names of the commands sent to MongoDB."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in ("aggregate", "find", "getMore", "listCollections"):
            self.sent.append((event.command_name, str(event.command.get(event.command_name))))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def watched(mongo_settings: Database, commands: Commands) -> Iterator[MongoDatabase]:
    """The database, by a client whose commands are counted."""
    with MongoClient[dict[str, Any]](**client_options(mongo_settings), event_listeners=[commands]) as client:
        yield client[mongo_settings.db]


def recipe(radius: float = 2.0, unit: str = "arcsec", **fields: Any) -> Recipe:
    return Recipe.model_validate({"cone_search_radius": radius, "cone_search_unit": unit, **fields})


def rows(ra: np.ndarray, dec: np.ndarray, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"_id": number, "coordinates": position(float(a), float(d)), "number": number, **fields}
        for number, (a, d) in enumerate(zip(ra, dec, strict=True))
    ]


def targets(ra: Any, dec: Any) -> list[Target]:
    return [Target(f"ZTF{n:05d}", 10**18 + n, float(a), float(d)) for n, (a, d) in enumerate(zip(ra, dec, strict=True))]


def matched(database: MongoDatabase, recipes: dict[str, Recipe], where: list[Target]) -> dict[str, dict[str, Any]]:
    return Matcher(Catalogs(database), recipes).match(where)


def test_cones_are_what_numpy_finds(mongo: MongoDatabase) -> None:
    """Random positions, the poles and the line RA 0 = 360, at several radii and in every unit."""
    n = 300
    ra = np.concatenate(
        [RANDOM.uniform(0, 360, n), RANDOM.uniform(-1, 1, n) % 360, RANDOM.uniform(0, 360, 2 * n), [0, 360 - 1e-12]]
    )
    dec = np.concatenate(
        [
            RANDOM.uniform(-90, 90, n),
            RANDOM.uniform(-1, 1, n),
            90 - RANDOM.uniform(0, 1, n),
            RANDOM.uniform(0, 1, n) - 90,
            [0, 0],
        ]
    )
    mongo["cat"].insert_many(rows(ra, dec))
    mongo["cat"].create_index([("coordinates.radec_geojson", "2dsphere")])
    at_ra = [0.0, 359.99999, 0.3, 359.7, 77.0, 10.0, 0.0, 180.0, *ra[:20]]
    at_dec = [0.0, 0.0, 0.2, -0.4, 90.0, 89.7, -90.0, -89.5, *dec[:20]]
    cosines = unit_vectors(np.array(at_ra), np.array(at_dec)).T @ unit_vectors(ra, dec)
    for radius, unit, degrees in [
        (1800.0, "arcsec", 0.5),
        (12.0, "arcmin", 0.2),
        (1.0, "deg", 1.0),
        (0.002, "rad", np.degrees(0.002)),
    ]:
        results = matched(mongo, {"cat": recipe(radius, unit)}, targets(at_ra, at_dec))
        found = [{row["number"] for row in result["cross_matches"]["cat"]} for result in results.values()]
        expected = [set(np.flatnonzero(row >= np.cos(np.radians(degrees))).tolist()) for row in cosines]
        assert found == expected
        assert sum(map(len, expected)) > 50


def test_two_arcseconds_are_two_arcseconds(mongo: MongoDatabase) -> None:
    dec = 41.0
    offsets = np.array([0.0, 1.99, 2.01])
    mongo["cat"].insert_many(rows(np.full(3, 10.0), dec + offsets / 3600) + [
        {"_id": 10 + n, "number": 10 + n, "coordinates": position(10.0 + offset / 3600 / np.cos(np.radians(dec)), dec)}
        for n, offset in enumerate(offsets)
    ])  # fmt: skip
    (result,) = matched(mongo, {"cat": recipe(2.0)}, targets([10.0], [dec])).values()
    assert {row["number"] for row in result["cross_matches"]["cat"]} == {0, 1, 10, 11}


def test_one_round_trip_per_catalogue_and_batch(watched: MongoDatabase, commands: Commands) -> None:
    ra, dec = RANDOM.uniform(0, 360, 128), RANDOM.uniform(-80, 80, 128)
    for name in RECIPES:
        watched[name].insert_many(rows(ra, dec, z=0.05, DistMpc=100.0))
    commands.sent.clear()
    results = matched(watched, RECIPES, targets(ra, dec))
    assert len(results) == 128
    assert all(result["cross_matches"].keys() == RECIPES.keys() for result in results.values())
    aggregations = [command for command in commands.sent if command[0] == "aggregate"]
    assert sorted(name for _, name in aggregations) == sorted(RECIPES)
    assert len(commands.sent) == len(RECIPES) + 1, "and one list of the collections"


def test_many_targets_at_once(mongo: MongoDatabase) -> None:
    """MongoDB refuses pipelines of more than 1000 stages; what failed for a whole night is matched again in thousands."""
    ra, dec = RANDOM.uniform(0, 360, 1500), RANDOM.uniform(-80, 80, 1500)
    mongo["cat"].insert_many(rows(ra, dec))
    mongo["cat"].create_index([("coordinates.radec_geojson", "2dsphere")])
    results = matched(mongo, {"cat": recipe()}, targets(ra, dec))
    assert all(
        number in {row["number"] for row in result["cross_matches"]["cat"]}
        for number, result in enumerate(results.values())
    )
    assert not any(result["matched"]["failed"] for result in results.values())


def test_nothing_to_match(watched: MongoDatabase, commands: Commands) -> None:
    assert matched(watched, RECIPES, []) == {}
    assert commands.sent == []


def test_projection_and_condition(mongo: MongoDatabase) -> None:
    mongo["cat"].insert_many(rows(np.array([10.0, 10.0]), np.array([5.0, 5.0]), mag=17.0))
    recipes = {
        "cat": recipe(filter={"number": {"$gt": 0}}, projection={"_id": 0, "coordinates.radec_str": 1, "mag": 1}),
    }
    (result,) = matched(mongo, recipes, targets([10.0], [5.0])).values()
    assert result["cross_matches"]["cat"] == [
        {"coordinates": {"radec_str": ["00:40:00.0000", "05:00:00.000"]}, "mag": 17.0}
    ]


def test_a_result_says_when_and_against_what(mongo: MongoDatabase) -> None:
    mongo["cat"].insert_one(rows(np.array([10.0]), np.array([5.0]))[0])
    recipes = {"cat": recipe(), "not_here": recipe(), "bad": recipe(filter={"$bogus": 1})}
    mongo["bad"].insert_one({})
    (result,) = matched(mongo, recipes, targets([10.0], [5.0])).values()
    assert list(result) == ["cross_matches", "matched"]
    assert {name: len(found) for name, found in result["cross_matches"].items()} == {"cat": 1, "not_here": 0}
    account = result["matched"]
    assert (account["catalogs"], account["absent"], account["failed"]) == (["cat"], ["not_here"], ["bad"])
    assert account["candid"] == 10**18
    assert isinstance(account["candid"], Int64)
    assert timedelta(0) <= datetime.now(UTC) - account["at"] < timedelta(minutes=1)


def test_one_failing_catalogue_leaves_the_others_alone(mongo: MongoDatabase) -> None:
    for name in ("first", "bad", "last"):
        mongo[name].insert_one(rows(np.array([10.0]), np.array([5.0]))[0])
    recipes = {"first": recipe(), "bad": recipe(filter={"$expr": {"$divide": [1, 0]}}), "last": recipe()}
    results = matched(mongo, recipes, targets([10.0, 11.0], [5.0, 6.0]))
    assert [result["matched"]["failed"] for result in results.values()] == [["bad"], ["bad"]]
    assert all(set(result["cross_matches"]) == {"first", "last"} for result in results.values()), (
        "no list is not an empty list"
    )


def test_a_database_out_of_reach_is_no_failure_of_a_catalogue(mongo_settings: Database) -> None:
    settings = mongo_settings.model_copy(update={"port": 1})
    with (
        MongoClient[dict[str, Any]](**client_options(settings) | {"serverSelectionTimeoutMS": 100}) as client,
        pytest.raises(DatabaseUnavailable),
    ):
        matched(client[settings.db], {"cat": recipe()}, targets([10.0], [5.0]))


def test_galaxies_by_distance(mongo: MongoDatabase) -> None:
    """A far galaxy's region is smaller than the cone that is searched for it."""
    recipes = {"CLU_20190625": RECIPES["CLU_20190625"]}
    at = np.array([200.0, 200.0, 200.0]), np.array([10 + 20 / 3600, 10 + 40 / 3600, 10 + 299 / 3600])
    mongo["CLU_20190625"].insert_many(
        [row | {"name": str(row["number"]), "z": z} for row, z in zip(rows(*at), (0.05, 0.05, 0.005), strict=True)]
    )
    near, far = matched(mongo, recipes, targets([200.0, 100.0], [10.0, 10.0])).values()
    assert [match["name"] for match in near["cross_matches"]["CLU_20190625"]] == ["0", "2"]
    assert [match["coordinates"]["distance_arcsec"] for match in near["cross_matches"]["CLU_20190625"]] == [20.0, 299.0]
    assert far["cross_matches"]["CLU_20190625"] == []
    assert "number" not in near["cross_matches"]["CLU_20190625"][0], "the recipe's projection stands"


def test_a_projection_without_the_distance_does_not_hide_it(mongo: MongoDatabase) -> None:
    mongo["cat"].insert_one(rows(np.array([200.0]), np.array([10.0]), z=0.05)[0])
    distance = {
        "use_distance": True,
        "distance_value": "z",
        "distance_method": "redshift",
        "cm_at_distance": 30,
        "cm_low_distance": 300,
    }
    recipes = {"cat": recipe(300.0, projection={"_id": 1, "number": 1}, **distance)}
    (result,) = matched(mongo, recipes, targets([200.0], [10.0])).values()
    assert result["cross_matches"]["cat"][0]["coordinates"]["distance_arcsec"] == 0.0


def test_andromeda_is_known_without_a_catalogue(mongo: MongoDatabase) -> None:
    recipes = {"CLU_20190625": RECIPES["CLU_20190625"], "Gaia_EDR3": RECIPES["Gaia_EDR3"]}
    (result,) = matched(mongo, recipes, targets([M31["ra"]], [M31["dec"] + 0.5])).values()
    assert [match["name"] for match in result["cross_matches"]["CLU_20190625"]] == ["PGC2557"]
    assert result["cross_matches"]["Gaia_EDR3"] == []
    assert result["matched"]["absent"] == ["CLU_20190625", "Gaia_EDR3"]


class TestCataloguesWithPixels:
    """They are searched together, the others one by one, and all give what they give alone."""

    PLACES = [(10.0, 20.0), (200.0, -30.0)]
    RECIPES = {name: recipe(2.0 if name != "galaxies" else 300.0) for name in ("a", "old", "b", "galaxies")}

    @pytest.fixture
    def stored(self, watched: MongoDatabase) -> MongoDatabase:
        catalogs = Catalogs(watched)
        for number, name in enumerate(self.RECIPES):
            near = [{"_id": f"{name}{place}", "number": number, "coordinates": position(ra, dec + number / 7200)} for place, (ra, dec) in enumerate(self.PLACES)]  # fmt: skip
            if name == "old":
                watched[name].insert_many(near)
            else:
                catalogs.replace(name, near)
        return watched

    def found(self, database: MongoDatabase, **recipes: Recipe) -> dict[str, list[Any]]:
        results = matched(database, self.RECIPES | recipes, targets(*zip(*self.PLACES, strict=True)))
        return {
            name: [[row["_id"] for row in result["cross_matches"].get(name, ["none"])] for result in results.values()]
            for name in self.RECIPES
        }

    def test_in_one_round_trip(self, stored: MongoDatabase, commands: Commands) -> None:
        commands.sent.clear()
        assert self.found(stored) == {name: [[f"{name}0"], [f"{name}1"]] for name in self.RECIPES}
        assert [name for command, name in commands.sent if command == "aggregate"] == ["a", "old"]

    def test_one_that_fails_does_not_fail_the_others(self, stored: MongoDatabase) -> None:
        wrong = recipe(filter={"$no": 1})
        results = matched(stored, self.RECIPES | {"b": wrong}, targets(*zip(*self.PLACES, strict=True)))
        for result in results.values():
            assert result["matched"]["failed"] == ["b"]
            assert {name for name, rows in result["cross_matches"].items() if rows} == self.RECIPES.keys() - {"b"}

    def test_one_whose_pixels_are_not_whole(self, stored: MongoDatabase, caplog: pytest.LogCaptureFixture) -> None:
        stored["b"].insert_one({"_id": "late", "coordinates": position(10.0, 20.0)})
        assert self.found(stored)["b"] == [["late", "b0"], ["b1"]]
        assert "b has rows without pixels" in caplog.text
