"""An ingestion leaves a record of the catalogue's version; catalogues of which nobody said anything are honestly unknown."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kowalski.crossmatch.versions import MatchVersions
from kowalski.database.catalog_versions import CatalogVersions, described
from kowalski.database.client import MongoDatabase
from kowalski.database.provenance import Provenance
from kowalski.provenance.records import recipe_digest
from kowalski.settings import Recipe

from .tables import simulated, write

Run = Callable[..., tuple[int, dict[str, Any]]]
CATALOG = ("--collection", "sky", "--id", "id")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in (1, 2):
        columns = {name: values[number * 50 : number * 50 + 50] for name, values in simulated(200).items()}
        write(folder / f"sky{number}.csv", columns)
    return folder


def test_what_an_ingestion_leaves(run_ingest: Run, files: Path, mongo: MongoDatabase) -> None:
    assert run_ingest("catalog", files, *CATALOG)[0] == 0
    versions = CatalogVersions(mongo)
    key = versions.current(["sky", "none"]).pop("sky")
    version = versions.read([key])[key]
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.iterdir()}
    listed = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    assert version["how"] == "ingested"
    assert version["rows"] == 100
    assert version["source"] == {
        "recipe": "catalog", "tag": None, "options": {"id": "id"}, "kowalski": "4.0.0", "files": 2, "most": None,
        "bytes": sum(path.stat().st_size for path in files.iterdir()), "names": ["sky1.csv", "sky2.csv"],
        "sha256": hashlib.sha256(listed.encode()).hexdigest(),
    }  # fmt: skip
    assert described(version).startswith(f"2 files by catalog, sha256 {version['source']['sha256'][:12]}, 100 rows, 20")
    assert run_ingest("catalog", files, *CATALOG, "--rm")[0] == 0
    assert versions.current(["sky"]) == {"sky": key}, "the same again is the same version"
    assert len(versions.read([key])[key]["uuids"]) == 2


def test_a_worker_that_looks_before_the_ingestion_is_noted(run_ingest: Run, files: Path, mongo: MongoDatabase) -> None:
    """What it sees in between is no version that rows were added to."""
    run_ingest("catalog", files, *CATALOG)
    versions = CatalogVersions(mongo)
    key = versions.current(["sky"])["sky"]
    source = versions.read([key])[key]["source"]
    mongo["sky"].rename("before")
    mongo["sky"].insert_many(list(mongo["before"].find()))
    seen = versions.current(["sky"])["sky"]
    assert seen != key
    assert versions.ingested("sky", source, datetime.now(UTC), anew=True) == key
    assert versions.current(["sky"]) == {"sky": key}


def test_rows_that_are_added(run_ingest: Run, files: Path, mongo: MongoDatabase) -> None:
    run_ingest("catalog", files / "sky1.csv", *CATALOG)
    versions = CatalogVersions(mongo)
    first = versions.current(["sky"])["sky"]
    assert versions.read([first])[first]["source"]["sha256"] == hashlib.sha256((files / "sky1.csv").read_bytes()).hexdigest()  # fmt: skip
    run_ingest("catalog", files / "sky1.csv", *CATALOG)
    assert versions.current(["sky"]) == {"sky": first}, "nothing was added"
    run_ingest("catalog", files / "sky2.csv", *CATALOG)
    second = versions.current(["sky"])["sky"]
    assert second != first
    assert versions.read([second])[second]["added_to"] == first
    mongo["sky"].insert_one({"_id": "by hand"})
    third = versions.current(["sky"])["sky"]
    assert described(versions.read([third])[third]).startswith("unknown, 101 rows as of 20")
    assert versions.read([third])[third]["after"] == second
    mongo["sky"].insert_one({"_id": "by hand, too"})
    assert versions.current(["sky"]) == {"sky": third}, "one a day"
    run_ingest("catalog", files / "sky1.csv", *CATALOG, "--rm")
    assert versions.current(["sky"]) == {"sky": first}


def test_catalogues_from_before(mongo: MongoDatabase) -> None:
    """They are noted as they are seen, once; another collection of the same name is another version."""
    mongo["old"].insert_many([{"_id": number} for number in range(5)])
    versions = CatalogVersions(mongo)
    key = versions.current(["old"])["old"]
    assert (versions.read([key])[key]["how"], versions.read([key])[key]["rows"]) == ("seen", 5)
    assert versions.current(["old"]) == {"old": key}
    mongo.drop_collection("old")
    assert versions.current(["old"]) == {}
    mongo["old"].insert_many([{"_id": number} for number in range(5)])
    assert versions.current(["old"])["old"] != key


def test_versions_are_named_for_matches_and_looked_up_now_and_then(mongo: MongoDatabase) -> None:
    recipe = Recipe.model_validate({"cone_search_radius": 2, "cone_search_unit": "arcsec"})
    mongo["old"].insert_one({"_id": 1})
    naming = MatchVersions(mongo)
    reference = naming.reference({"old": recipe})
    assert reference is not None
    record = Provenance(mongo).read([reference])[reference]
    assert record["catalogs"] == CatalogVersions(mongo).current(["old"])
    assert record["recipes"] == {"old": recipe_digest(recipe)}
    mongo.drop_collection("old")
    assert naming.reference({"old": recipe}) == reference, "known for some seconds"
    assert MatchVersions(mongo).reference({"old": recipe}) is None
