"""One simulated catalogue in every format gives the same documents; what goes wrong in files is named."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kowalski.database.client import MongoDatabase
from kowalski.database.rematches import Rematches
from kowalski.errors import IngestError

from .tables import simulated, write

Run = Callable[..., tuple[int, dict[str, Any]]]
NUMBER = 2500
CATALOG = ("catalog", "--collection", "sky", "--id", "id")


def ingest(run: Run, path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    return run(CATALOG[0], path, *CATALOG[1:], *options)


@pytest.mark.parametrize("ending", ["fits", "csv", "parquet", "h5", "pytable"])
def test_every_format_gives_the_same(ending: str, run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    columns = simulated(NUMBER)
    status, figures = ingest(run_ingest, write(tmp_path / f"sky.{ending}", columns))
    assert (status, figures["stored"], figures["rejected"]) == (0, NUMBER, 0)
    rows = list(mongo["sky"].find().sort("_id", 1))
    assert len(rows) == NUMBER
    for row, *values in zip(rows, *(columns[name].tolist() for name in columns), strict=True):
        expected = {name: value for name, value in zip(columns, values, strict=True) if value == value}
        assert {name: row[name] for name in row.keys() - {"_id", "coordinates"}} == expected
        assert row["_id"] == row["id"]
        assert isinstance(row["n"], int)
        assert row["coordinates"]["radec_geojson"]["coordinates"] == [row["ra"] - 180.0, row["dec"]]


def test_gzipped_headerless_and_commented_files_are_read(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    values = "12,345678901234567890,10.5,-0.25,1,2,GALAXY,0.9,0.05,0.05,0,0,0,-999,-999,0.1,0,0,0"
    with gzip.open(tmp_path / "hlsp_ps1-strm_1.csv.gz", "wt") as file:
        file.write(values + "\n")
    run_ingest("ps1_strm", tmp_path)
    row = mongo["PS1_STRM"].find_one()
    assert row is not None
    assert (row["_id"], row["class"], row["prob_Galaxy"]) == ("345678901234567890", "GALAXY", 0.9)
    assert not {"z_phot", "z_photErr"} & row.keys()
    with gzip.open(tmp_path / "GaiaSource_1.csv.gz", "wt") as file:
        file.write(
            "# %ECSV 1.0\n# ---\nsource_id,ra,dec,parallax\n4295806720,44.99,0.005,null\n38655544960,45.0,0.02,1.5\n"
        )
    run_ingest("gaia_dr3", tmp_path)
    assert {row["_id"]: row.get("parallax") for row in mongo["Gaia_DR3"].find()} == {"4295806720": None, "38655544960": 1.5}  # fmt: skip


def test_units_of_the_file_are_those_of_the_sky(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    from astropy import units
    from astropy.table import Table

    Table({"ra": [math.pi / 2] * units.rad, "dec": [-0.5] * units.rad, "name": ["a"]}).write(
        tmp_path / "milliquas.fits"
    )
    run_ingest("catalog", tmp_path, "--collection", "sky")
    row = mongo["sky"].find_one()
    assert row is not None
    assert row["coordinates"]["radec_geojson"]["coordinates"] == pytest.approx([90.0 - 180, math.degrees(-0.5)])


def test_bad_rows_are_written_to_a_file_and_the_rest_is_stored(
    run_ingest: Run, tmp_path: Path, mongo: MongoDatabase
) -> None:
    lines = ["id,ra,dec,mag", *(f"{index},{index},1.0,17.5" for index in range(1, 100)), "100,360,-90,17.5"]
    lines += ["101,10,1,bright", "102,361,0,17", "103,,0,17", "104,12,90.5,17", "105,ten,0,17", ",12,5,17", "7,200,5,17", "8,8,1.0,17.5"]  # fmt: skip
    (tmp_path / "sky.csv").write_text("\n".join(lines) + "\n")
    status, figures = ingest(run_ingest, tmp_path / "sky.csv")
    assert (status, figures["stored"], figures["known"], figures["rejected"]) == (0, 100, 1, 7)
    told = [json.loads(line) for line in Path(figures["rejects"]).read_text().splitlines()]
    reasons = {each.get("row"): each["reason"] for each in told}
    assert reasons[100] == "mag: 'bright' is no number"
    assert reasons[101] == "no position on the sky: ra 361, dec 0 deg"
    assert reasons[102].startswith("no position: ra or dec is missing")
    assert "dec 90.5" in reasons[103]
    assert reasons[104] == "ra: 'ten' is no number"
    assert reasons[105] == "no identifier"
    assert reasons[None] == "another row has the identifier 7"
    polar = mongo["sky"].find_one({"_id": 100})
    assert polar is not None
    assert polar["coordinates"]["radec_geojson"]["coordinates"] == [-180.0, -90.0], "RA 360 is 0"
    assert polar["ra"] == 360, "a column stays as published"


@pytest.mark.parametrize("ending", ["fits", "parquet", "h5", "csv.gz"])
def test_half_a_file_leaves_nothing_without_a_mark(
    ending: str, run_ingest: Run, tmp_path: Path, mongo: MongoDatabase
) -> None:
    columns = simulated(NUMBER)
    whole, path = tmp_path / f"whole.{ending.partition('.')[0]}", tmp_path / f"in/sky.{ending}"
    path.parent.mkdir()
    content = write(whole, columns).read_bytes()
    content = gzip.compress(content) if ending.endswith("gz") else content
    path.write_bytes(content[: len(content) // 2])
    write(tmp_path / "in" / "sky2.csv", simulated(10, seed=2))
    status, figures = ingest(run_ingest, path.parent)
    assert status == 1
    (failed,) = figures["failed"]
    assert failed["file"] == path.name
    assert "not whole" in failed["reason"]
    assert "sky" not in mongo.list_collection_names()
    with pytest.raises(IngestError, match="was interrupted: --resume goes on with it, --rm begins anew"):
        ingest(run_ingest, path.parent)
    path.write_bytes(content)
    status, figures = ingest(run_ingest, path.parent, "--resume")
    assert (status, figures["collections"]) == (0, {"sky": NUMBER}), "of the ten, each has the identifier of another"
    with pytest.raises(IngestError, match="nothing to go on with"):
        ingest(run_ingest, path.parent, "--resume")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("catalog", "--collection", "sky", "--ra", "RA", "--dec", "DEC"), "no column RA, DEC; there are id, ra, dec"),
        (("catalog", "--collection", "sky", "--id", "objID"), "no column objID; there are id, ra, dec, name, mag, n"),
        (("catalog", "--collection", "sky", "--keep", "flag < 2"), "no column flag"),
    ],
)
def test_a_wrong_column_is_named(options: tuple[str, ...], message: str, run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:  # fmt: skip
    status, figures = run_ingest(options[0], write(tmp_path / "sky.csv", simulated(3)), *options[1:])
    assert status == 1
    assert message in figures["failed"][0]["reason"]
    assert "sky" not in mongo.list_collection_names()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("gaia",), "there is no recipe gaia: .*gaia_edr3"),
        (("catalog",), "needs --collection"),
        (("catalog", "--collection", "sky", "--ra", "x"), "--ra and --dec go together"),
        (("catalog", "--collection", "sky", "--keep", "flag ~ 2"), "'flag ~ 2' is no condition"),
        (("igaps", "--id", "x"), "--id: only the recipe catalog has this"),
        (("igaps", "--tag", "x"), "igaps has no releases"),
        (("igaps",), "igaps takes files named igaps-"),
    ],
)
def test_a_wrong_wish_is_refused(options: tuple[str, ...], message: str, run_ingest: Run, tmp_path: Path) -> None:
    write(tmp_path / "sky.csv", simulated(3))
    with pytest.raises(IngestError, match=message):
        run_ingest(options[0], tmp_path, *options[1:])


def test_a_dry_run_writes_nothing(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    status, figures = ingest(run_ingest, write(tmp_path / "sky.fits", simulated(NUMBER)), "--dry-run")
    assert (status, figures["read"], figures["stored"]) == (0, NUMBER, NUMBER)
    assert figures["example"]["name"] == "SIM J0000000"
    assert mongo.list_collection_names() == []


def test_no_more_documents_than_wanted(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    for ending in ("csv", "fits"):
        write(tmp_path / f"sky.{ending}", simulated(NUMBER, seed=len(ending)))
    run_ingest("catalog", tmp_path, "--collection", "sky", "--max-docs", "2600")
    assert mongo["sky"].count_documents({}) == 2600


def test_verify_finds_what_is_not_there_and_what_differs(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    path = write(tmp_path / "sky.parquet", simulated(NUMBER))
    ingest(run_ingest, path)
    first = 3_000_000_000_000_000_000
    mongo["sky"].delete_many({"_id": {"$in": [first + 5, first + 2400]}})
    mongo["sky"].update_one({"_id": first}, {"$set": {"mag": 1.0}})
    status, figures = ingest(run_ingest, path, "--verify")
    assert (status, figures["lacking"], figures["differing"]) == (1, 2, 1)
    assert figures["examples"] == [first + 5, first + 2400, first]


def test_a_catalogue_is_replaced_at_once_and_completed_in_place(
    run_ingest: Run, tmp_path: Path, mongo: MongoDatabase
) -> None:
    old, new = (write(tmp_path / f"{name}.fits", simulated(500, seed=seed)) for seed, name in enumerate(("old", "new")))
    ingest(run_ingest, old)
    mongo["sky"].drop_index("radec__id")
    mongo["sky"].create_index([("coordinates.radec_geojson", "2dsphere"), ("_id", 1)], name="as it was called before")
    more = simulated(600)
    more["id"] = more["id"] + 500
    assert ingest(run_ingest, write(tmp_path / "more.fits", more))[1]["collections"] == {"sky": 1100}
    assert "radec__id" not in mongo["sky"].index_information(), "the same index is there"
    status, figures = ingest(run_ingest, new, "--rm")
    assert (status, figures["collections"]) == (0, {"sky": 500})
    row = mongo["sky"].find_one({"_id": 3_000_000_000_000_000_000})
    assert row is not None
    assert row["ra"] == simulated(500, seed=1)["ra"][0]
    assert "radec__id" in mongo["sky"].index_information()


def test_values_that_mongodb_has_not_are_rejected(run_ingest: Run, tmp_path: Path) -> None:
    columns = simulated(3)
    columns["id"] = np.array([1, 2**63 + 5, 3], np.uint64)
    status, figures = ingest(run_ingest, write(tmp_path / "sky.parquet", columns))
    assert (status, figures["stored"], figures["rejected"]) == (0, 2, 1)
    assert "takes more than 64 bits" in Path(figures["rejects"]).read_text()


def test_matching_begins_anew_with_a_catalogue_of_other_rows(
    run_ingest: Run, tmp_path: Path, mongo: MongoDatabase
) -> None:
    Rematches(mongo).begin("sky", {"ZTF": {"rows": 3}})
    Rematches(mongo).begin("other", {"ZTF": {"rows": 3}})
    ingest(run_ingest, write(tmp_path / "sky.fits", simulated(3)))
    assert [each["catalog"] for each in mongo["rematches"].find()] == ["other"]


def test_positions_of_another_catalogue(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    """Rows without a position have that of the row of another catalogue that they name; those that name none are told of."""
    (tmp_path / "sky.csv").write_text("id,ra,dec\n1,10.5,-3.25\n2,359.5,80\n")
    run_ingest("catalog", tmp_path / "sky.csv", "--collection", "sky", "--id", "id")
    (tmp_path / "z.csv").write_text("name,of,z\na,2,0.1\nb,1,0.2\nc,3,0.3\nd,,0.4\n")
    options = ("--collection", "redshifts", "--id", "name", "--position-from", "sky", "--position-id", "of")
    status, figures = run_ingest("catalog", tmp_path / "z.csv", *options)
    assert (status, figures["stored"], figures["rejected"]) == (0, 2, 2)
    reasons = [json.loads(line)["reason"] for line in Path(figures["rejects"]).read_text().splitlines()]
    assert reasons == ["no position: sky has no row 3", "no position: sky has no row None"]
    rows = {row.pop("_id"): row for row in mongo["redshifts"].find()}
    sky = {row.pop("_id"): row for row in mongo["sky"].find()}
    for name, place, z in (("a", 2, 0.1), ("b", 1, 0.2)):
        assert rows[name] == {
            "name": name,
            "of": place,
            "z": z,
            **{key: value for key, value in sky[place].items() if key != "id"},
        }
    assert "radec__id" in mongo["redshifts"].index_information()
    assert run_ingest("catalog", tmp_path / "z.csv", *options, "--verify")[1]["differing"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--position-from", "sky"), "--position-from needs --position-id or --id"),
        (("--position-id", "of"), "--position-id is for --position-from"),
        (("--position-from", "sky", "--id", "id", "--ra", "ra", "--dec", "dec"), "and neither --ra nor --dec"),
    ],
)
def test_positions_that_are_asked_for_otherwise(
    run_ingest: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "z.csv").write_text("id,z\n1,0.1\n")
    with pytest.raises(IngestError, match=said):
        run_ingest("catalog", tmp_path / "z.csv", "--collection", "redshifts", *options)
