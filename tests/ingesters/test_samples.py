"""The real samples: the counts that are known of them, and documents as clients know them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kowalski.database.client import MongoDatabase

Run = Callable[..., tuple[int, dict[str, Any]]]

COUNTS = [
    ("igaps", "catalogs", (), {"IGAPS_DR2": 100}),
    ("vlass", "catalogs", (), {"VLASS_DR1": 27}),
    ("ptf_matchfiles", "catalogs", (), {"PTF_sources": 1145, "PTF_exposures": 2}),
    ("ztf_public", "catalogs", ("--tag", "DR5"), {"ZTF_public_sources_DR5": 5449}),
    ("ztf_matchfiles", "ztf_matchfiles", (), {"ZTF_sources_20210401": 16, "ZTF_exposures_20210401": 10}),
    ("ztf_source_features", "ztf_source_features", (), {"ZTF_source_features_20201201": 123}),
    ("ztf_source_classifications", "", (), {"ZTF_source_classifications_DR5": 9875}),
]


@pytest.mark.parametrize(("recipe", "folder", "options", "counts"), COUNTS, ids=[each[0] for each in COUNTS])
def test_all_of_each_sample_is_there_and_verified(
    recipe: str,
    folder: str,
    options: tuple[str, ...],
    counts: dict[str, int],
    run_ingest: Run,
    test_data: Path,
    mongo: MongoDatabase,
) -> None:
    status, figures = run_ingest(recipe, test_data / folder, *options)
    assert (status, figures["collections"], figures["failed"]) == (0, counts, [])
    assert figures["read"] == figures["stored"] + figures["cut"] + figures["rejected"]
    assert not [name for name in mongo.list_collection_names() if name.startswith("_incoming_")]
    status, figures = run_ingest(recipe, test_data / folder, *options)
    assert (status, figures["stored"], figures["collections"]) == (0, 0, counts), "nothing is doubled"
    status, figures = run_ingest(recipe, test_data / folder, *options, "--verify")
    assert (status, figures["lacking"], figures["differing"]) == (0, 0, 0)


def test_a_mixed_folder_gives_each_recipe_its_own_files(run_ingest: Run, test_data: Path) -> None:
    for recipe, files in (("igaps", 1), ("ztf_matchfiles", 2), ("ptf_matchfiles", 1), ("ztf_source_features", 1)):
        assert run_ingest(recipe, test_data, "--dry-run")[1]["files"] == files


def test_rows_of_catalogues_are_as_published(run_ingest: Run, test_data: Path, mongo: MongoDatabase) -> None:
    run_ingest("igaps", test_data / "catalogs")
    row = mongo["IGAPS_DR2"].find_one({"name": "J063613.44-042300.8"})
    assert row is not None
    assert row["i"] == pytest.approx(19.67967378)
    assert (row["iTruncated"], row["iBadPix"]) == (True, False)
    assert "ha" not in row, "there is no value"
    assert "haClass" not in row, "nor where the file has its number for none"
    assert row["coordinates"]["radec_geojson"]["coordinates"] == pytest.approx([99.05601239 - 180, -4.38354382])
    assert row["coordinates"]["radec_str"][0].startswith("06:36:13.4")
    assert {"radec__id", "healpix_16"} <= set(mongo["IGAPS_DR2"].index_information())
    run_ingest("vlass", test_data / "catalogs")
    row = mongo["VLASS_DR1"].find_one({})
    assert row is not None
    assert row["_id"] == row["Component_name"]
    assert len(row) == 17, "its 15 columns, _id and coordinates"


def test_matchfiles_have_light_curves(run_ingest: Run, test_data: Path, mongo: MongoDatabase) -> None:
    run_ingest("ztf_matchfiles", test_data / "ztf_matchfiles", "--tag", "x")
    source = mongo["ZTF_sources_x"].find_one({"_id": 10**13 + 245 * 10**9 + 36 * 10**7 + 2 * 10**6})
    assert source is not None
    assert {name: source[name] for name in ("filter", "field", "ccd", "quad", "rc", "matchid")} == {
        "filter": 2, "field": 245, "ccd": 10, "quad": 1, "rc": 36, "matchid": 0,
    }  # fmt: skip
    assert len(source["data"]) == 56
    times = [point["hjd"] for point in source["data"]]
    assert times == sorted(times)
    assert source["iqr"] == pytest.approx(source["percentiles"][8] - source["percentiles"][3])
    assert mongo["ZTF_exposures_x"].find_one({"_id": 10**16 + 245 * 10**12 + 36 * 10**10 + 2 * 10**9 + 56648128})
    assert {point["uexpid"] % 10**9 for point in source["data"]} >= {56648128}


def test_features_say_what_the_database_knows_of_the_place(
    run_ingest: Run, test_data: Path, mongo: MongoDatabase
) -> None:
    path = test_data / "ztf_source_features"
    run_ingest("ztf_source_features", path)
    source = mongo["ZTF_source_features_20201201"].find_one({"n": 58})
    assert source is not None
    assert {source[name] for name in ("field", "ccd", "quad")} == {331, 2, 3}
    assert (source["n_ztf_alerts"], "mean_ztf_alert_braai" in source, "dmdt" in source) == (0, False, False)
    assert source["median"] == pytest.approx(17.625)
    place = source["coordinates"]["radec_geojson"]
    mongo["ZTF_alerts"].insert_many([{"coordinates": {"radec_geojson": place}, "classifications": {"braai": score}} for score in (0.5, 1.0)])  # fmt: skip
    mongo["AllWISE"].insert_one({"_id": 7, "w1mpro": 12.5, "coordinates": {"radec_geojson": place}})
    points = [{"hjd": 1.0, "mag": 18.0, "catflags": 0}, {"hjd": 3.0, "mag": 18.4}, {"hjd": 4.0, "mag": 9.0, "catflags": 32768}]  # fmt: skip
    mongo["ZTF_sources_20201201"].insert_one({"_id": source["_id"], "data": points})
    status, figures = run_ingest("ztf_source_features", path)
    assert (status, figures["stored"], figures["known"]) == (0, 1, 122)
    source = mongo["ZTF_source_features_20201201"].find_one({"_id": source["_id"]})
    assert source is not None
    assert (source["n_ztf_alerts"], source["mean_ztf_alert_braai"]) == (2, 0.75)
    assert (source["AllWISE___id"], source["AllWISE__w1mpro"]) == (7, 12.5)
    histogram = source["dmdt"]["v20200318"]
    assert histogram[17][9] == 1.0, "the pair of good points differs by 0.4 mag and 2 days"
    assert sum(map(sum, histogram)) == 1.0


def test_classifications_of_one_source_come_together(run_ingest: Run, tmp_path: Path, mongo: MongoDatabase) -> None:
    import h5py

    for folder, score in (("xgb/d15.e.c", 0.25), ("dnn/vnv", 0.5)):
        (tmp_path / "c" / folder).mkdir(parents=True)
        with h5py.File(tmp_path / "c" / folder / "1.h5", "w") as file:
            file["preds"] = [[10487442036103.0, score]]
    run_ingest("ztf_source_classifications", tmp_path / "c")
    assert mongo["ZTF_source_classifications_DR5"].find_one() == {"_id": 10487442036103, "e_xgb": 0.25, "vnv_dnn": 0.5}
