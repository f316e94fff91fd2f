"""Alerts that came through the chain are the same when made again; what is changed in the database is what differs, and nothing else."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kowalski.alerts.survey import get_survey
from kowalski.archive.packets.reading import PacketArchive
from kowalski.database.catalog_versions import CatalogVersions
from kowalski.errors import VerifyError
from kowalski.local import verify
from kowalski.provenance.verification import Verifier

from .conftest import ZTF, World, real, simulated

Change = dict[str, Any]


@pytest.fixture(scope="module")
def candids(world: World) -> list[int]:
    """Simulated alerts of ZTF."""
    world.put_filters(ZTF)
    return world.take(ZTF, simulated(30))


@pytest.fixture
def chosen(world: World, candids: list[int]) -> int:
    """The last alert of an object that has several, with a history and a match."""
    for candid in reversed(candids):
        alert = stored(world, candid)
        aux = aux_of(world, candid)
        if aux["last_packet"]["candid"] == candid and aux["prv_candidates"] and aux["cross_matches"]["Gaia_EDR3"]:
            assert {"braai", "acai_h"} <= alert["classifications"].keys()
            return candid
    raise AssertionError("no alert has all that is to be changed")


def stored(world: World, candid: int) -> Change:
    return world.database["ZTF_alerts"].find_one({"candid": candid}) or {}


def aux_of(world: World, candid: int) -> Change:
    return world.database["ZTF_alerts_aux"].find_one({"_id": stored(world, candid)["objectId"]}) or {}


@contextmanager
def changed(world: World, collection: str, condition: Change, update: Change | None) -> Iterator[None]:
    """One document is changed, or gone, and as it was afterwards."""
    room = world.database[collection]
    (before,) = room.find(condition)
    if update is None:
        room.delete_one({"_id": before["_id"]})
    else:
        assert room.update_one({"_id": before["_id"]}, update).modified_count == 1
    try:
        yield
    finally:
        room.replace_one({"_id": before["_id"]}, before, upsert=True)


def differing(world: World, candid: int) -> dict[str, str]:
    """thing -> verdict of what is not the same."""
    return {f"{each.section}: {each.thing}": each.verdict for each in world.differing(candid)}


def test_simulated_alerts_are_the_same(world: World, candids: list[int]) -> None:
    assert len(candids) == 30
    for candid in candids:
        found = world.verify(candid)
        assert [each for each in found.rows if each.verdict != "same"] == []
        assert found.status == 0
        assert {each.section for each in found.rows} == {"document", "scores", "matches", "light curve", "filters", "outbox"}  # fmt: skip
        assert found.remarks[0].startswith("packet ztf_20240301_programid1:0:")


@pytest.mark.parametrize("name", ["ZTF", "PGIR", "WNTR", "TURBO", "LSST"])
def test_real_alerts_are_the_same(world: World, test_data: Path, name: str) -> None:
    survey = get_survey(name)
    if name == "LSST":
        schemas = {"LSST": world.config.schemas["LSST"].model_copy(update={"folder": str(test_data / "lsst_schemas")})}
        world.config = world.config.model_copy(update={"schemas": schemas})
        world.verifier.config = world.config
    world.put_filters(survey)
    taken = world.take(survey, real(test_data, survey))
    assert taken
    for candid in taken:
        found = world.verify(candid, survey)
        assert [each for each in found.rows if each.verdict != "same"] == []
        assert found.status == 0


def test_without_archive(world: World, candids: list[int], tmp_path: Path) -> None:
    """What the stored alert has is enough for all but its own fields."""
    verifier = Verifier(world.config, PacketArchive(tmp_path))
    for candid in candids[:10]:
        found = verifier.verify(candid)
        assert [each for each in found.rows if each.verdict != "same"] == []
        assert {each.section for each in found.rows} == {"scores", "matches", "filters", "outbox"}
        assert "holds no packet of it" in found.remarks[0]
    verifier.close()


def test_a_field_of_the_candidate(world: World, chosen: int) -> None:
    with changed(world, "ZTF_alerts", {"candid": chosen}, {"$set": {"candidate.magnr": 1.25}}):
        assert differing(world, chosen) == {"document: candidate.magnr": "differs"}
        (row,) = world.differing(chosen)
        assert (row.stored, world.verify(chosen).status) == (1.25, 1)
    with changed(world, "ZTF_alerts", {"candid": chosen}, {"$unset": {"cutoutScience.stampData": ""}}):
        assert differing(world, chosen) == {"document: cutoutScience.stampData": "differs"}


def test_a_score(world: World, chosen: int) -> None:
    score = stored(world, chosen)["classifications"]["braai"]
    with changed(world, "ZTF_alerts", {"candid": chosen}, {"$set": {"classifications.braai": score / 2 + 1e-3}}):
        assert differing(world, chosen) == {"scores: braai": "differs"}
    with changed(world, "ZTF_alerts", {"candid": chosen}, {"$set": {"classifications.braai": score + 1e-7}}):
        assert differing(world, chosen) == {}
    with changed(world, "ZTF_alerts", {"candid": chosen}, {"$set": {"classifications.braai_version": "d5"}}):
        assert differing(world, chosen) == {"scores: braai version": "differs"}


def test_what_made_a_score(world: World, chosen: int) -> None:
    record = {"_id": stored(world, chosen)["provenance"]}
    with changed(world, "provenance", record, {"$set": {"networks.braai.sha256": "00" * 32}}):
        assert differing(world, chosen) == {"scores: braai weights": "differs"}
    with changed(world, "provenance", record, {"$set": {"backend.version": "0.1"}}):
        assert differing(world, chosen) == {"scores: backend": "differs"}
    with changed(world, "provenance", record, {"$set": {"kowalski": "3.9.9"}}):
        assert differing(world, chosen) == {"scores: Kowalski": "changed"}
        assert world.verify(chosen).status == 0
    with changed(world, "provenance", record, None):
        assert differing(world, chosen) == {"scores: made by": "differs"}


def test_a_network_that_is_not_here(world: World, chosen: int) -> None:
    kept = world.verifier._scorers.pop("ZTF")
    ztf = world.config.ml.surveys["ZTF"]
    fewer = ztf.model_copy(update={"models": {"braai": ztf.models["braai"]}})
    ml = world.config.ml.model_copy(update={"surveys": {"ZTF": fewer}})
    world.verifier.config = world.config.model_copy(update={"ml": ml})
    try:
        found = world.verify(chosen)
        assert [(each.thing, each.verdict, each.note) for each in found.rows if each.verdict != "same"] == [
            ("acai_h", "not checked", "the settings name no such network")
        ]
        assert found.status == 2
    finally:
        world.verifier.config = world.config
        world.verifier._scorers["ZTF"] = kept


def test_a_match(world: World, chosen: int) -> None:
    name = stored(world, chosen)["objectId"]
    with changed(world, "ZTF_alerts_aux", {"_id": name}, {"$set": {"cross_matches.Gaia_EDR3.0.parallax": 123.0}}):
        assert differing(world, chosen) == {"matches: Gaia_EDR3[0].parallax": "differs"}
    with changed(world, "ZTF_alerts_aux", {"_id": name}, {"$set": {"cross_matches.Gaia_EDR3": []}}):
        assert differing(world, chosen) == {"matches: Gaia_EDR3": "differs"}


def test_the_version_of_a_catalogue(world: World, chosen: int) -> None:
    """An ingestion has left a record; the rows at the object's place are the same."""
    source = {"recipe": "gaia", "tag": None, "files": 1, "bytes": 10, "names": ["gaia.fits"], "sha256": "ab" * 32}
    versions = CatalogVersions(world.database)
    before = versions.current(["Gaia_EDR3"])
    key = versions.ingested("Gaia_EDR3", source, datetime.now(UTC))
    try:
        assert versions.current(["Gaia_EDR3"]) == {"Gaia_EDR3": key} != before
        (row,) = world.differing(chosen)
        assert (row.thing, row.verdict) == ("Gaia_EDR3 version", "differs")
        assert row.stored.startswith("unknown, ")
        assert row.made.startswith("gaia.fits by gaia, sha256 abababababab, ")
    finally:
        world.database["catalog_versions"].delete_one({"_id": key})
    assert differing(world, chosen) == {}


def test_a_catalogue_that_grew_by_itself(world: World, chosen: int) -> None:
    """Another number of rows is another version, noted once a day, and no difference; another recipe is one."""
    record = {"_id": aux_of(world, chosen)["matched"]["versions"]}
    versions = CatalogVersions(world.database)
    name = versions.current(["Gaia_EDR3"])["Gaia_EDR3"]
    (before,) = world.database["catalog_versions"].find({"_id": name})
    earlier = {**before, "_id": "Gaia_EDR3:then", "rows": 5, "at": before["at"].replace(year=2020)}
    world.database["catalog_versions"].insert_one(earlier)
    with changed(world, "provenance", record, {"$set": {"catalogs.Gaia_EDR3": "Gaia_EDR3:then"}}):
        (row,) = world.differing(chosen)
        assert (row.thing, row.verdict) == ("Gaia_EDR3 version", "changed")
        assert row.stored.startswith("unknown, 5 rows as of 2020-")
        assert world.verify(chosen).status == 0
    world.database["catalog_versions"].delete_one({"_id": "Gaia_EDR3:then"})
    with changed(world, "provenance", record, {"$set": {"recipes.Gaia_EDR3": "0"}}):
        assert differing(world, chosen) == {"matches: Gaia_EDR3 recipe": "differs"}


def test_a_point_of_the_light_curve(world: World, chosen: int) -> None:
    aux = aux_of(world, chosen)
    own = [place for place, each in enumerate(aux["prv_candidates"]) if each.get("alert_candid") in (None, chosen)]
    point = aux["prv_candidates"][own[-1]]
    path = f"prv_candidates.{own[-1]}"
    field = "magpsf" if "magpsf" in point else "diffmaglim"
    with changed(world, "ZTF_alerts_aux", {"_id": aux["_id"]}, {"$set": {f"{path}.{field}": 11.5}}):
        (thing,) = differing(world, chosen)
        assert thing.startswith("light curve: prv_candidates ")
        assert thing.endswith(f" {field}")
    with changed(world, "ZTF_alerts_aux", {"_id": aux["_id"]}, {"$pull": {"prv_candidates": {"jd": point["jd"]}}}):
        (row,) = world.differing(chosen)
        assert (row.section, row.made, row.verdict) == ("light curve", "brought by the packet", "differs")


def test_a_pass(world: World, chosen: int) -> None:
    passes = [each["_id"] for each in world.database["passes"].find({"candid": chosen}).sort("_id", 1)]
    assert len(passes) == 2
    first = passes[0]
    with changed(world, "passes", {"_id": first}, {"$set": {"annotations.candid": 3}}):
        (row,) = world.differing(chosen)
        assert (row.thing.endswith("annotations.candid"), row.verdict, row.note) == (True, "differs", "passes")
    with changed(world, "outbox", {"_id": first}, {"$set": {"group_id": 8}}):
        assert differing(world, chosen) == {f"outbox: {first} group_id": "differs"}
    with changed(world, "outbox", {"_id": first}, None):
        assert differing(world, chosen) == {f"outbox: {first}": "differs"}
    with (
        changed(world, "outbox", {"_id": first}, None),
        changed(world, "outbox", {"_id": f"{first}:result"}, None),
        changed(world, "passes", {"_id": first}, None),
    ):
        (row,) = world.differing(chosen)
        assert (row.section, row.stored, row.made, row.verdict) == ("filters", "not passed", "passes", "differs")


def test_a_pass_that_was_none(world: World, chosen: int) -> None:
    (other,) = world.database["filters"].find({"catalog": "ZTF_alerts", "active_fid": "v3"})
    one = world.database["passes"].find_one({"candid": chosen}) or {}
    invented = {**one, "_id": f"ZTF:{chosen}:{other['filter_id']}", "filter_id": other["filter_id"], "fid": "v3"}
    world.database["passes"].insert_one(invented)
    try:
        assert differing(world, chosen) == {f"filters: filter {other['filter_id']} v3": "differs"}
    finally:
        world.database["passes"].delete_one({"_id": invented["_id"]})


def test_a_filter_that_changed(world: World, chosen: int) -> None:
    """A newer version is no matter; permissions and actions are, and so is a version that is gone."""
    condition = {"catalog": "ZTF_alerts", "active_fid": "v1"}
    (document,) = world.database["filters"].find(condition)
    newer = {"fid": "v9", "pipeline": "[]", "created_at": datetime.now(UTC)}
    with changed(world, "filters", condition, {"$push": {"fv": newer}, "$set": {"active_fid": "v9"}}):
        assert differing(world, chosen) == {}
    with changed(world, "filters", condition, {"$set": {"autosave.comment": "another"}}):
        assert sorted(differing(world, chosen)) == [
            f"filters: filter {document['filter_id']} v1 state",
            f"outbox: ZTF:{chosen}:{document['filter_id']} autosave.comment",
            f"outbox: ZTF:{chosen}:{document['filter_id']} filter_state",
            f"outbox: ZTF:{chosen}:{document['filter_id']}:result filter_state",
        ]
    with changed(world, "filters", condition, {"$set": {"fv": []}}):
        found = world.verify(chosen)
        assert {each.verdict for each in found.rows} == {"same", "not checked"}
        assert found.status == 2


def test_alerts_from_before(world: World, chosen: int) -> None:
    """Without records all is compared none the less."""
    alert, name = stored(world, chosen), stored(world, chosen)["objectId"]
    with (
        changed(world, "ZTF_alerts", {"candid": chosen}, {"$unset": {"provenance": ""}, "$set": {"classifications.braai": 2.0}}),
        changed(world, "ZTF_alerts_aux", {"_id": name}, {"$unset": {"matched.versions": ""}}),
    ):  # fmt: skip
        found = differing(world, chosen)
    assert found.pop("scores: made by") == "not recorded"
    assert found.pop("scores: braai") == "differs"
    assert set(found.values()) == {"not recorded"}
    assert "matches: Gaia_EDR3 version" in found
    assert alert["classifications"]["braai"] <= 1


# the command


def command(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(verify, "load_config", lambda: world.config)
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    return verify.run(parser.parse_args(arguments))


def test_the_command(world: World, chosen: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert command(world, monkeypatch, str(chosen)) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"ZTF alert {chosen} of ")
    assert said.rstrip().endswith(" same, 0 differ")
    with changed(world, "ZTF_alerts", {"candid": chosen}, {"$set": {"candidate.magnr": 1.25}}):
        assert command(world, monkeypatch, str(chosen), "--survey", "ztf", "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert [each["thing"] for each in told["rows"] if each["verdict"] == "differs"] == ["candidate.magnr"]
        assert (told["status"], told["counts"]["differs"]) == (1, 1)
        assert command(world, monkeypatch, str(chosen)) == 1
        assert "1 differs" in capsys.readouterr().out


def test_what_cannot_be_verified(
    world: World, chosen: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command(world, monkeypatch, "12345") == 2
    assert "no survey has an alert 12345; no packet of it is archived either" in capsys.readouterr().err
    assert command(world, monkeypatch, str(chosen), "--survey", "PGIR") == 2
    assert f"PGIR_alerts has no alert {chosen}" in capsys.readouterr().err
    world.database["PGIR_alerts"].insert_one({"candid": chosen})
    try:
        assert command(world, monkeypatch, str(chosen)) == 2
        assert f"candid {chosen} is one of PGIR and one of ZTF: add --survey" in capsys.readouterr().err
        assert command(world, monkeypatch, str(chosen), "--survey", "ZTF") == 0
    finally:
        world.database["PGIR_alerts"].delete_one({"candid": chosen})
    bare = Verifier(world.config, PacketArchive(tmp_path))
    with (
        changed(world, "ZTF_alerts", {"candid": chosen}, {"$unset": {"cutoutScience": ""}}),
        pytest.raises(VerifyError, match="no packet to verify it with: none is archived, .* cutoutScience is missing"),
    ):
        bare.verify(chosen)
    bare.close()


def test_a_packet_that_is_broken(world: World, chosen: int, tmp_path: Path) -> None:
    """It is said, and what the stored alert has of it is taken."""
    folder = tmp_path / "copy"
    for path in world.verifier.archive.folder.rglob("*"):
        if path.is_file():
            copy = folder / path.relative_to(world.verifier.archive.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (kept,) = PacketArchive(folder).find(chosen, "ZTF")
    assert kept.whole is not None
    file, entry = kept.whole
    data = bytearray(file.path.read_bytes())
    data[entry.position + entry.size // 2] ^= 0xFF
    file.path.write_bytes(bytes(data))
    verifier = Verifier(world.config, PacketArchive(folder))
    found = verifier.verify(chosen)
    verifier.close()
    assert "can't be read" in found.remarks[0]
    assert found.status == 0
    assert replace(found, remarks=[]).as_dict()["counts"]["differs"] == 0
