"""What changes in a database, followed by a change stream: which documents, not how."""

import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import bson
from bson.timestamp import Timestamp
from pymongo.change_stream import DatabaseChangeStream
from pymongo.errors import OperationFailure, PyMongoError

from kowalski.backup.documents import AS_STORED, Key, key_of
from kowalski.database.client import MongoDatabase, translated
from kowalski.errors import DatabaseError, DatabaseUnavailable, KowalskiError

#: the server tells no more than this: alerts of 100 kB go into the stream otherwise
TOLD: list[Mapping[str, Any]] = [
    {"$project": {"operationType": 1, "ns": 1, "to": 1, "documentKey": 1, "clusterTime": 1}}
]
#: ms that the server waits for a change
WAIT = 200
#: changes, and s, after which what was seen is handed on
MANY, OFTEN = 1000, 5.0
#: s without any sign of the stream after which it counts as lost
PATIENCE = 60.0
#: ChangeStreamFatalError, ChangeStreamHistoryLost, and what versions say of tokens that they don't find
LOST = frozenset({280, 286, 50811})


Keep = Callable[[dict[str, set[Key]], set[str], Mapping[str, Any]], None]


class HistoryLost(DatabaseError):
    """The server has forgotten changes before they were read."""


class Changes:
    """Follows a database from a point on, in a thread of its own.

    Parameters
    ----------
    token : where to begin; None: now
    begun : the collections whose changes count; others are read later as a whole. It may grow.

    Raises
    ------
    HistoryLost : the server has forgotten what comes after the token
    """

    def __init__(self, database: MongoDatabase, token: Mapping[str, Any] | None, begun: Container[str]):
        self._begun = begun
        self._news = threading.Condition()
        self._changed: dict[str, set[Key]] = {}
        self._others: set[str] = set()
        self._error: PyMongoError | KowalskiError | None = None
        self._ended = False
        #: told of changes and of the token after them, from time to time
        self.keep: Keep = lambda changed, others, token: None
        self._unkept: dict[str, set[Key]] = {}
        self._unkept_others: set[str] = set()
        with _following():
            self._stream: DatabaseChangeStream[Any] = database.with_options(AS_STORED).watch(
                TOLD, resume_after=token, max_await_time_ms=WAIT, batch_size=MANY
            )
            while (first := self._stream.try_next()) is None and self._stream.resume_token is None:
                continue
            if first:
                self._see(first)
        self.token: Mapping[str, Any] = self._stream.resume_token or {}
        #: every change up to this cluster time was seen
        self.position = before(first["clusterTime"]) if first else time_of(self.token)
        self._thread = threading.Thread(target=self._follow, name="changes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended = True
        self._thread.join()
        self._stream.close()

    def take(self) -> dict[str, set[Key]]:
        """The documents that have changed since they were last taken, by collection."""
        with self._news:
            taken, self._changed = self._changed, {}
            return taken

    def put_back(self, taken: dict[str, set[Key]], others: set[str] | None = None) -> None:
        """They have changed and were not read yet; others as `take_others` gives them."""
        with self._news:
            self._others |= others or set()
            for name, keys in taken.items():
                self._changed.setdefault(name, set()).update(keys)

    def take_others(self) -> set[str]:
        """The collections that were dropped, or renamed, or whose place another one took, since last asked."""
        with self._news:
            others, self._others = self._others, set()
            return others

    def count(self) -> int:
        """How many have changed and were not taken."""
        with self._news:
            return sum(map(len, self._changed.values()))

    def wait_until(self, moment: Timestamp) -> None:
        """All that changed up to a cluster time was seen.

        Raises
        ------
        HistoryLost : the server forgot some of it
        DatabaseError, DatabaseUnavailable : the stream broke off
        """
        with self._news:
            seen = self._news.wait_for(lambda: self._error or self.position >= moment, PATIENCE)
        self.require()
        if not seen:
            raise DatabaseUnavailable("backup: MongoDB's change stream lags behind; the same command goes on")

    def require(self) -> None:
        """The stream has not broken off; raises as `wait_until`."""
        if self._error is not None:
            with _following():
                raise self._error

    def _follow(self) -> None:
        seen, kept = 0, time.monotonic()
        try:
            while not self._ended:
                change = self._stream.try_next()
                with self._news:
                    if change is not None:
                        self._see(change)
                        seen += 1
                    self.token = self._stream.resume_token or self.token
                    # others may have the time of a change that was seen; without one the server has looked at all there is
                    self.position = before(change["clusterTime"]) if change else time_of(self.token)
                    self._news.notify_all()
                if seen >= MANY or time.monotonic() - kept > OFTEN:
                    self._hand_on()
                    seen, kept = 0, time.monotonic()
            self._hand_on()
        except (PyMongoError, KowalskiError) as error:  # raised again where it is waited for
            with self._news:
                self._error = error
                self._news.notify_all()

    def _hand_on(self) -> None:
        unkept, self._unkept = self._unkept, {}
        others, self._unkept_others = self._unkept_others, set()
        self.keep(unkept, others, self.token)

    def _see(self, change: Mapping[str, Any]) -> None:
        """Note what a change is about."""
        name = change.get("ns", {}).get("coll")
        if change["operationType"] in ("insert", "update", "replace", "delete"):
            if name in self._begun:
                key = key_of(bson.encode({"_id": change["documentKey"]["_id"]}))
                for kept in (self._changed, self._unkept):
                    kept.setdefault(name, set()).add(key)
        elif change["operationType"] in ("drop", "rename"):
            others = {each for each in (name, change.get("to", {}).get("coll")) if each}
            self._others |= others
            self._unkept_others |= others
        else:
            raise OperationFailure(f"the database was changed as a whole ({change['operationType']})")


def time_of(token: Mapping[str, Any]) -> Timestamp:
    """The cluster time of a token: every one begins with it (type 0x82, seconds and number, in hexadecimal)."""
    data = str(token["_data"])
    if not data.startswith("82"):
        raise DatabaseError(f"MongoDB's change stream has tokens of an unknown kind ({data[:20]}...)")
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


def before(moment: Timestamp) -> Timestamp:
    """The cluster time just before."""
    return Timestamp(moment.time, moment.inc - 1) if moment.inc else Timestamp(moment.time - 1, 0xFFFFFFFF)


@contextmanager
def _following() -> Iterator[None]:
    """Errors as this project's own; those of a history that is gone apart."""
    with translated("backup: follow changes"):
        try:
            yield
        except OperationFailure as error:
            if error.code not in LOST:
                raise
            raise HistoryLost(
                "MongoDB has forgotten changes before the backup could read them: its oplog is too small for what is written meanwhile"
            ) from error
