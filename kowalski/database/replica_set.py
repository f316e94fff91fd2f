"""A mongod of our own made ready: a replica set of one member, and the three users that Kowalski logs in as."""

import time
from collections.abc import Callable
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from kowalski.database.client import Role, client_options, is_transient, translated
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.settings import Database

UNAUTHORIZED, AUTHENTICATION_FAILED, ALREADY_INITIALIZED, NOT_A_MEMBER, DUPLICATE_USER = 13, 18, 23, 93, 51003

Client = MongoClient[dict[str, Any]]


@translated("mongod: prepare")
def prepare(settings: Database, timeout: float) -> None:
    """mongod at ``settings.host:port`` is primary of its replica set and knows admin, writer and reader.

    Can be repeated: what is there stays, changed passwords of writer and reader are set anew, and data that came from
    another port become primary here.

    Parameters
    ----------
    timeout : s until mongod has to be ready

    Raises
    ------
    DatabaseUnavailable : mongod was not ready in time
    DatabaseError : its data were made with another admin
    """
    deadline = time.monotonic() + timeout
    with _client(settings) as anyone:
        _wait(lambda: bool(anyone.admin.command("hello")), "did not answer", deadline)
        if not _can_log_in(settings, "admin"):
            _start_new(anyone, settings, deadline)
    with _client(settings, "admin") as admin:
        _ensure_primary(admin, settings, deadline)
        _ensure_users(admin, settings)


@translated("mongod: make users")
def ensure_users(settings: Database) -> None:
    """MongoDB knows writer and reader; its replica set or cluster, and its admin, are somebody else's work."""
    with _client(settings, "admin") as admin:
        _ensure_users(admin, settings)


def _start_new(anyone: Client, settings: Database, deadline: float) -> None:
    """New data get their replica set and their first user.

    Until there is one, whoever comes from the same machine may do this without a password (MongoDB's "localhost
    exception"); if it is not allowed, there is an admin, whom we don't know.
    """
    try:
        _ensure_primary(anyone, settings, deadline)
        anyone.admin.command("createUser", settings.admin_username, pwd=settings.admin_password, roles=["root"])
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        raise DatabaseError(
            f"mongod on port {settings.port} refuses {settings.admin_username}: its data were made with another "
            "database.admin_username or database.admin_password; set these again, or remove the data"
        ) from None


@translated("mongod: drop database")
def drop_database(settings: Database) -> None:
    """The settings' database, its documents and its users are gone."""
    with _client(settings, "admin") as admin:
        admin[settings.db].command("dropAllUsersFromDatabase")
        admin.drop_database(settings.db)


def _client(settings: Database, role: Role | None = None) -> Client:
    """A client of this one server, primary or not, or of those that several hosts stand for, logged in as one role or not at all."""
    options = client_options(settings, role or "admin")
    if not settings.srv and "," not in settings.host:
        options.pop("replicaSet", None)
        options["directConnection"] = True
    if role is None:
        options = {key: value for key, value in options.items() if key not in ("username", "password", "authSource")}
    return MongoClient(**options | {"serverSelectionTimeoutMS": 2000})


def _can_log_in(settings: Database, role: Role) -> bool:
    with _client(settings, role) as client:
        try:
            client.admin.command("hello")
            client[settings.db].command("connectionStatus")
        except OperationFailure as error:
            if error.code != AUTHENTICATION_FAILED:
                raise
            return False
    return True


def _wait(ready: Callable[[], bool], failure: str, deadline: float) -> None:
    """Return when ``ready()`` is true; errors that pass by themselves count as not yet."""
    reason = ""
    while True:
        try:
            if ready():
                return
        except PyMongoError as error:
            if not is_transient(error):
                raise
            reason = f": {error}"
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(f"mongod {failure} in time{reason}")
        time.sleep(0.05)


def _ensure_primary(client: Client, settings: Database, deadline: float) -> None:
    """mongod is primary of a set whose only member has the address that mongod has now."""
    _wait(lambda: _is_member(client, settings), "did not become a member of its replica set", deadline)
    _wait(lambda: bool(client.admin.command("hello")["isWritablePrimary"]), "did not become primary", deadline)


def _is_member(client: Client, settings: Database) -> bool:
    if "setName" in client.admin.command("hello"):
        return True
    address = f"{settings.host}:{settings.port}"
    config = {"_id": settings.replica_set, "version": 1, "members": [{"_id": 0, "host": address}]}
    try:
        client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise
        if _member_elsewhere(client):
            client.admin.command("replSetReconfig", config, force=True)
    return False


def _member_elsewhere(client: Client) -> bool:
    """Whether the data are those of a member with another address; False while mongod is still reading them."""
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        return error.code == NOT_A_MEMBER
    return False


def _ensure_users(admin: Client, settings: Database) -> None:
    _ensure_user(admin, settings, "writer", "readWrite")
    _ensure_user(admin, settings, "reader", "read")


def _ensure_user(admin: Client, settings: Database, role: Role, right: str) -> None:
    """The user of a role exists with his password of now, and has one right in the settings' database."""
    user = {
        "writer": (settings.username, settings.password),
        "reader": (settings.reader_username, settings.reader_password),
    }[role]
    database = admin[settings.db]
    try:
        database.command("createUser", user[0], pwd=user[1], roles=[{"role": right, "db": settings.db}])
    except OperationFailure as error:
        if error.code != DUPLICATE_USER:
            raise
        if not _can_log_in(settings, role):
            database.command("updateUser", user[0], pwd=user[1])
