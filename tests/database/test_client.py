"""Connections: rights by role, durable writes, and errors that know whether to try again."""

from collections.abc import Callable
from typing import Any

import pytest
from bson.errors import InvalidDocument
from pymongo import MongoClient, UpdateOne, errors

from kowalski.config import build, settings_tree
from kowalski.database.client import MongoDatabase, Role, client_options, connect, translated
from kowalski.errors import DatabaseError, DatabaseUnavailable, TooLarge
from kowalski.settings import Database

SETTINGS = build(settings_tree([], {})).database


def options(role: Role = "writer", **changes: Any) -> dict[str, Any]:
    return client_options(SETTINGS.model_copy(update=changes), role)


def test_writes_are_durable(mongo: MongoDatabase) -> None:
    assert mongo.write_concern.document == {"w": "majority", "j": True}


def test_one_server_or_a_replica_set() -> None:
    assert options()["directConnection"] is True
    assert "replicaSet" not in options()
    assert options(replica_set="rs0")["replicaSet"] == "rs0"
    assert "directConnection" not in options(replica_set="rs0")


def test_routers_of_a_sharded_cluster() -> None:
    """Several hosts without a set's name are asked what they are, which a direct connection can't be."""
    found = options(host="router1:27017,router2:27017")
    assert not {"replicaSet", "directConnection"} & found.keys()
    MongoClient(**found, connect=False).close()


def test_a_name_that_stands_for_servers() -> None:
    found = options(host="cluster.example.org", srv=True, password="x")
    assert found["host"] == "mongodb+srv://cluster.example.org"
    assert found["tls"] is True
    assert not {"port", "directConnection"} & found.keys()


def test_each_role_has_its_user() -> None:
    secrets = {"admin_password": "a", "password": "w", "reader_password": "r"}
    users = {role: options(role, **secrets) for role in ("admin", "writer", "reader")}
    assert {role: (each["username"], each["password"], each["authSource"]) for role, each in users.items()} == {
        "admin": ("mongoadmin", "a", "admin"),
        "writer": ("kowalski", "w", "kowalski"),
        "reader": ("kowalski_reader", "r", "kowalski"),
    }
    assert "username" not in options()


def test_a_reader_only_reads(mongo_settings: Database, mongo: MongoDatabase) -> None:
    mongo["c"].insert_one({"_id": 1})
    reader = connect(mongo_settings, "reader")
    assert reader["c"].find_one() == {"_id": 1}
    for write in (lambda: reader["c"].insert_one({}), lambda: reader["c"].drop(), lambda: reader["c"].delete_many({})):
        with pytest.raises(DatabaseError, match="try it") as caught, translated("try it"):
            write()
        assert not caught.value.retriable
    with pytest.raises(DatabaseError), translated("try it"):
        list(reader["c"].aggregate([{"$out": "d"}]))
    reader.client.close()


def bulk(code: int = 0, concern: bool = False) -> errors.BulkWriteError:
    faults = [{"code": code, "errmsg": "no", "index": 0, "op": {"cutout": "x" * 10_000}}] if code else []
    concerns = [{"code": 100, "errmsg": "not durable"}] if concern else []
    return errors.BulkWriteError({"writeErrors": faults, "writeConcernErrors": concerns, "nInserted": 0})


@pytest.mark.parametrize(
    "error",
    [
        errors.AutoReconnect("x"),
        errors.ServerSelectionTimeoutError("x"),
        errors.NotPrimaryError("x"),
        errors.NetworkTimeout("x"),
        errors.OperationFailure("x", 11600),
        errors.OperationFailure("disk is full", 14031),
        errors.OperationFailure("User writes blocked", 371),
        errors.WTimeoutError("x", 64),
        bulk(11602),
        bulk(14031),
        bulk(concern=True),
    ],
)
def test_what_passes_by_itself_is_to_be_tried_again(error: Exception) -> None:
    with pytest.raises(DatabaseUnavailable, match="^do it: ") as caught, translated("do it"):
        raise error
    assert caught.value.retriable


@pytest.mark.parametrize(
    "error",
    [
        errors.ExecutionTimeout("x", 50),
        errors.OperationFailure("x", 2),
        errors.DuplicateKeyError("x", 11000),
        errors.DocumentTooLarge("x"),
        InvalidDocument("x"),
        OverflowError("MongoDB can only handle up to 8-byte ints"),
        bulk(16755),
        bulk(11000),
    ],
)
def test_what_is_wrong_stays_wrong(error: Exception) -> None:
    with pytest.raises(DatabaseError, match="^do it: ") as caught, translated("do it"):
        raise error
    assert not caught.value.retriable
    assert len(str(caught.value)) < 1000


def test_other_errors_are_not_mongodbs() -> None:
    with pytest.raises(KeyError), translated("do it"):
        raise KeyError("x")


@pytest.mark.parametrize("send", [{2**70: 1}, {"a": 2**70}, {"a": object()}, {"a": "x" * 17_000_000}])
def test_what_cannot_be_sent(mongo: MongoDatabase, send: dict[Any, Any]) -> None:
    with pytest.raises(DatabaseError) as caught, translated("send"):
        mongo["c"].insert_one(send)
    assert not caught.value.retriable


def test_what_is_too_large_is_named(mongo: MongoDatabase) -> None:
    """By the driver, by the server, and where it grew too large."""
    mongo["c"].insert_one({"_id": 1, "a": "x" * 9_000_000})
    writes: list[Callable[[], Any]] = [
        lambda: mongo["c"].insert_many([{"a": "x" * 17_000_000}]),
        lambda: mongo["c"].insert_one({"a": "x" * (2**24 - 20)}),
        lambda: mongo["c"].update_one({"_id": 1}, {"$set": {"b": "x" * 9_000_000}}),
        lambda: mongo["c"].bulk_write([UpdateOne({"_id": 1}, {"$set": {"b": "x" * 9_000_000}})]),
    ]
    for write in writes:
        with pytest.raises(TooLarge, match="^store: "), translated("store"):
            write()


def test_a_server_that_is_not_there(mongo_settings: Database) -> None:
    elsewhere = client_options(mongo_settings.model_copy(update={"port": 1})) | {"serverSelectionTimeoutMS": 50}
    client = MongoClient[dict[str, Any]](**elsewhere)
    with pytest.raises(DatabaseUnavailable), translated("look"):
        client["x"]["c"].find_one()
    client.close()
