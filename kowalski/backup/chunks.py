"""The files of a backup: documents one behind the other as BSON, compressed by zstd, each file with its hashes.

``zstd -dc FILE.bson.zst`` gives what mongodump would have written, so mongorestore and bsondump read them, too.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cramjam

from kowalski.backup.documents import as_text, split, total
from kowalski.errors import BackupError

SUFFIX = ".bson.zst"
#: bytes of documents from which on a file is full: what an interruption costs at most
FULL = 32 << 20
#: of zstd: several hundred MB/s
LEVEL = 1


class Chunk(NamedTuple):
    """One file: its path within the folder, what is in it, and how to tell whether it still is."""

    file: str
    documents: int
    bytes: int
    #: bytes on disk
    size: int
    #: of the file
    sha256: str
    #: of the documents, whatever their order
    hash: str


def write(folder: Path, file: str, documents: list[bytes]) -> Chunk:
    """A file holds these documents, durably, and is whole or not there; raises as `write_durably`."""
    data = b"".join(documents)
    packed = memoryview(cramjam.zstd.compress(data, LEVEL))
    write_durably(folder / file, packed)
    digest = hashlib.sha256(packed).hexdigest()
    return Chunk(file, len(documents), len(data), len(packed), digest, as_text(total(documents)))


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """A file with this content takes the place of what was there, at once, and survives a power failure; its owner alone may read it.

    Raises
    ------
    BackupError : the disk is full, or does not take it for another reason
    """
    draft = path.with_name(path.name + ".new")
    with disk_errors(path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        sync_folder(path.parent)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """The system's errors inside, say of a full disk, as `BackupError` with the path."""
    try:
        yield
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}; the same command goes on where it was") from error


def sync_folder(folder: Path) -> None:
    """The names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path, chunk: Chunk) -> list[bytes]:
    """The documents of a file, which are the ones that were written.

    Raises
    ------
    BackupError : the file is missing or is not what was written, with its name
    """
    packed = (folder / chunk.file).read_bytes() if (folder / chunk.file).exists() else None
    if packed is None:
        raise BackupError(f"{chunk.file} is missing")
    if hashlib.sha256(packed).hexdigest() != chunk.sha256:
        raise BackupError(f"{chunk.file} is not as it was written: {len(packed)} bytes, {chunk.size} were written")
    documents = split(bytes(cramjam.zstd.decompress(packed, chunk.bytes)))
    if (len(documents), as_text(total(documents))) != (chunk.documents, chunk.hash):
        raise BackupError(f"{chunk.file} has other documents than the manifest says")
    return documents


def file_name(collection: int, number: int, revision: int = 0) -> str:
    """The path of a file: a collection's folder has its number, since names may have characters that paths have not."""
    return f"{collection:04d}/{number:08d}{f'.{revision}' if revision else ''}{SUFFIX}"


def sums(chunks: Iterable[Chunk]) -> tuple[int, int, str]:
    """Documents, bytes, and hash of all of them."""
    listed = list(chunks)
    together = sum(int(chunk.hash, 16) for chunk in listed)
    return sum(chunk.documents for chunk in listed), sum(chunk.bytes for chunk in listed), as_text(together)
