"""A backup made while others write is one point in time: what held between documents at every moment holds in it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness_of_backups import IDS, backup, fill, hashes, restore, silent

from kowalski.backup import making
from kowalski.backup.journal import Journal
from kowalski.database.backup import Source
from kowalski.database.client import MongoDatabase, connect
from kowalski.errors import BackupError
from kowalski.settings import Database

#: documents of a collection, what each has in the beginning, and transfers that are remembered
ACCOUNTS, BALANCE, KEPT = 200, 100, 30
ACTIVE = ("a", "b")


class Bank:
    """Moves money from one collection to the other, and notes it, so that at every moment the sum is the same and the notes complete."""

    def __init__(self, database: MongoDatabase):
        self.database = database
        for name in ACTIVE:
            database[name].insert_many([{"_id": n, "balance": BALANCE, "x": bytes(800)} for n in range(ACCOUNTS)])
        self.transfers = 0
        self.more = threading.Condition()

    def transfer(self) -> None:
        number = self.transfers
        with self.database.client.start_session() as session, session.start_transaction():
            for name, amount in zip(ACTIVE, (-1, 1), strict=True):
                place = {"_id": number * 37 % ACCOUNTS}
                self.database[name].update_one(place, {"$inc": {"balance": amount}}, session=session)
            self.database["notes"].insert_one({"_id": number, "x": bytes(300)}, session=session)
            self.database["notes"].delete_one({"_id": number - KEPT}, session=session)
        with self.more:
            self.transfers += 1
            self.more.notify_all()

    def wait(self, number: int) -> None:
        """So many more transfers were made."""
        with self.more:
            goal = self.transfers + number
            assert self.more.wait_for(lambda: self.transfers >= goal, 60)


@contextmanager
def busy(bank: Bank) -> Iterator[None]:
    """The bank works."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            bank.transfer()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def require_balance(database: MongoDatabase) -> None:
    money = [account["balance"] for name in ACTIVE for account in database[name].find()]
    assert len(money) == 2 * ACCOUNTS
    assert sum(money) == 2 * ACCOUNTS * BALANCE
    notes = sorted(note["_id"] for note in database["notes"].find())
    assert notes == list(range(notes[-1] - KEPT + 1, notes[-1] + 1))
    moved = sum(account["balance"] - BALANCE for account in database["b"].find())
    assert moved == notes[-1] + 1, "as many notes were made as money was moved"


def test_it_is_one_point_in_time(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(making, "FEW", 10)
    monkeypatch.setattr(making, "ROUNDS", 3)
    bank = Bank(mongo)
    seen = []

    def progress(doing: str, done: int) -> None:
        seen.append(doing)
        if done or doing.startswith("reading"):
            bank.wait(5)

    with busy(bank):
        bank.wait(KEPT)
        made = backup(mongo_settings, folder, progress)
    assert made.consistent
    assert "reading what has changed in a" in seen
    restore(second, folder)
    require_balance(second)


def test_without_a_replica_set_it_says_that_it_is_not(mongo: MongoDatabase, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    bank = Bank(mongo)
    source = Source(mongo)
    source.follows = False
    made = making.make_backup(source, folder, "4.0.0", lambda doing, done: bank.transfer() if done else None)
    assert not made.consistent
    assert made.as_of is None
    restore(second, folder)
    with pytest.raises(AssertionError):
        require_balance(second)


def test_collections_that_come_and_go(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    for name in ("b", "c", "d", "z"):
        mongo[name].insert_many([{"_id": n, "name": name, "x": bytes(800)} for n in range(100)])

    def progress(doing: str, done: int) -> None:
        if doing == "d" and done and "a" not in mongo.list_collection_names():
            mongo["b"].drop()
            mongo["z"].rename("c", dropTarget=True)
            mongo["a"].insert_many([{"_id": n} for n in range(100)])
            mongo["d"].delete_many({"_id": {"$lt": 90}})

    made = backup(mongo_settings, folder, progress)
    assert [each.name for each in made.collections] == ["a", "c", "d"]
    restore(second, folder)
    assert hashes(second) == hashes(mongo)


def test_writers_that_are_too_fast_are_blamed(mongo: MongoDatabase, mongo_settings: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A collection that is another one at every look is never read as of one moment."""
    names = iter(range(100))

    def progress(doing: str, done: int) -> None:
        if done:
            mongo[f"new_{next(names)}"].insert_one({})

    mongo["first"].insert_one({})
    with pytest.raises(BackupError, match="collections come and go"):
        backup(mongo_settings, folder, progress)
    assert backup(mongo_settings, folder, silent).consistent


def test_it_begins_anew_when_changes_were_forgotten(mongo: MongoDatabase, mongo_settings: Database, second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    bank = Bank(mongo)
    calls = iter(range(100))

    def give_up(doing: str, done: int) -> None:
        if next(calls) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(mongo_settings, folder, give_up)
    with mongo.watch() as stream:
        for _ in range(2 * KEPT):
            bank.transfer()
        data = str(stream.next()["_id"]["_data"])
    with Journal(folder) as journal:
        assert journal.collections["a"].whole
        forgotten = {"_data": f"{data[:2]}{1:08x}{data[10:]}"}  # of 1970
        journal.add_changes({}, set(), forgotten)
    seen = []
    backup(mongo_settings, folder, lambda doing, done: seen.append(doing))
    assert seen[0].startswith("MongoDB has forgotten what changed")
    restore(second, folder)
    assert hashes(second) == hashes(mongo)


def test_all_kinds_of_ids_are_followed(fresh_database: Callable[[], Database], second: MongoDatabase, folder: Path) -> None:  # fmt: skip
    """Documents of every kind of _id change, or go and come again, after they were read."""
    settings = fresh_database()
    first = connect(settings, "admin")
    fill(first)

    def progress(doing: str, done: int) -> None:
        if done and doing == "strict":
            for name in ("ids", "german"):
                first[name].update_many({}, {"$set": {"x": "changed"}})
            first["ids"].delete_one({"_id": 1})
            first["ids"].insert_one({"_id": 1.0})  # the same to MongoDB, another document to others
            first["ids"].delete_one({"_id": "\u00e4"})

    backup(settings, folder, progress)
    restore(second, folder)
    assert hashes(second) == hashes(first)
    assert second["ids"].count_documents({"x": "changed"}) == len(IDS) - 2
    first.client.close()
