"""What an unfinished backup has done so far: a file that is only ever added to, so that a kill costs its last line at most."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Self

import bson

from kowalski.backup.chunks import Chunk, disk_errors
from kowalski.backup.documents import LENGTH, Key
from kowalski.errors import BackupError

NAME = "journal.bson"
Token = Mapping[str, Any]


@dataclass
class Piece:
    """A file, and the first and last _id in it."""

    chunk: Chunk
    first: Key
    last: Key


@dataclass
class Copied:
    """What there is of a collection; its number names its folder."""

    number: int
    pieces: list[Piece] = field(default_factory=list)
    whole: bool = False

    @property
    def last(self) -> Key | None:
        """The _id that was read last."""
        return self.pieces[-1].last if self.pieces else None


class Journal:
    """The state of a backup in the making, and each step of it written before the next one is taken."""

    def __init__(self, folder: Path):
        self._lock = Lock()
        self._path = folder / NAME
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup into {folder} is under way") from None
        self.id, self.database, self.begun = "", "", ""
        self.collections: dict[str, Copied] = {}
        self.numbers = 0
        #: what changed, and collections that were dropped or renamed, up to the token
        self.changed: dict[str, set[Key]] = {}
        self.others: set[str] = set()
        self.token: Token | None = None
        self._replay()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def begin(self, database: str, token: Token | None) -> None:
        """Nothing is there yet; changes count from a token on, if they can be followed."""
        with self._lock:
            self._file.seek(0)
            self._file.truncate()
            for each in (self.collections, self.changed, self.others):
                each.clear()
            self.numbers = 0
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._add({"kind": "begin", "id": secrets.token_hex(8), "database": database, "at": now})
        self.add_changes({}, set(), token)

    def begin_collection(self, name: str) -> Copied:
        """A collection's documents are read from the first one on, whatever there was of it before."""
        self._add({"kind": "collection", "name": name})
        return self.collections[name]

    def add_piece(self, name: str, piece: Piece) -> None:
        """A file is there."""
        chunk = list(piece.chunk)
        self._add({"kind": "piece", "name": name, "chunk": chunk, "first": piece.first, "last": piece.last}, sync=True)

    def finish_collection(self, name: str) -> None:
        """The last document of a collection was read."""
        self._add({"kind": "whole", "name": name})

    def drop_collection(self, name: str) -> None:
        """A collection is gone, or is another one: what was read of it counts no longer."""
        self._add({"kind": "drop", "name": name})

    def add_changes(self, changed: Mapping[str, set[Key]], others: set[str], token: Token | None) -> None:
        """Documents have changed, others are collections that were dropped or renamed; what comes next comes after the token."""
        keys = [{"name": name, "keys": list(each)} for name, each in changed.items()]
        self._add({"kind": "changes", "keys": keys, "others": list(others), "token": token})

    def _add(self, record: dict[str, Any], sync: bool = False) -> None:
        with self._lock, disk_errors(self._path):
            self._file.write(bson.encode(record))
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
            self._take(record)

    def _replay(self) -> None:
        """Take what stands there; the line that a kill cut off is removed."""
        data = self._file.read()
        end = 0
        for record, after in _records(data):
            self._take(record)
            end = after
        self._file.seek(end)
        self._file.truncate()

    def _take(self, record: dict[str, Any]) -> None:
        kind, name = record["kind"], record.get("name", "")
        if kind == "begin":
            self.id, self.database, self.begun = record["id"], record["database"], record["at"]
        elif kind == "collection":
            self.numbers += 1
            self.collections[name] = Copied(self.numbers)
        elif kind == "piece":
            piece = Piece(Chunk(*record["chunk"]), bytes(record["first"]), bytes(record["last"]))
            self.collections[name].pieces.append(piece)
        elif kind == "whole":
            self.collections[name].whole = True
        elif kind == "drop":
            self.collections.pop(name, None)
            self.others.discard(name)
        elif kind == "changes":
            for each in record["keys"]:
                self.changed.setdefault(each["name"], set()).update(map(bytes, each["keys"]))
            self.others |= set(record["others"])
            self.token = record["token"]


def _records(data: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole records, and where each ends."""
    at = 0
    while at + 4 <= len(data):
        end = at + LENGTH.unpack_from(data, at)[0]
        if end > len(data) or end < at + 5:
            return
        yield bson.decode(data[at:end]), end
        at = end
