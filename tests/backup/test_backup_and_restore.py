"""What was backed up is the same after it was restored, by MongoDB's own hashes; what isn't whole is named."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness_of_backups import IDS, backup, fill, hashes, listed, restore, silent
from pymongo import IndexModel

from kowalski.backup.checking import problems_of
from kowalski.backup.documents import id_of, key_of, rank, split
from kowalski.backup.journal import Journal
from kowalski.backup.manifest import Manifest
from kowalski.database.backup import Source
from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.restore import Target
from kowalski.errors import BackupError
from kowalski.settings import Database


def test_everything_is_the_same_after_a_restore(
    fresh_database: Callable[[], Database], second: MongoDatabase, folder: Path
) -> None:
    settings = fresh_database()
    first = connect(settings, "admin")  # only the admin may change what validators ask
    fill(first)
    made = backup(settings, folder)
    assert made.consistent
    assert made.count == sum(first[each.name].count_documents({}) for each in made.collections if each.type != "view")
    assert len(next(each for each in made.collections if each.name == "ZTF_alerts").chunks) > 5
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.glob("0*"))} == {0o700}
    assert list(problems_of(folder, made, silent)) == []

    restore(second, folder)
    assert hashes(second) == hashes(first)
    assert listed(second) == listed(first)
    first.client.close()


def test_what_is_too_old_goes_after_the_proof(mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:
    """Signs of life expire; that an index deletes them at once does not make a restore fail."""
    first = connect(mongo_settings)
    first["processes"].insert_one({"_id": 1, "at": datetime.now(UTC)})
    first["processes"].create_indexes([IndexModel([("at", 1)], name="at", expireAfterSeconds=86400)])
    backup(mongo_settings, folder)
    restore(second, folder)
    assert second["processes"].index_information()["at"]["expireAfterSeconds"] == 86400
    first.client.close()


def test_keys_are_those_of_the_server(mongo: MongoDatabase) -> None:
    """Every type of _id is read again by its key, and those with a rank stand in the server's order."""
    mongo["ids"].insert_many([{"_id": each} for each in IDS])
    source = Source(mongo)
    keys = [key for batch in source.read("ids") for key in _keys(batch)]
    assert len(keys) == len(IDS)
    with mongo.client.start_session() as session:
        assert sorted(map(key_of, source.chosen("ids", keys, session))) == sorted(keys)
    for number, key in enumerate(keys):
        assert [each for batch in source.read("ids", key) for each in _keys(batch)] == keys[number + 1 :], id_of(key)
    known = [each for each in map(rank, keys) if each is not None]
    assert len(known) >= 8
    assert known == sorted(known)


def _keys(batch: bytes) -> list[bytes]:
    return [key_of(document) for document in split(batch)]


def test_a_database_that_is_not_empty_is_refused(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    mongo["filters"].insert_one({"_id": 1})
    made = backup(mongo_settings, folder)
    second["users"].insert_one({"_id": "admin"})
    second["filters"].insert_many([{"_id": 1}, {"_id": 2}])
    before = hashes(second)
    with pytest.raises(BackupError, match=r"not empty: it has filters \(2\), users \(1\). With --drop"):
        restore(second, folder)
    assert hashes(second) == before
    assert restore(second, folder, drop=True) == made
    assert hashes(second) == hashes(mongo)
    with pytest.raises(BackupError, match="finished backup: name another folder"):
        backup(mongo_settings, folder)


def test_what_is_broken_is_named_and_not_restored(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    mongo["ZTF_alerts"].insert_many([{"_id": number, "x": bytes(1000)} for number in range(200)])
    made = backup(mongo_settings, folder)
    first, middle, last = (made.collections[0].chunks[number].file for number in (0, 1, -1))
    bent = bytearray((folder / middle).read_bytes())
    bent[len(bent) // 2] ^= 1
    (folder / middle).write_bytes(bent)
    (folder / last).unlink()
    (folder / first).write_bytes((folder / first).read_bytes()[:-1])
    found = list(problems_of(folder, made, silent))
    assert [any(file in problem for problem in found) for file in (first, middle, last)] == [True] * 3
    assert len(found) == 3
    second["users"].insert_one({"_id": "admin"})
    with pytest.raises(BackupError, match="nothing was restored") as refused:
        restore(second, folder, drop=True)
    assert middle in str(refused.value)
    assert Target(second).contents() == {"users": 1}


def test_a_damaged_manifest_is_noticed(mongo: MongoDatabase, mongo_settings: Database, folder: Path) -> None:
    mongo["filters"].insert_many([{"_id": number} for number in range(17)])
    backup(mongo_settings, folder)
    path = folder / "manifest.json"
    whole = path.read_text()
    for damaged in (
        whole.replace('"count": 17', '"count": 18'),
        whole[: len(whole) // 2],
        whole.replace('"hash"', '"hush"'),
    ):
        path.write_text(damaged)
        with pytest.raises(BackupError, match=r"manifest.json is damaged"):
            Manifest.load(folder)
    path.write_text(whole.replace('"format": 1', '"format": 99'))
    with pytest.raises(BackupError, match="a later Kowalski made it"):
        Manifest.load(folder)
    path.unlink()
    with pytest.raises(BackupError, match="holds no finished backup"):
        Manifest.load(folder)


def test_others_documents_are_noticed_in_the_end(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    mongo["filters"].insert_many([{"_id": number} for number in range(17)])
    backup(mongo_settings, folder)

    def intrude(doing: str, done: int) -> None:
        if doing.startswith("verifying"):
            second["filters"].update_one({"_id": 3}, {"$set": {"x": 1}})

    with pytest.raises(BackupError, match="filters has 17 documents, whose hash is"):
        restore(second, folder, progress=intrude)


def test_folders_of_others_are_left_alone(mongo_settings: Database, folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").touch()
    with pytest.raises(BackupError, match=r"other files in it \(thesis.tex\)"):
        backup(mongo_settings, folder)
    (folder / "thesis.tex").unlink()
    with Journal(folder) as journal:
        journal.begin("another", None)
        with pytest.raises(BackupError, match="is under way"):
            backup(mongo_settings, folder)
    with pytest.raises(BackupError, match="unfinished backup of database another"):
        backup(mongo_settings, folder)


def test_room_is_asked_for_before(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    mongo["filters"].insert_one({"_id": 1})
    with monkeypatch.context() as patch:
        patch.setattr("kowalski.backup.making.estimate", lambda source: 1 << 60)
        with pytest.raises(BackupError, match="GB are needed: make room"):
            backup(mongo_settings, folder)
    backup(mongo_settings, folder)
    monkeypatch.setattr("kowalski.database.restore.Target.free", lambda self: 3)
    with pytest.raises(BackupError, match=r"the server has 0.0 GB of free disk"):
        restore(second, folder)


def test_versions_of_catalogues_are_those_of_the_backup(mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    """Though the collections are new ones; what is restored over another catalogue is not taken for it."""
    first = connect(mongo_settings)
    first["Gaia_EDR3"].insert_many([{"_id": number} for number in range(4)])
    source = {"recipe": "gaia", "tag": None, "files": 1, "names": ["g.fits"], "sha256": "ab" * 32}
    key = CatalogVersions(first).ingested("Gaia_EDR3", source, datetime.now(UTC))
    backup(mongo_settings, folder)
    restore(second, folder)
    assert CatalogVersions(second).current(["Gaia_EDR3"]) == {"Gaia_EDR3": key}
    assert len(CatalogVersions(second).read([key])[key]["uuids"]) == 2
    first.client.close()
