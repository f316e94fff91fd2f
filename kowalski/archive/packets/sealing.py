"""Files of packets closed: what a killed writer left half written is cut off, every message looked at, the seal written last."""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isal import isal_zlib

from kowalski.alerts.decode import SYNC_SIZE, blocks_of, decode, end_of_header, metadata_of
from kowalski.alerts.survey import Survey, get_survey
from kowalski.archive.packets.framing import block
from kowalski.archive.packets.index import Entry, Kind, encoded, index_header, read_index
from kowalski.archive.packets.reading import ArchiveFile
from kowalski.archive.packets.segment import INDEX, SEAL, sync_folder, write_whole
from kowalski.archive.packets.writer import told
from kowalski.errors import ArchiveError, ConfigError, PacketError
from kowalski.log import get_logger

log = get_logger(__name__)

#: bytes that are read at once
PIECE = 1 << 20


def seal(path: Path) -> dict[str, Any] | None:
    """A file of packets is closed, and its seal says what is in it; None: it is being written, or held nothing and is gone."""
    index = path.with_suffix(INDEX)
    if not index.exists() and not _rebuilt(path):
        return None
    with _alone(index) as mine:
        if not mine:
            return None
        if path.with_suffix(SEAL).exists():
            return ArchiveFile(path).seal
        file = _mended(path)
        if not file.entries:
            for each in (index, path):
                each.unlink(missing_ok=True)
            return None
        said = _described(file)
        write_whole(path.with_suffix(SEAL), said)
        return said


@contextmanager
def _alone(index: Path) -> Iterator[bool]:
    """Whether nobody writes, and nobody will meanwhile."""
    number = os.open(index, os.O_RDWR)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(number)


def _mended(path: Path) -> ArchiveFile:
    """A file without what was not written to its end: none of that was acknowledged."""
    index, file = path.with_suffix(INDEX), ArchiveFile(path)
    entries, end = read_index(index.read_bytes())
    for each, size in ((index, end), (path, max((entry.end for entry in entries), default=0))):
        if entries and each.stat().st_size > size:
            log.warning("%s: %d bytes that were not written to their end are cut off", each, each.stat().st_size - size)
            os.truncate(each, size)
    return file


def _described(file: ArchiveFile) -> dict[str, Any]:
    """What the seal says; a message that can't be given back is counted as broken."""
    broken = 0
    for entry in file.entries:
        try:
            file.blocks(entry) if entry.kind == "fixed" else file.received(entry)
        except ArchiveError as error:
            broken += 1
            log.error("%s", error)
    candids = [entry.candid for entry in file.entries if entry.candid is not None]
    index = file.path.with_suffix(INDEX)
    return {
        "survey": file.survey,
        "night": file.night,
        "path": file.name,
        "packets": len({entry.identity for entry in file.entries}),
        "records": len(file.entries),
        "bytes": file.path.stat().st_size,
        "sha256": sha256_of(file.path),
        "index_bytes": index.stat().st_size,
        "index_sha256": sha256_of(index),
        "candid": [min(candids, default=None), max(candids, default=None)],
        "broken": broken,
        "closed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "uploaded": None,
        "noticed": None,
    }


def _rebuilt(path: Path) -> bool:
    """A file that has lost its index has one again, which knows its records, but not how they were received; False: it holds none."""
    data, entries, notes = path.read_bytes(), list[Entry](), dict[str, str]()
    try:
        begin, sync = end_of_header(data)
        notes = {name: text.decode() for name, text in metadata_of(data[:begin]) if name.startswith("kowalski.")}
        survey, end = get_survey(notes["kowalski.survey"]), begin + SYNC_SIZE
        for count, first, last in blocks_of(data, begin):
            for record in decode(data[: begin + SYNC_SIZE] + block(count, data[first:last], sync)):
                entries.append(_entry(record, survey, path.stem, len(entries), end, last + SYNC_SIZE - end))
            end = last + SYNC_SIZE
    except (PacketError, ConfigError, KeyError) as error:
        log.warning(
            "%s has no index, and holds no more than %d records that can be read: %s", path, len(entries), error
        )
    if not entries:
        return False
    log.error("%s has lost its index: its packets are there in fixed form, no more as received; restore it, and remove the seal", path)  # fmt: skip
    index = path.with_suffix(INDEX)
    partial = index.with_name(f".{index.name}.{secrets.token_hex(4)}")
    sync = secrets.token_bytes(SYNC_SIZE)
    partial.write_bytes(index_header(notes) + sync + encoded(entries, sync))
    os.replace(partial, index)
    sync_folder(path.parent)
    return True


def _entry(record: dict[str, Any], survey: Survey, stem: str, number: int, position: int, size: int) -> Entry:
    """What is known of a record without its index: a message of which only bytes were kept is still there as received."""
    data = record["data"] if record.keys() == {"data"} else None
    candid, object_id, jd = (None, None, None) if data is not None else told(survey.normalise(record), survey)
    kind: Kind = "fixed" if data is None else "received"
    return Entry(
        candid, object_id, jd, f"archive:{stem}", 0, number, datetime.fromtimestamp(0, UTC), data is None, kind, position, size,
        0, None if number else b"", b"", len(data or b""), isal_zlib.crc32(data or b""),
    )  # fmt: skip


def sha256_of(path: Path) -> str:
    """The checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
