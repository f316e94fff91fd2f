"""One file of packets and its index, as their one writer adds to them: what is acknowledged is on disk, what is half written is cut off.

A file belongs to one process, night, schema and codec. ``<stem>.avro`` has the packets, ``<stem>.index`` the index, and ``<stem>.json``,
the seal, closes them.
"""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from kowalski.alerts.decode import SYNC_SIZE
from kowalski.archive.packets.framing import header
from kowalski.archive.packets.index import Entry, encoded, index_header
from kowalski.errors import ArchiveUnavailable
from kowalski.log import get_logger

log = get_logger(__name__)

#: pieces that are written by one call (Linux takes 1024)
MOST = 512

PACKETS, INDEX, SEAL = ".avro", ".index", ".json"


class Segment:
    """A pair of files that grows.

    Parameters
    ----------
    schema : JSON, of its packets
    sync : its sync marker
    notes : what its header says besides

    Attributes
    ----------
    size : bytes of packets, the header's included
    broken : what was written in vain could not be cut off: nothing can be added any more
    """

    def __init__(self, folder: Path, schema: str, codec: str, sync: bytes, notes: dict[str, str]):
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.path = folder / f"{stem}{PACKETS}"
        self.broken = False
        self._heads: dict[bytes, int] = {}
        self._heads_kept = 0
        self._index_sync = secrets.token_bytes(SYNC_SIZE)
        try:
            make_folder(folder)
            self._index = _made(self.path.with_suffix(INDEX))  # first: packets without an index are ones that lost it
            self._packets = _made(self.path)
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            first = header(schema, codec, notes) + sync
            self.size = _write(self._packets, [first])
            self._index_size = _write(self._index, [index_header(notes) + self._index_sync])
            for file in (self._packets, self._index):
                os.fsync(file)
            sync_folder(folder)
        except OSError as error:
            self.close()
            for path in (self.path, self.path.with_suffix(INDEX)):
                path.unlink(missing_ok=True)
            raise self._unavailable(error) from error

    def head(self, data: bytes) -> tuple[int, bytes | None]:
        """The number of a head, and its bytes where it is new in this file."""
        known = self._heads.get(data)
        if known is not None:
            return known, None
        number = self._heads[data] = len(self._heads)
        return number, data

    def append(self, pieces: Sequence[bytes], entries: Sequence[Entry]) -> bool:
        """The blocks and then the entries are on disk, whatever happens from now on; False: the files were closed meanwhile.

        Raises
        ------
        ArchiveUnavailable : nothing of it is there
        """
        fcntl.flock(self._index, fcntl.LOCK_EX)  # who seals takes it too
        try:
            if self.path.with_suffix(SEAL).exists() or not self.path.exists():
                return False
            written = _write(self._packets, pieces)
            os.fdatasync(self._packets)
            indexed = _write(self._index, [encoded(entries, self._index_sync)])
            os.fdatasync(self._index)
        except OSError as error:
            self._cut()
            raise self._unavailable(error) from error
        finally:
            with suppress(OSError):
                fcntl.flock(self._index, fcntl.LOCK_UN)
        self.size += written
        self._index_size += indexed
        self._heads_kept = len(self._heads)
        return True

    def close(self) -> None:
        """Nothing more is added."""
        for file in (self._packets, self._index):
            os.close(file)

    def _cut(self) -> None:
        """What was written in vain is gone, so that the next begins where it began; where that fails too, whoever seals does it."""
        self._heads = {data: number for data, number in self._heads.items() if number < self._heads_kept}
        try:
            os.ftruncate(self._index, self._index_size)
            os.ftruncate(self._packets, self.size)
        except OSError as error:
            log.warning("%s: what was written in vain can't be cut off (%s): it is when the file is closed", self.path, error.strerror)  # fmt: skip
            self.broken = True

    def _unavailable(self, error: OSError) -> ArchiveUnavailable:
        return ArchiveUnavailable(
            f"{self.path} can't be written ({error.strerror}): no packet is acknowledged until it can; make room there, or set "
            "archive.folder to another disk"
        )


def write_whole(path: Path, content: dict[str, object]) -> None:
    """A file has this content, as JSON, wholly or not at all."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with partial.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """A folder is there, and still is after a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """The names in a folder are on disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _made(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _write(file: int, pieces: Sequence[bytes]) -> int:
    """All of it is written, without a copy of it being made; how many bytes."""
    todo, total = [memoryview(piece) for piece in pieces], sum(map(len, pieces))
    while todo:
        written = os.writev(file, todo[:MOST])
        while todo and written >= len(todo[0]):
            written -= len(todo.pop(0))
        if todo:
            todo[0] = todo[0][written:]
    return total
