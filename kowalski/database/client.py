"""Connections to MongoDB: durable writes, one user per role, errors as this project's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from bson.errors import BSONError
from pymongo import MongoClient
from pymongo import database as pymongo_database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)

from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.settings import Database

Role = Literal["writer", "reader", "admin"]
MongoDatabase = pymongo_database.Database[dict[str, Any]]

DUPLICATE_KEY = 11000

#: server errors that pass by themselves: elections, shutdown, full or read-only disk, interrupted operations
TRANSIENT_CODES = frozenset({6, 7, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031})


def client_options(settings: Database, role: Role = "writer") -> dict[str, Any]:
    """Arguments of a (pymongo or motor) client for one role; writes are acknowledged by the majority, journalled."""
    user, password = {
        "writer": (settings.username, settings.password),
        "reader": (settings.reader_username, settings.reader_password),
        "admin": (settings.admin_username, settings.admin_password),
    }[role]
    options: dict[str, Any] = {
        "host": f"mongodb+srv://{settings.host}" if settings.srv else settings.host,
        "tls": settings.tls or settings.srv,
        "w": "majority",
        "journal": True,
        "maxPoolSize": settings.max_pool_size,
        "serverSelectionTimeoutMS": 5000,
        "connectTimeoutMS": 5000,
        "appname": f"kowalski-{role}",
    }
    if not settings.srv:
        options["port"] = settings.port
    if settings.replica_set:
        options["replicaSet"] = settings.replica_set
    elif not settings.srv and "," not in settings.host:  # several are the routers (mongos) of a sharded cluster
        options["directConnection"] = True
    if password:
        options |= {
            "username": user,
            "password": password,
            "authSource": settings.auth_source or ("admin" if role == "admin" else settings.db),
        }
    return options


def connect(settings: Database, role: Role = "writer") -> MongoDatabase:
    """The database, as one role; the connection is made at first use."""
    client: MongoClient[dict[str, Any]] = MongoClient(**client_options(settings, role))
    return client[settings.db]


def is_transient(error: PyMongoError) -> bool:
    """Whether the same operation may work a moment later."""
    if isinstance(error, ExecutionTimeout):
        return False
    if isinstance(error, AutoReconnect | ConnectionFailure | NetworkTimeout | NotPrimaryError | ServerSelectionTimeoutError | WTimeoutError):  # fmt: skip
        return True
    if isinstance(error, BulkWriteError):
        codes = {fault["code"] for fault in error.details["writeErrors"]}
        return bool(error.details["writeConcernErrors"]) or not codes.isdisjoint(TRANSIENT_CODES)
    return error.has_error_label("RetryableWriteError") or (
        isinstance(error, OperationFailure) and error.code in TRANSIENT_CODES
    )


def faults_of(error: BulkWriteError) -> list[dict[str, Any]]:
    """What a bulk write ran into, writes that are not durable included, other than documents that were there already."""
    details = error.details
    return [
        *details["writeConcernErrors"],
        *(fault for fault in details["writeErrors"] if fault["code"] != DUPLICATE_KEY),
    ]


def _said(error: PyMongoError) -> str:
    """What the server said, without its whole answer."""
    details = error.details if isinstance(error, OperationFailure) else None
    return str((details or {}).get("errmsg") or error)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise MongoDB's errors inside as `DatabaseUnavailable` or `DatabaseError`, naming the action."""
    try:
        yield
    except BulkWriteError as error:  # its own text holds whole documents
        kind = DatabaseUnavailable if is_transient(error) else DatabaseError
        faults = faults_of(error) or error.details["writeErrors"]
        raise kind(f"{action}: {faults[0]['errmsg'][:500]}") from None
    except PyMongoError as error:
        kind = DatabaseUnavailable if is_transient(error) else DatabaseError
        raise kind(f"{action}: {_said(error)}") from error
    except (BSONError, OverflowError) as error:  # it can't be sent: too large, or a value that BSON does not have
        raise DatabaseError(f"{action}: {error}") from error
