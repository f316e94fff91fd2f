"""Making a backup: one point in time, though others write meanwhile, and what is done stays done if it is interrupted.

1. A change stream tells from the first moment on which documents change.
2. Every collection is read from end to end, in the order of _id.
3. What changed meanwhile is read again, until little is left.
4. Time is stopped, for this reader, by a transaction; what little has changed up to then is read in it. What did not
   change has been read before, as it still is. So all is as of that moment.
5. Files that hold documents which have changed since are written anew, and the manifest last of all.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage
from typing import Any

from bson.timestamp import Timestamp

from kowalski.backup import changed, chunks, journal
from kowalski.backup.changed import Changed, merge
from kowalski.backup.chunks import file_name, write
from kowalski.backup.documents import key_of, split
from kowalski.backup.journal import Copied, Journal, Piece
from kowalski.backup.manifest import NAME, Collection, Manifest
from kowalski.database.backup import Source, estimate
from kowalski.database.changes import Changes, HistoryLost
from kowalski.database.restore import MARK
from kowalski.errors import BackupError, DatabaseError

#: documents that may be left to be read while time stands still, which it does for 60 s
FEW = 5000
#: readings again of what has changed, and attempts at the end, before the writers count as too fast
ROUNDS, ATTEMPTS = 20, 5
#: files that are compressed at the same time, and that wait for it
THREADS, WAITING = 2, 3

#: is told what is being done, and how many more bytes of documents are kept
Progress = Callable[[str, int], None]


def make_backup(source: Source, folder: Path, kowalski: str, progress: Progress) -> Manifest:
    """A folder holds all of a database as of one point in time; called again after an interruption, it goes on where it was.

    On a server without a replica set nothing tells of changes: there it is one point in time only if nobody writes
    meanwhile, and the manifest's ``consistent`` is false. Indexes and options of collections are as of the end.

    Parameters
    ----------
    kowalski : our version, for the manifest

    Raises
    ------
    BackupError : the folder is another backup's, there is no room, or the writers are too fast
    HistoryLost : the server forgot changes before they were read; the next attempt begins anew
    """
    _prepare(folder)
    with Journal(folder) as state:
        if not (folder / NAME).exists():
            making = _Making(source, folder, state, progress)
            with Changed(folder) as newest:
                making.run(newest, kowalski)
        made = Manifest.load(folder)
        _tidy(folder, made)
    return made


def _prepare(folder: Path) -> None:
    """The folder is there, and is empty or that of an unfinished backup."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise BackupError(f"{folder}: {error.strerror}: name another folder") from None
    if journal.NAME in there:
        return
    if NAME in there:
        raise BackupError(f"{folder} holds a finished backup: name another folder")
    if there:
        raise BackupError(f"{folder} has other files in it ({', '.join(sorted(there)[:3])}): name another folder")


def _tidy(folder: Path, made: Manifest) -> None:
    """Nothing but the backup is left in its folder, and that it is unfinished is forgotten last."""
    listed = {chunk.file for each in made.collections for chunk in each.chunks}
    for path in folder.glob("[0-9]*/*"):
        if str(path.relative_to(folder)) not in listed:
            path.unlink()
    (folder / changed.NAME).unlink(missing_ok=True)
    (folder / journal.NAME).unlink()


class _Making:
    def __init__(self, source: Source, folder: Path, state: Journal, progress: Progress):
        self.source = source
        self.folder = folder
        self.state = state
        self.progress = progress
        if MARK in source.names():
            raise BackupError(f"a backup is being restored into database {source.database.name}: finish that first")
        if state.database not in ("", source.database.name):
            raise BackupError(f"{folder} holds an unfinished backup of database {state.database}: name another folder")

    def run(self, newest: Changed, kowalski: str) -> None:
        """The manifest is there."""
        if self.source.follows:
            with self._follow() as changes:
                as_of, listed = self._read_all(changes, newest)
        else:
            if not self.state.database:
                self._begin(None)
            self._tell_what_is_there()
            self._require_room()
            as_of, listed = None, self.source.collections()
            self._copy_collections(lambda: None)
        self.progress("putting changed documents in their places", 0)
        Manifest(
            id=self.state.id,
            database=self.state.database,
            kowalski=kowalski,
            mongodb=self.source.version,
            begun=self.state.begun,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            consistent=as_of is not None,
            as_of=None if as_of is None else [as_of.time, as_of.inc],
            collections=[self._kept(each, newest) for each in listed],
        ).save(self.folder)

    def _kept(self, about: dict[str, Any], newest: Changed) -> Collection:
        copied = self.state.collections.get(about["name"], Copied(0))
        ordered = "collation" not in about["options"]
        return Collection(**about, chunks=list(merge(self.folder, about["name"], copied, newest, ordered)))

    # following what changes

    def _follow(self) -> Changes:
        """The stream of changes, from where an interrupted backup has left it."""
        if self.state.database and self.state.token:
            try:
                changes = self.source.changes(self.state.token, self.state.collections)
            except HistoryLost:
                self.progress("MongoDB has forgotten what changed since the interruption: all is read anew", 0)
            else:
                changes.put_back(self.state.changed, self.state.others)
                self._require_room()
                changes.keep = self.state.add_changes
                self._tell_what_is_there()
                return changes
        changes = self.source.changes(None, self.state.collections)
        self._begin(dict(changes.token))
        self._require_room()
        changes.keep = self.state.add_changes
        return changes

    def _tell_what_is_there(self) -> None:
        there = (piece.chunk for copied in self.state.collections.values() for piece in copied.pieces)
        self.progress("going on", sum(chunk.bytes for chunk in there))

    def _begin(self, token: dict[str, Any] | None) -> None:
        self.state.begin(self.source.database.name, token)
        for path in self.folder.glob("[0-9]*/*"):
            path.unlink()

    def _require_room(self) -> None:
        there = sum(path.stat().st_size for path in self.folder.glob("[0-9]*/*"))
        needed, free = estimate(self.source) - there, disk_usage(self.folder).free
        if needed > free:
            raise BackupError(
                f"{self.folder} has {free / 1e9:.1f} GB of free disk, about {needed / 1e9:.1f} GB are needed: make room"
            )

    def _read_all(self, changes: Changes, newest: Changed) -> tuple[Timestamp, list[dict[str, Any]]]:
        """All is read as of one moment: that moment, and the collections of then."""
        reason: DatabaseError | None = None
        for _ in range(ATTEMPTS):
            self._copy_collections(changes.require)
            self._catch_up(changes, newest)
            taken = changes.take()
            try:
                if found := self._read_at_once(changes, taken, newest):
                    return found
            except HistoryLost:
                raise
            except DatabaseError as error:  # the transaction took too long, or a collection changed under it
                reason = error
            changes.put_back(taken)
        raise BackupError(
            f"more is written than can be read at once, or collections come and go ({reason or 'they did'}): "
            "the same command goes on; run it when less is written"
        )

    def _catch_up(self, changes: Changes, newest: Changed) -> None:
        """Few of the documents that changed are not read again."""
        for _ in range(ROUNDS):
            if changes.count() <= FEW:
                return
            taken = changes.take()
            with self.source.later_than(self.source.now()) as session:
                self._read_again(taken, session, newest)

    def _read_at_once(
        self, changes: Changes, taken: dict[str, Any], newest: Changed
    ) -> tuple[Timestamp, list[dict[str, Any]]] | None:
        """All documents that changed are read as of one moment, which is given with the collections; None if those aren't the same."""
        moment = self.source.now()
        with self.source.frozen(moment) as session:
            listed = self.source.collections()
            changes.wait_until(self.source.now())
            for name, keys in changes.take().items():
                taken.setdefault(name, set()).update(keys)
            if self._drop_others(changes, listed):
                return None
            self._read_again(taken, session, newest)
        return moment, listed

    def _drop_others(self, changes: Changes, listed: list[dict[str, Any]]) -> bool:
        """Whether there are collections to be read as a whole, or again; of the latter what was read is forgotten."""
        present = {each["name"] for each in listed if each["type"] == "collection"}
        begun = set(self.state.collections)
        others = (changes.take_others() & begun) | (begun - present)
        for name in others:
            self.state.drop_collection(name)
        return bool(others or present - begun)

    def _read_again(self, taken: dict[str, Any], session: Any, newest: Changed) -> None:
        for name, keys in taken.items():
            self.progress(f"reading what has changed in {name}", 0)
            newest.add(name, keys, self.source.chosen(name, keys, session))

    # reading collections

    def _copy_collections(self, require: Callable[[], None]) -> None:
        """Every collection that is there now was read."""
        for name in sorted(self.source.names()):
            copied = self.state.collections.get(name) or self.state.begin_collection(name)
            if not copied.whole:
                self._copy(name, copied, require)
                self.state.finish_collection(name)

    def _copy(self, name: str, copied: Copied, require: Callable[[], None]) -> None:
        """The documents after those that are there were read; each file is noted when it is on disk."""
        waiting: deque[Future[Piece]] = deque()
        number, parts, size = len(copied.pieces), [], 0
        with ThreadPoolExecutor(THREADS) as pool:
            for batch in self.source.read(name, copied.last):
                parts.append(batch)
                size += len(batch)
                if size >= chunks.FULL:
                    number += 1
                    waiting.append(pool.submit(self._write, file_name(copied.number, number), parts))
                    parts, size = [], 0
                if len(waiting) > WAITING:
                    self._note(name, waiting.popleft().result())
                    require()
            if parts:
                waiting.append(pool.submit(self._write, file_name(copied.number, number + 1), parts))
            while waiting:
                self._note(name, waiting.popleft().result())

    def _write(self, file: str, parts: list[bytes]) -> Piece:
        documents = split(b"".join(parts))
        return Piece(write(self.folder, file, documents), key_of(documents[0]), key_of(documents[-1]))

    def _note(self, name: str, piece: Piece) -> None:
        self.state.add_piece(name, piece)
        self.progress(name, piece.chunk.bytes)
