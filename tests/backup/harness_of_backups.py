"""What the tests of backups share: everything a database may hold, and a hash of it that MongoDB itself makes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import Binary, Decimal128, Int64, ObjectId
from gridfs import GridFS
from pymongo import IndexModel

from kowalski.backup.making import make_backup
from kowalski.backup.manifest import Manifest
from kowalski.backup.restoring import restore_backup
from kowalski.database.backup import Source
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.restore import Target
from kowalski.settings import Database

#: an _id of every type that there is
IDS: list[Any] = [
    None, 1, 2.5, Int64(1 << 40), Decimal128("1.5"), "ZTF18aaaaaaa", "ä", {"jd": 1.5, "fid": 1}, Binary(b"\0x", 0), Binary(b"u" * 16, 4),
    ObjectId(), True, False, datetime(2026, 1, 1, tzinfo=UTC), float("nan"), float("inf"), -1, "",
]  # fmt: skip


def silent(doing: str, done: int) -> None:
    pass


def backup(settings: Database, folder: Path, progress: Any = silent) -> Manifest:
    """A backup made as the command does it."""
    database = connect(settings, "reader")
    try:
        return make_backup(Source(database), folder, "4.0.0", progress)
    finally:
        database.client.close()


def restore(database: MongoDatabase, folder: Path, drop: bool = False, progress: Any = silent) -> Manifest:
    return restore_backup(Target(database), folder, drop, progress)


def hashes(database: MongoDatabase) -> dict[str, str]:
    """MongoDB's own hash of each collection."""
    found: dict[str, str] = database.command("dbHash")["collections"]
    return {name: each for name, each in found.items() if not name.startswith("system.")}


def listed(database: MongoDatabase) -> dict[str, Any]:
    """Type, options and indexes of all collections and views."""
    about = {each["name"]: each for each in database.list_collections() if not each["name"].startswith("system.")}
    return {
        name: (each["type"], each["options"], each["type"] == "view" or database[name].index_information())
        for name, each in about.items()
    }


def fill(database: MongoDatabase) -> None:
    """The database holds one of everything, and alerts for several files."""
    alerts = [{"_id": number, "candid": Int64(number), "cutout": bytes(900), "jd": number / 7} for number in range(300)]
    database["ZTF_alerts"].insert_many(alerts)
    database["ZTF_alerts"].create_indexes(
        [
            IndexModel([("candid", 1)], name="candid", unique=True),
            IndexModel([("jd", -1), ("candid", 1)], name="jd_candid"),
            IndexModel([("place", "2dsphere")], name="place"),
            IndexModel([("jd", 1)], name="late", partialFilterExpression={"jd": {"$gt": 2.0}}),
        ]
    )
    database["ids"].insert_many([{"_id": each, "n": number, "x": "y" * 2000} for number, each in enumerate(IDS)])
    database["processes"].insert_one({"_id": 1, "at": datetime(2020, 1, 1, tzinfo=UTC)})
    database["strict"].insert_one({"name": 1})
    database.command("collMod", "strict", validator={"name": {"$type": "string"}})
    database.create_collection("capped", capped=True, size=100_000)
    database["capped"].insert_many([{"_id": number} for number in range(20)])
    database.create_collection("german", collation={"locale": "de", "strength": 1})
    database["german"].insert_many([{"_id": name, "x": "z" * 3000} for name in ("b", "ä", "Z", "ö", "c", "d")])
    database.create_collection("empty")
    database.create_collection("bright", viewOn="ZTF_alerts", pipeline=[{"$match": {"jd": {"$lt": 2}}}])
    files = GridFS(database, "quarantine_files")
    files.put(bytes(range(256)) * 4000, _id="topic:0:1", filename="topic:0:1")
