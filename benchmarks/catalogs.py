"""Catalogues to match with: those of the simulated sky alone, or every one that the cross-match knows, at the size of a real night's."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal

import numpy as np

from kowalski.alerts.coordinates import position
from kowalski.crossmatch.matcher import radius_of
from kowalski.crossmatch.pixels import Grid, grid_for, with_pixels
from kowalski.database.catalogs import Catalogs, catalog_indexes
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import create_indexes
from kowalski.settings import Recipe
from kowalski.simulation.catalogs import Row, catalogs

Kind = Literal["small", "full"]

#: rows of the two that are large, as NED's galaxies are (1.9 million), and of each other
LARGE = {"NED_BetaV3": 2_000_000, "Gaia_EDR3": 1_000_000}
OTHERS = 20_000
#: first id of the rows that lie anywhere: the simulated objects' have smaller ones, larger ones, or text
FIRST_ID = 1_000_000_000_000_000
#: rows of one insert
BATCH = 10_000
#: most batches that wait to be stored
AHEAD = 4
WORDS = ("G", "STAR", "GALAXY", "QSO", "SPEC", "AABC", "total")
#: fields that are text, and whole numbers
TEXTS = frozenset(["SDSS_name", "White_dwarf_name", "objname", "objtype", "class", "subclass", "name", "ph_qual", "z_tech", "tMASSphot", "Name", "Descrip"])  # fmt: skip
NUMBERS = frozenset({"objID"})
#: least and most of the fields that decide how far a galaxy's region reaches; distances in Mpc
RANGES = {"z": (0.003, 0.05), "DistMpc": (12.0, 210.0)}

Done = Callable[[int], None]


def sizes_of(recipes: Iterable[str]) -> dict[str, int]:
    """Rows of each catalogue that recipes name; collections of alerts, which a survey may be matched with too, are none."""
    return {name: LARGE.get(name, OTHERS) for name in recipes if not name.endswith("_alerts")}


def fill(
    database: MongoDatabase,
    kind: Kind,
    recipes: Mapping[str, Recipe],
    seed: int,
    done: Done = lambda rows: None,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """The catalogues are there, indexed by position; rows of each.

    Parameters
    ----------
    kind : ``small``: what surrounds the first simulated objects; ``full``: that, and rows anywhere on the sky, with the fields
        that the recipes project, until each catalogue has its size
    done : is told how many rows were stored, batch after batch
    sizes : rows by catalogue, instead of `sizes_of`
    """
    surroundings, store = catalogs(seed), Catalogs(database)
    if kind == "small":
        for name, rows in surroundings.items():
            store.replace(name, rows)
            done(len(rows))
        return {name: len(rows) for name, rows in surroundings.items()}
    sizes = sizes_of(recipes) if sizes is None else sizes
    for number, (name, size) in enumerate(sizes.items()):
        near = surroundings.get(name, [])[:size]
        anywhere = rows_anywhere(recipes[name], size - len(near), np.random.default_rng([seed, number]))
        _load(database, name, near, anywhere, _grids(recipes[name]), done)
    return dict(sizes)


def rows_anywhere(recipe: Recipe, number: int, rng: np.random.Generator) -> Iterator[Row]:
    """Rows spread evenly over the sky, with what a recipe projects."""
    fields = sorted({key.split(".")[0] for key, shown in recipe.projection.items() if shown})
    for first in range(0, number, BATCH):
        size = min(BATCH, number - first)
        ra, dec = anywhere(size, rng)
        columns: dict[str, list[Any]] = {name: _column(name, size, rng) for name in fields}
        columns |= {"_id": list(range(FIRST_ID + first, FIRST_ID + first + size)), "ra": ra, "dec": dec}
        columns["coordinates"] = [position(*place) for place in zip(ra, dec, strict=True)]
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def anywhere(number: int, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Right ascensions and declinations (deg), evenly on the sphere."""
    ra, dec = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    return ra.tolist(), dec.tolist()


def _column(name: str, size: int, rng: np.random.Generator) -> list[Any]:
    if name in TEXTS:
        return [WORDS[at] for at in rng.integers(0, len(WORDS), size).tolist()]
    if name in NUMBERS:
        return list(rng.integers(0, 2**62, size).tolist())
    return list(rng.uniform(*RANGES.get(name, (0.0, 25.0)), size).tolist())


def _grids(recipe: Recipe) -> list[Grid]:
    """The grid in which a recipe's cones are looked for."""
    grid = grid_for(radius_of(recipe))
    return [grid] if grid else []


def _load(
    database: MongoDatabase, name: str, near: list[Row], more: Iterator[Row], grids: list[Grid], done: Done
) -> None:
    """A catalogue of these rows; the index is built when they are in, which takes half the time of one kept up meanwhile."""
    collection = database[name]
    with translated(f"write {name}"), ThreadPoolExecutor(1) as sender:
        collection.drop()
        pending = []
        batches = iter(lambda: list(islice(more, BATCH)), [])
        for part in ([near] if near else []), batches:
            for rows in part:
                pending.append(
                    (sender.submit(collection.insert_many, with_pixels(rows, grids), ordered=False), len(rows))
                )
                while len(pending) > AHEAD:
                    _finish(pending, done)
        while pending:
            _finish(pending, done)
        create_indexes(collection, catalog_indexes(grids))


def _finish(pending: list[Any], done: Done) -> None:
    future, rows = pending.pop(0)
    future.result()
    done(rows)
