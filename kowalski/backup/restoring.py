"""Restoring a backup: documents first, then the proof that they are the same, then indexes and views."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from kowalski.backup.chunks import Chunk, read
from kowalski.backup.documents import as_text, split, total
from kowalski.backup.making import THREADS, WAITING, Progress
from kowalski.backup.manifest import Collection, Manifest
from kowalski.database.restore import Target
from kowalski.errors import BackupError

#: files whose documents are written at the same time
WRITERS = 3
#: what documents and their indexes take on the server's disk, as a multiple of the documents compressed
ROOM = 1.5


def restore_backup(target: Target, folder: Path, drop: bool, progress: Progress) -> Manifest:
    """A database holds what a backup holds, down to the last byte; called again after an interruption, it goes on where it was.

    All files are looked at before anything is changed. In the end every collection is read, and is the same as the
    one in the backup, by number and hash of its documents.

    Parameters
    ----------
    drop : what is in the database is dropped before

    Raises
    ------
    BackupError : the backup is not whole, the database is not empty, or a collection is not the same in the end
    """
    made = Manifest.load(folder)
    _require_files(folder, made, progress)
    _begin(target, made, drop)
    collections = [each for each in made.collections if each.type == "collection"]
    for each in collections:
        target.create(each.name, each.options)
    there = target.files()
    for each in collections:
        _insert(target, folder, each, there, progress)
    verified = target.verified()
    for each in collections:
        if each.name not in verified:
            _verify(target, each, progress)
            target.note_verified(each.name)
    for each in collections:  # after the proof: some of them delete what is too old
        progress(f"indexes of {each.name}", 0)
        target.index(each.name, each.indexes)
    for each in made.collections:
        if each.type == "view":
            target.create(each.name, each.options)
    target.carry_versions({each.uuid: each.name for each in collections if each.uuid})
    target.end()
    return made


def _begin(target: Target, made: Manifest, drop: bool) -> None:
    """The database is this backup's: empty, or holding a part of it."""
    under_way = target.backup()
    if under_way == made.id:
        return
    contents = target.contents()
    if contents and not drop:
        name = target.database.name
        if under_way:
            raise BackupError(
                f"database {name} holds a part of another backup ({under_way}): restore that one, or give --drop"
            )
        told = ", ".join(f"{each} ({count})" for each, count in contents.items())
        raise BackupError(f"database {name} is not empty: it has {told}. With --drop all of this is dropped before")
    free = target.free()
    if free < made.size * ROOM:
        raise BackupError(
            f"the server has {free / 1e9:.1f} GB of free disk, about {made.size * ROOM / 1e9:.1f} GB are needed: make room"
        )
    target.begin(made.id)


def _require_files(folder: Path, made: Manifest, progress: Progress) -> None:
    """Every file is as it was written."""
    broken = []
    for each in made.collections:
        progress(f"checking {each.name}", 0)
        for chunk in each.chunks:
            path = folder / chunk.file
            if not path.exists() or _hash_of(path) != chunk.sha256:
                broken.append(f"{chunk.file} of {each.name}")
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise BackupError(
            f"{folder} is broken, and nothing was restored: {', '.join(broken[:5])}{more} missing or not as written"
        )


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _insert(target: Target, folder: Path, each: Collection, there: set[str], progress: Progress) -> None:
    """All documents of a collection are there."""

    def put(chunk: Chunk) -> int:
        if chunk.file not in there:
            target.insert(each.name, chunk.file, read(folder, chunk))
        return chunk.bytes

    with ThreadPoolExecutor(WRITERS) as pool:
        waiting: deque[Future[int]] = deque()
        for chunk in each.chunks:
            waiting.append(pool.submit(put, chunk))
            if len(waiting) > WRITERS:
                progress(each.name, waiting.popleft().result())
        for future in waiting:
            progress(each.name, future.result())


def _verify(target: Target, each: Collection, progress: Progress) -> None:
    """A collection holds the documents of the backup, and no others."""
    progress(f"verifying {each.name}", 0)
    count = together = 0
    for documents, hashes in _sums(target.read(each.name)):
        count += documents
        together += hashes
    if (count, as_text(together)) != (each.count, each.hash):
        raise BackupError(
            f"{each.name} has {count} documents, whose hash is {as_text(together)}; the backup has {each.count} with {each.hash}: "
            "others have written to the database meanwhile; stop them, and restore with --drop"
        )


def _sums(batches: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Number of documents and sum of their hashes, batch by batch."""

    def look(batch: bytes) -> tuple[int, int]:
        documents = split(batch)
        return len(documents), total(documents)

    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[tuple[int, int]]] = deque()
        for batch in batches:
            waiting.append(pool.submit(look, batch))
            if len(waiting) > WAITING:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()
