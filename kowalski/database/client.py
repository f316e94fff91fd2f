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
    DocumentTooLarge,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)

from kowalski.certificate_files import authorities, own_certificate
from kowalski.errors import DatabaseError, DatabaseUnavailable, TooLarge
from kowalski.settings import Database

Role = Literal["writer", "reader", "admin"]
MongoDatabase = pymongo_database.Database[dict[str, Any]]

DUPLICATE_KEY = 11000
#: what a server that asks for more than it gets leaves to be guessed
CLOSED = " by the server; if it wants TLS: database.tls, and tls_certificate_key_file where it wants a certificate"
#: ms to wait for a server that can do what is asked
PATIENCE_MS = 5000
#: the server's, of documents that grow beyond its limit; of those that come too large it says so under the code of all bad values
OBJECT_TOO_LARGE = frozenset({10334, 17419, 17420})

#: server errors that pass by themselves: elections, shutdown, full disk, writes blocked for a while, interrupted operations
TRANSIENT_CODES = frozenset({6, 7, 64, 89, 91, 189, 262, 371, 9001, 10107, 11600, 11602, 13435, 13436, 14031})


def client_options(settings: Database, role: Role = "writer") -> dict[str, Any]:
    """Arguments of a (pymongo or motor) client for one role; writes are acknowledged by the majority, journalled."""
    user, password = {
        "writer": (settings.username, settings.password),
        "reader": (settings.reader_username, settings.reader_password),
        "admin": (settings.admin_username, settings.admin_password),
    }[role]
    options: dict[str, Any] = {
        "host": f"mongodb+srv://{settings.host}" if settings.srv else settings.host,
        **_encryption(settings),
        "w": "majority",
        "journal": True,
        "maxPoolSize": settings.max_pool_size,
        "serverSelectionTimeoutMS": PATIENCE_MS,
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


def _encryption(settings: Database) -> dict[str, Any]:
    """Whether a connection is encrypted, and what proves to each end who the other one is; raises `ConfigError` for bad files."""
    files = {
        "tlsCAFile": authorities("database.tls_ca_file", settings.tls_ca_file),
        "tlsCertificateKeyFile": own_certificate(
            "database.tls_certificate_key_file", settings.tls_certificate_key_file
        ),
    }
    return {"tls": settings.encrypted, **{name: path for name, path in files.items() if path}}


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
    """What the server said, without its whole answer; where none answers, without the driver's view of them all."""
    if isinstance(error, ServerSelectionTimeoutError):
        text = str(error).partition(" (configured timeouts")[0].partition(", Timeout: ")[0]
        return text + (CLOSED if text.endswith("connection closed") else "")
    details = error.details if isinstance(error, OperationFailure) else None
    return str((details or {}).get("errmsg") or error)


def _kind(error: PyMongoError | BSONError | OverflowError, code: Any, said: str) -> type[DatabaseError]:
    """The error of this project that one of MongoDB's stands for."""
    if isinstance(error, PyMongoError) and is_transient(error):
        return DatabaseUnavailable
    too_large = isinstance(error, DocumentTooLarge) or code in OBJECT_TOO_LARGE or "too large" in said
    return TooLarge if too_large else DatabaseError


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise MongoDB's errors inside as `DatabaseUnavailable`, `TooLarge` or `DatabaseError`, naming the action."""
    try:
        yield
    except BulkWriteError as error:  # its own text holds whole documents
        fault = (faults_of(error) or error.details["writeErrors"])[0]
        said = fault["errmsg"][:500]
        raise _kind(error, fault["code"], said)(f"{action}: {said}") from None
    except PyMongoError as error:
        said = _said(error)
        raise _kind(error, getattr(error, "code", None), said)(f"{action}: {said}") from error
    except (BSONError, OverflowError) as error:  # it can't be sent: too large, or a value that BSON does not have
        raise _kind(error, None, str(error))(f"{action}: {error}") from error
